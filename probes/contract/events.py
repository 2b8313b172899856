"""Events: the immutable facts that agents and collector write down, and their one JSON form.

Time points end in ``_ns`` and are nanoseconds since the Unix epoch, UTC; durations end in ``_s``
and are seconds. Unknown fields are ignored and unknown kinds are kept as they came, so that agents
and collectors one version apart work together. ``docs/events.md`` describes every field.
"""

from typing import Any, ClassVar

import msgspec

from probes.contract.checks import EgressPattern, EgressSeen, QueueSeen
from probes.contract.names import Path
from probes.contract.stages import Reason, Result, Stage

EVENTS_VERSION = 1


class Interval(msgspec.Struct, frozen=True, order=True):
    """A delay known to lie in ``[lo, hi]`` seconds: not yet there at ``lo``, there at ``hi``."""

    lo: float
    hi: float


class Reply(msgspec.Struct, frozen=True):
    """An SMTP reply (RFC 5321 section 4.2) with its enhanced status code (RFC 3463), if any."""

    code: int
    enhanced: str | None
    text: str


class TlsInfo(msgspec.Struct, frozen=True):
    """The TLS session that was used: ``problem`` says why the certificate did not verify."""

    version: str
    cipher: str
    not_after_ns: int | None
    verified: bool
    problem: str | None = None


class Attempt(msgspec.Struct, frozen=True):
    """An address that was tried (RFC 5321 section 5.1) and gave no connection."""

    address: str
    reason: Reason
    detail: str
    elapsed_s: float


class Intent(msgspec.Struct, frozen=True, kw_only=True, tag_field="kind", tag="intent"):
    """A canary is about to be sent. Durable before the connection is opened.

    ``path_seq`` numbers the canaries of the path, ``mailbox_seq`` those of (agent, mailbox) across
    relays, both within ``stream_epoch``: a lost state file starts a new epoch, not a false gap.
    ``sent_boot_ns`` is what the boot clock showed at ``at_ns``, in the boot ``boot_id``: the canary
    is sent no sooner.
    """

    canary: str
    path: Path
    path_seq: int
    mailbox_seq: int
    stream_epoch: str
    due_ns: int
    at_ns: int
    deadline_s: float
    loss_after_s: float
    revision: str = ""
    boot_id: str | None = None
    sent_boot_ns: int | None = None


class Submission(msgspec.Struct, frozen=True, kw_only=True, tag_field="kind", tag="submission"):
    """How the one attempt to hand the canary to its relay ended.

    ``sent_ns`` is the send time that the canary carries, taken just before the first packet.
    ``phases`` maps each stage that took place to the seconds it took; ``stage``, ``reason`` and
    ``detail`` say where and why it failed and are absent for an accepted canary. ``queue_id`` is
    what the relay's 250 names, for grepping in its log. ``sent_boot_ns`` is what the boot clock
    showed at ``sent_ns``, in the boot ``boot_id``.
    """

    canary: str
    path: Path
    sent_ns: int
    at_ns: int
    result: Result
    stage: Stage | None = None
    reason: Reason | None = None
    detail: str | None = None
    reply: Reply | None = None
    phases: dict[str, float] = msgspec.field(default_factory=dict)
    attempts: list[Attempt] = msgspec.field(default_factory=list)
    peer: str | None = None
    source: str | None = None
    tls: TlsInfo | None = None
    queue_id: str | None = None
    dsn: bool = False
    boot_id: str | None = None
    sent_boot_ns: int | None = None


class Hop(msgspec.Struct, frozen=True, kw_only=True):
    """One Received field (RFC 5321 section 4.4), the first hop first.

    ``delay_s`` is the time since the hop before, ``None`` where either time is missing; a negative
    one means that the clocks of the two hosts disagree (``skewed``).
    """

    by: str | None
    helo: str | None
    address: str | None
    protocol: str | None
    tls: str | None
    at_ns: int | None
    delay_s: float | None
    skewed: bool = False


