"""What a rollup remembers of one canary, as long as its outcome may still be corrected."""

from typing import Any

import msgspec

from collector.rollup.cells import Cell, Key, add, counted
from probes.contract.metrics.overtaking import Handover
from probes.contract.outcome import Outcome, Sighting, Story, Verdict
from probes.contract.stages import Reason, Result, Stage
from probes.contract.units import NS_PER_S

NO_SERIES = 0
"""Its intent has not come yet, so nobody knows when and under which labels it was sent."""
IGNORED = -1
"""It is counted in cells that were kept from an older file, and must not be counted again."""

RowKey = bytes
_HEX, _TEXT = b"h", b"t"
EVENTS = 64
"""Events of a canary whose places in the log are kept: far more than an honest agent reports."""


def row_key(canary: str, agent: str) -> RowKey:
    """A canary as it lies in the file, its id half as long where it is all hexadecimal digits.

    The agent is part of it: what an agent says of an id that is another's is about a canary of its
    own, and changes nothing of the other's.
    """
    return _id(canary) + b"/" + agent.encode()


def id_of(key: RowKey) -> str:
    """The canary's id in a key."""
    if key[:1] == _HEX:
        return key[1:17].hex()
    return key[1:].rpartition(b"/")[0].decode()


def keys_between(canary: str) -> tuple[RowKey, RowKey]:
    """Every key of that id, whichever agent's, is at or above the first and below the second.

    Others may be, too: :func:`id_of` tells.
    """
    whole = _id(canary)
    return whole + b"/", whole + b"0"


def _id(canary: str) -> bytes:
    if len(canary) == 32:
        try:
            raw = bytes.fromhex(canary)
        except ValueError:
            return _TEXT + canary.encode()
        if raw.hex() == canary:
            return _HEX + raw
    return _TEXT + canary.encode()


class Canary(msgspec.Struct, gc=False, eq=False):
    """One canary's state. ``applied`` is what it counts as in the cells now.

    ``series`` is its path's, ``at_ns`` the time of its intent, ``due_ns`` when it is overdue for
    good, all by its agent's clock; ``born_ns`` the log's time when the first event of it came.
    ``silent``: its agent fell silent before it told the end. ``carriers`` has bit 1 where a copy
    came by another relay than planned, bit 2 by another egress address. ``kept``: it was taken over
    from an older file. ``ended``: what it counts as is no longer pending. ``stored``: it has a row.

    No reference leads back to it, and there may be many thousands, so the garbage collector need
    not look at them.
    """

    key: RowKey
    number: int
    born_ns: int
    series: int = NO_SERIES
    at_ns: int = 0
    due_ns: int = 0
    story: Story = Story()
    silent: bool = False
    carriers: int = 0
    handover: Handover | None = None
    judged: Cell | None = None
    cursors: list[int] = []
    handed: tuple[str, int] | None = None
    put_off: bool = False
    kept: bool = False
    ended: bool = False
    stored: bool = False
    applied: Cell = {}

    @property
    def start_s(self) -> int:
        """The minute that it counts in, in seconds since the Unix epoch."""
        return self.at_ns // (60 * NS_PER_S) * 60

    def verdict(self) -> Verdict:
        """Its verdict now; one whose agent fell silent is unknown rather than pending."""
        verdict = self.story.verdict()
        if self.silent and verdict.outcome is Outcome.PENDING:
            return msgspec.structs.replace(verdict, outcome=Outcome.UNKNOWN)
        return verdict

    def cell(self, verdict: Verdict) -> Cell:
        """What it counts as, with that verdict."""
        cell = counted(verdict)
        if self.put_off and verdict.delay is not None:
            cell[Key.GREYLISTED.value] = 1
        if self.carriers & 1:
            cell[Key.WRONG_RELAY.value] = 1
        if self.carriers & 2:
            cell[Key.WRONG_EGRESS.value] = 1
        if self.judged:
            add(cell, self.judged)
        return cell


class _Row(msgspec.Struct, frozen=True, array_like=True, gc=False):
    series: int
    at_ns: int
    due_ns: int
    story: tuple[Any, ...]
    bits: int
    handover: tuple[int | None, int | None] | None
    judged: Any
    cursors: Any
    handed: tuple[str, int] | None = None


_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(_Row)


def _pack_story(story: Story) -> tuple[Any, ...]:
    return (
        story.deadline_s,
        story.result,
        story.stage,
        story.reason,
        [(s.wall, s.lo, s.hi, s.folder, s.uidvalidity, s.uid, s.junk) for s in story.sightings],
        story.lost | story.given_up << 1 | story.failed_dsn << 2 | story.delayed_dsn << 3,
    )


def _unpack_story(row: tuple[Any, ...]) -> Story:
    deadline_s, result, stage, reason, sightings, bits = row
    return Story(
        deadline_s=deadline_s,
        result=None if result is None else Result(result),
        stage=None if stage is None else Stage(stage),
        reason=None if reason is None else Reason(reason),
        sightings=tuple(Sighting(*sighting) for sighting in sightings),
        lost=bool(bits & 1),
        given_up=bool(bits & 2),
        failed_dsn=bool(bits & 4),
        delayed_dsn=bool(bits & 8),
    )


def pack(canary: Canary) -> bytes:
    """The canary as it lies in the file; key, number and birth have columns of their own."""
    handover = canary.handover
    row = (
        canary.series,
        canary.at_ns,
        canary.due_ns,
        _pack_story(canary.story),
        canary.carriers | canary.silent << 2 | canary.kept << 3 | canary.put_off << 4,
        None if handover is None else (handover.data_ns, handover.accepted_ns),
        canary.judged,
        canary.cursors,
    )
    if canary.ended or canary.handed is None:
        # Nobody looks for it in a queue any more.
        return _encoder.encode(row)
    return _encoder.encode((*row, canary.handed))


def unpack(key: RowKey, number: int, born_ns: int, data: bytes) -> Canary:
    """The canary that :func:`pack` wrote.

    Raises:
        msgspec.MsgspecError: ``data`` is no canary.
    """
    canary = Canary(key, number, born_ns)
    row = _decoder.decode(data)
    canary.series, canary.at_ns, canary.due_ns = row.series, row.at_ns, row.due_ns
    canary.story = _unpack_story(row.story)
    bits = row.bits
    canary.carriers = bits & 3
    canary.silent, canary.kept, canary.put_off = bool(bits & 4), bool(bits & 8), bool(bits & 16)
    canary.handover = None if row.handover is None else Handover(*row.handover)
    canary.judged = row.judged
    canary.cursors = row.cursors
    canary.handed = row.handed
    canary.stored = True
    if canary.series > NO_SERIES:
        verdict = canary.verdict()
        canary.applied = canary.cell(verdict)
        canary.ended = verdict.outcome is not Outcome.PENDING
    return canary
