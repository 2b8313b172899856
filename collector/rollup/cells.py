"""A cell: everything that is counted of the canaries of one series in one stretch of time.

A cell is a flat map from small numbers to whole numbers, so that adding one to another is one loop
and its bytes are few. Cells of disjoint sets of canaries add up in any order; what one canary gave
is taken out again by adding it with the opposite sign. The numbers of :class:`Key` are in every
rollup file: new ones may be added, none may change its meaning.
"""

from enum import IntEnum

import msgspec

from probes.contract.metrics.sketch import buckets
from probes.contract.outcome import Outcome, Timing, Verdict
from probes.contract.stages import Stage

Cell = dict[int, int]


class Key(IntEnum):
    """What is counted; outcomes, timings, stages, degrees and delay buckets follow below."""

    CANARIES = 0
    JUNK = 30
    DUPLICATES = 31
    REPLICATED = 32
    DELAYED_DSN = 33
    WRONG_RELAY = 34
    WRONG_EGRESS = 35
    GREYLISTED = 36
    RECEIVED = 60
    REORDERED = 61
    EXTENT_SUM = 62
    UNJUDGED = 63
    DISCONTINUITIES = 64
    GAP_PACKETS = 65
    JUDGED = 90
    OVERTAKEN = 91
    OVERTAKEN_EXTENT_SUM = 92
    OVERTAKING_UNJUDGED = 93
    # From here to MAXIMA_END the greatest counts, not the sum; nothing is ever taken out of these.
    EXTENT_MAX = 100
    LATE_LO_NS = 101
    LATE_HI_NS = 102
    OVERTAKEN_EXTENT_MAX = 103
    OVERTAKEN_LATE_LO_NS = 104
    OVERTAKEN_LATE_HI_NS = 105


MAXIMA = 100
MAXIMA_END = 110
DEGREE = 69
"""``DEGREE + n`` counts the arrivals of degree n (RFC 4737 section 5.3)."""
LO = 2000
HI = 5000
"""``LO + i`` and ``HI + i`` count the delays whose bounds are in bucket ``i`` of the sketch."""

OUTCOMES = {
    Outcome.PENDING: 1,
    Outcome.DELIVERED: 2,
    Outcome.LATE: 3,
    Outcome.LOST: 4,
    Outcome.REJECTED: 5,
    Outcome.DEFERRED: 6,
    Outcome.UNREACHABLE: 7,
    Outcome.FAILED: 8,
    Outcome.BOUNCED: 9,
    Outcome.UNSENT: 10,
    Outcome.UNKNOWN: 11,
}
TIMINGS = {Timing.IN_TIME: 20, Timing.LATE: 21, Timing.UNCERTAIN: 22}
STAGES = {
    Stage.RESOLVE: 40,
    Stage.CONNECT: 41,
    Stage.BANNER: 42,
    Stage.EHLO: 43,
    Stage.TLS: 44,
    Stage.AUTH: 45,
    Stage.MAIL: 46,
    Stage.RCPT: 47,
    Stage.DATA: 48,
    Stage.ACCEPT: 49,
    Stage.TRANSIT: 50,
    Stage.EGRESS_RESOLVE: 51,
    Stage.EGRESS_CONNECT: 52,
    Stage.EGRESS_BANNER: 53,
    Stage.EGRESS_TLS: 54,
    Stage.OTHER: 55,
    Stage.EGRESS_EHLO: 110,
    Stage.EGRESS_AUTH: 111,
    Stage.EGRESS_MAIL: 112,
    Stage.EGRESS_RCPT: 113,
    Stage.EGRESS_DATA: 114,
    Stage.EGRESS_ACCEPT: 115,
    Stage.QUEUE: 116,
}

# An enum's value is looked up by a call, which shows where it is done with every event.
_CANARIES = Key.CANARIES.value
_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(Cell)


def encode(cell: Cell) -> bytes:
    """The cell as it lies in the file."""
    return _encoder.encode(cell)


def decode(data: bytes) -> Cell:
    """The cell that ``data`` holds.

    Raises:
        msgspec.MsgspecError: ``data`` is no cell.
    """
    return _decoder.decode(data)


def add(cell: Cell, more: Cell) -> None:
    """Add ``more`` to ``cell``, in place. What comes to nothing leaves no trace."""
    get = cell.get
    for key, value in more.items():
        if key < MAXIMA or key >= MAXIMA_END:
            if total := get(key, 0) + value:
                cell[key] = total
            else:
                cell.pop(key, None)
        elif value > get(key, -1):
            cell[key] = value


def difference(new: Cell, old: Cell) -> Cell:
    """What has to be added to a cell in which a canary counted as ``old`` and is ``new`` now."""
    if not old:
        return new
    changes = {
        key: value if MAXIMA <= key < MAXIMA_END else value - old.get(key, 0)
        for key, value in new.items()
        if value != old.get(key)
    }
    for key, value in old.items():
        if key not in new:
            changes[key] = -value
    return changes


def counted(verdict: Verdict) -> Cell:
    """What a canary of that verdict counts as."""
    cell: Cell = {_CANARIES: 1, OUTCOMES[verdict.outcome]: 1}
    if verdict.delay is not None:
        try:
            low, high = buckets(verdict.delay)
        except ValueError:
            # Bounds that are no numbers: it arrived, and nobody can say how fast.
            pass
        else:
            cell[LO + low] = 1
            cell[HI + high] = 1
        if verdict.timing is not None:
            cell[TIMINGS[verdict.timing]] = 1
        if verdict.junk:
            cell[Key.JUNK.value] = 1
        if verdict.duplicates:
            cell[Key.DUPLICATES.value] = verdict.duplicates
            cell[Key.REPLICATED.value] = 1
    elif verdict.stage is not None and verdict.outcome is not Outcome.PENDING:
        cell[STAGES[verdict.stage]] = 1
    if verdict.delayed_dsn:
        cell[Key.DELAYED_DSN.value] = 1
    return cell