class Carrier(msgspec.Struct, frozen=True, kw_only=True):
    """Whether the relay and the egress address that should have carried the canary did.

    ``None`` means that the Received chain does not tell.
    """

    relay_as_planned: bool | None
    egress_as_planned: bool | None
    relay_seen: str | None = None
    egress_seen: str | None = None


class AuthResults(msgspec.Struct, frozen=True, kw_only=True):
    """Verdicts of the configured authserv-id's Authentication-Results fields (RFC 8601)."""

    spf: str | None = None
    dkim: str | None = None
    dmarc: str | None = None


class Arrival(msgspec.Struct, frozen=True, kw_only=True, tag_field="kind", tag="arrival"):
    """A verified canary of ours was seen in its mailbox.

    ``clock`` tells which clock measured ``delay``: ``boottime`` (one clock, exact) or ``wall``
    (after a reboot or for a canary whose state was lost; ``clock_error_s`` is then included in the
    interval). Two arrivals with different (folder, uidvalidity, uid) are duplicates.
    """

    canary: str
    path: Path
    path_seq: int
    mailbox_seq: int
    stream_epoch: str
    sent_ns: int
    seen_ns: int
    delay: Interval
    clock: str
    folder: str
    junk: bool
    uidvalidity: int
    uid: int
    internaldate_ns: int | None = None
    hops: list[Hop] = msgspec.field(default_factory=list)
    carrier: Carrier | None = None
    auth: AuthResults | None = None


class Expiry(msgspec.Struct, frozen=True, kw_only=True, tag_field="kind", tag="expiry"):
    """The wait for a canary is over: ``lost`` (``True``) or not to be told (``False``).

    Lost needs a complete check of every folder of the mailbox begun after ``loss_after``;
    ``watermark_ns`` is the start of that check.
    """

    canary: str
    path: Path
    at_ns: int
    lost: bool
    watermark_ns: int | None
    detail: str = ""


class Bounce(msgspec.Struct, frozen=True, kw_only=True, tag_field="kind", tag="bounce"):
    """A delivery status notification (RFC 3464) about a canary came back."""

    canary: str
    path: Path
    seen_ns: int
    action: str
    status: str | None
    diagnostic: str | None
    remote_mta: str | None
    reporting_mta: str | None
    final_recipient: str | None = None


class Check(msgspec.Struct, frozen=True, kw_only=True, tag_field="kind", tag="check"):
    """What a probe from the relay's own side saw (egress, queue, TLS, DNS).

    One :class:`~probes.contract.checks.Finding` of a round that began at ``began_ns``: checks of
    one agent with the same ``probe``, ``relay`` and ``began_ns`` belong together. ``at_ns`` is when
    this one was known.
    """

    agent: str
    probe: str
    at_ns: int
    ok: bool
    relay: str | None = None
    target: str | None = None
    source: str | None = None
    stage: Stage | None = None
    reason: Reason | None = None
    detail: str | None = None
    timings: dict[str, float] = msgspec.field(default_factory=dict)
    began_ns: int | None = None
    interval_s: float | None = None
    egress: EgressSeen | None = None
    pattern: EgressPattern | None = None
    queue: QueueSeen | None = None


class MailboxHealth(msgspec.Struct, frozen=True, kw_only=True):
    """How the reading of one mailbox goes. ``watermark_ns`` as in ``docs/events.md``.

    ``watermark_boot_ns`` is the same instant on the boot clock of the heartbeat's ``boot_id``.
    """

    state: str
    watermark_ns: int | None
    detail: str | None = None
    in_flight: int = 0
    backlog: int = 0
    quota_used: float | None = None
    watermark_boot_ns: int | None = None


class SpoolHealth(msgspec.Struct, frozen=True, kw_only=True):
    """The spool's depth and what it had to drop since its epoch began."""

    epoch: str
    last_seq: int
    depth: int
    bytes: int
    dropped: int
    problem: str | None = None


