"""What checks have seen: the result of every probe, and its details by kind."""

import msgspec

from probes.contract.stages import Reason, Stage


class EgressSeen(msgspec.Struct, frozen=True, kw_only=True):
    """One host, looked at from one source address of the relay.

    ``host`` is as configuration or MX name it, ``address`` what it resolved to; ``control``
    tells that ``port`` is not the mail port. ``banner`` is the greeting's text (RFC 5321 section
    4.2) and ``code`` its code, ``None`` where none was seen.
    """

    host: str
    port: int
    address: str | None = None
    control: bool = False
    reference: bool = False
    banner: str | None = None
    code: int | None = None


class EgressPattern(msgspec.Struct, frozen=True, kw_only=True):
    """What one source address of the relay reaches, all hosts of a round taken together.

    Counts are of hosts, those of ``controls`` of (host, port) pairs; ``failed`` names the
    destinations of which no host was reached at the mail port.
    """

    reached: int
    tried: int
    controls_reached: int
    controls_tried: int
    failed: list[str] = []


class QueueDepth(msgspec.Struct, frozen=True, kw_only=True):
    """One of the relay's queues: how many mails, how large, and since when the oldest is there."""

    count: int
    bytes: int
    oldest_ns: int | None


class QueueGroup(msgspec.Struct, frozen=True, kw_only=True):
    """Mails that wait in one queue for one domain for one reason; counted by recipient.

    ``stage`` and ``reason`` are read off the relay's words, of which ``text`` is one example.
    ``newest_ns`` and ``oldest_ns`` are when the mails came.
    """

    queue: str
    domain: str
    stage: Stage | None
    reason: Reason | None
    text: str | None
    count: int
    oldest_ns: int
    newest_ns: int


class QueuedCanary(msgspec.Struct, frozen=True, kw_only=True):
    """A canary that waits in the queue, known by its sender; ``queue_id`` is the relay's for it."""

    queue_id: str
    queue: str
    arrived_ns: int
    sender: str
    recipient: str
    stage: Stage | None = None
    reason: Reason | None = None
    text: str | None = None


class QueueSeen(msgspec.Struct, frozen=True, kw_only=True):
    """A relay's queues at one look.

    ``groups`` are the largest, ``canaries`` the oldest; ``more_groups`` and ``more_canaries`` count
    what is not listed. ``unreadable`` entries were not understood. Not ``complete``, the listing
    was cut off: the counts are at least that much.
    """

    queues: dict[str, QueueDepth]
    groups: list[QueueGroup]
    canaries: list[QueuedCanary]
    more_groups: int = 0
    more_canaries: int = 0
    unreadable: int = 0
    complete: bool = True


class Finding(msgspec.Struct, frozen=True, kw_only=True):
    """What one look at one target came to: the result of every probe.

    ``target`` is a destination's name; ``None`` where the look is about the relay itself, or about
    all destinations. ``source`` is the address that was looked from. ``timings`` are seconds by
    phase. Of the details at most one is there.
    """

    ok: bool
    target: str | None = None
    source: str | None = None
    stage: Stage | None = None
    reason: Reason | None = None
    detail: str | None = None
    timings: dict[str, float] = {}
    egress: EgressSeen | None = None
    pattern: EgressPattern | None = None
    queue: QueueSeen | None = None
