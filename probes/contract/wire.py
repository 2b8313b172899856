"""What agents and collector say to each other over HTTP; ``docs/wire.md`` has the whole exchange.

A batch of events is newline-delimited JSON: the header, then one event per line, byte for byte as
it lies in the agent's spool. A line that is no event costs that line, not the batch.
"""

from collections.abc import Sequence
from enum import StrEnum

import msgspec

from probes.contract.events import MailboxHealth, SpoolHealth

WIRE_VERSION = 1
BATCH_TYPE = "application/x-ndjson"
PROBLEM_TYPE = "application/problem+json"
"""The media type of every error's body (RFC 9457)."""

MAX_COMPRESSED_BYTES = 8 << 20
MAX_PLAIN_BYTES = 64 << 20
MAX_BATCH_EVENTS = 10_000
MAX_EVENT_BYTES = 1 << 20
"""Of one line. A heartbeat with the states of thousands of mailboxes is the longest event."""


class BatchHeader(msgspec.Struct, frozen=True, kw_only=True):
    """The first line of a batch: whose events follow, and where they stand in their epoch.

    The events have the numbers ``first_seq``, ``first_seq + 1``, … in the order of their lines,
    ``count`` of them. ``sent_at_ns`` is the agent's wall clock when the request was made.
    """

    version: int
    agent: str
    epoch: str
    first_seq: int
    count: int
    sent_at_ns: int


class RefusalReason(StrEnum):
    """Why the collector did not take an event into the log."""

    INVALID = "invalid"
    """No event: not JSON, a field missing or of the wrong type, a time or number out of range."""
    TOO_LARGE = "too-large"
    """Longer than :data:`MAX_EVENT_BYTES`."""
    WRONG_AGENT = "wrong-agent"
    """It speaks of an agent other than the one whose token sent it."""
    NOT_ASSIGNED = "not-assigned"
    """Its path was assigned to the agent in no revision that the collector knows."""
    WRONG_KIND = "wrong-kind"
    """A kind that only the collector writes."""


class Refusal(msgspec.Struct, frozen=True, kw_only=True):
    """One event that was not taken. It lies among the dead letters, and the mark is past it."""

    seq: int
    reason: RefusalReason
    detail: str


class Gap(msgspec.Struct, frozen=True, kw_only=True):
    """Numbers of an epoch that the collector has never seen, both ends included."""

    first_seq: int
    last_seq: int


class Ingested(msgspec.Struct, frozen=True, kw_only=True):
    """The answer to a batch, given when it is on the disk.

    ``high_water``: every event of the epoch up to that number is stored, refused or known to be
    missing, so that the agent may forget it. ``duplicates`` were stored before. ``gap`` is what was
    missing before this batch. The two times are the collector's wall clock.
    """

    epoch: str
    high_water: int
    accepted: int
    duplicates: int
    refused: list[Refusal] = msgspec.field(default_factory=list)
    gap: Gap | None = None
    received_at_ns: int
    answered_at_ns: int


class Beat(msgspec.Struct, frozen=True, kw_only=True):
    """That the agent lives and how far behind its report is; told beside the events, at once.

    ``last_seq`` is the newest event in the spool, ``shipped_seq`` the newest that the collector has
    confirmed, ``oldest_at_ns`` when the oldest unshipped one was written. The mailbox states carry
    no watermarks: those travel with the events only, so that no canary seems overdue whose arrival
    is still on its way here. ``clock_offset_s`` is by how much the agent's wall clock is ahead of
    the collector's, measured from the exchange before, true within half of ``round_trip_s``.
    """

    version: str
    boot_id: str
    started_ns: int
    sent_at_ns: int
    revision: str
    epoch: str
    last_seq: int
    shipped_seq: int
    oldest_at_ns: int | None = None
    in_flight: int = 0
    spool: SpoolHealth | None = None
    mailboxes: dict[str, MailboxHealth] = msgspec.field(default_factory=dict)
    labels: dict[str, str] = msgspec.field(default_factory=dict)
    clock_offset_s: float | None = None
    round_trip_s: float | None = None


class BeatReply(msgspec.Struct, frozen=True, kw_only=True):
    """The answer to a beat: the collector's clock, and how soon the next one is expected."""

    received_at_ns: int
    answered_at_ns: int
    beat_s: float


class AssignmentDocument(msgspec.Struct, frozen=True, kw_only=True):
    """What an agent has to measure: its part of the configuration, in the file's words, as JSON.

    ``revision`` is what its intents say they were sent under.
    """

    version: int
    agent: str
    revision: str
    config: msgspec.Raw


class ProblemDetails(msgspec.Struct, frozen=True, kw_only=True):
    """The body of an error (RFC 9457). ``errors`` is what ``mailcanary check`` would print."""

    title: str
    status: int
    type: str = "about:blank"
    detail: str | None = None
    errors: list[str] = msgspec.field(default_factory=list)


def encode_batch(header: BatchHeader, events: Sequence[bytes]) -> bytes:
    """The body of a batch, uncompressed.

    Raises:
        ValueError: ``header.count`` is not the number of ``events``, or one of them has a line end.
    """
    if header.count != len(events):
        raise ValueError(f"count {header.count}: allowed is the number of events, {len(events)}")
    if any(b"\n" in event for event in events):
        raise ValueError("an event with a line end: allowed is one line each")
    return b"\n".join((msgspec.json.encode(header), *events, b""))


class ClockReading(msgspec.Struct, frozen=True):
    """How far our wall clock is ahead of the other side's, in seconds, and how sure that is."""

    offset_s: float
    round_trip_s: float


def read_clock(sent_ns: int, received_ns: int, answered_ns: int, got_ns: int) -> ClockReading:
    """Compare two clocks by one exchange (RFC 5905 section 8, the sign as seen from here).

    ``sent_ns`` and ``got_ns`` are ours, ``received_ns`` and ``answered_ns`` the other side's. The
    true offset lies within half the round trip of ``offset_s``.
    """
    offset_ns = ((sent_ns - received_ns) + (got_ns - answered_ns)) / 2
    trip_ns = (got_ns - sent_ns) - (answered_ns - received_ns)
    return ClockReading(offset_ns / 1e9, max(0.0, trip_ns / 1e9))