class Heartbeat(msgspec.Struct, frozen=True, kw_only=True, tag_field="kind", tag="heartbeat"):
    """The agent is alive, and how well it works. ``counters`` only ever grow within a run.

    ``at_boot_ns`` is what the boot clock showed at ``at_ns``, in the boot ``boot_id``.
    """

    agent: str
    at_ns: int
    version: str
    boot_id: str
    started_ns: int
    in_flight: int
    lag_s: float
    spool: SpoolHealth
    mailboxes: dict[str, MailboxHealth]
    counters: dict[str, int]
    labels: dict[str, str] = msgspec.field(default_factory=dict)
    at_boot_ns: int | None = None


class Complaint(msgspec.Struct, frozen=True, kw_only=True, tag_field="kind", tag="complaint"):
    """A customer says that mail is late or missing."""

    customer: str
    at_ns: int
    domain: str | None = None
    address: str | None = None
    text: str = ""


class Action(msgspec.Struct, frozen=True, kw_only=True, tag_field="kind", tag="action"):
    """What a person, or automation on a person's behalf, did: acknowledge, silence, drain, …"""

    by: str
    verb: str
    target: str
    at_ns: int
    until_ns: int | None = None
    note: str = ""


class Config(msgspec.Struct, frozen=True, kw_only=True, tag_field="kind", tag="config"):
    """A configuration revision came into force; ``document`` is the whole of it."""

    revision: str
    at_ns: int
    document: dict[str, Any]


class Tick(msgspec.Struct, frozen=True, kw_only=True, tag_field="kind", tag="tick"):
    """What time it is, for everything that must be decided the same way when replayed."""

    at_ns: int


class Unknown(msgspec.Struct, frozen=True, kw_only=True):
    """An event of a kind that this version does not know, kept byte for byte."""

    kind: str
    raw: bytes


CanaryEvent = Intent | Submission | Arrival | Expiry | Bounce
"""The events that are about one canary; its outcome is a function of the set of them."""

Event = CanaryEvent | Check | Heartbeat | Complaint | Action | Config | Tick

KINDS: dict[str, type[Any]] = {
    "intent": Intent,
    "submission": Submission,
    "arrival": Arrival,
    "expiry": Expiry,
    "bounce": Bounce,
    "check": Check,
    "heartbeat": Heartbeat,
    "complaint": Complaint,
    "action": Action,
    "config": Config,
    "tick": Tick,
}


class Envelope(msgspec.Struct, frozen=True, kw_only=True):
    """How an event stands in the log: who reported it, as which entry, and when it was taken in.

    (source, epoch, seq) is the event's identity; seq is contiguous from 1 within an epoch.
    """

    CURRENT: ClassVar[int] = EVENTS_VERSION

    version: int
    ingested_at_ns: int
    source: str
    epoch: str
    seq: int
    event: msgspec.Raw


class _Kind(msgspec.Struct, frozen=True):
    kind: str


_encoder = msgspec.json.Encoder()
_decoder: msgspec.json.Decoder[Event] = msgspec.json.Decoder(Event)
_kind_decoder = msgspec.json.Decoder(_Kind)


def encode(event: Event | Unknown) -> bytes:
    """The one JSON form of an event, UTF-8, one line."""
    return event.raw if isinstance(event, Unknown) else _encoder.encode(event)


def decode(data: bytes) -> Event | Unknown:
    """The event that ``data`` holds; one of an unknown kind is kept as :class:`Unknown`.

    Raises:
        msgspec.ValidationError: when a field is missing or of the wrong type.
        msgspec.DecodeError: when ``data`` is not JSON.
    """
    try:
        return _decoder.decode(data)
    except msgspec.ValidationError:
        kind = _kind_decoder.decode(data).kind
        if kind in KINDS:
            raise
        return Unknown(kind=kind, raw=bytes(data))
