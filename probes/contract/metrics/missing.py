"""Which sequence numbers of a stream have not arrived yet, in bounded memory."""

from bisect import bisect_right
from enum import StrEnum

import msgspec

from probes.contract.metrics.spans import Span

DEFAULT_LIMIT = 4096
"""Ranges of missing numbers that a stream remembers: under 2 MB at the very worst."""


class Standing(StrEnum):
    """How the number of an arrival stands to those that arrived before it."""

    IN_ORDER = "in-order"
    """Not below the next expected number."""
    REORDERED = "reordered"
    """Below the next expected number, and seen for the first time (RFC 4737 section 3.3)."""
    COPY = "copy"
    """Seen before; only the first copy counts."""
    UNJUDGED = "unjudged"
    """Below what is remembered: a late first copy or a second one, not to be told."""


class Opening(msgspec.Struct, frozen=True):
    """The arrival that made numbers missing: its place among first copies, from 1, and its time."""

    place: int
    span: Span


class Range(msgspec.Struct, frozen=True):
    """Numbers ``lo`` to ``hi``, both included, that an arrival above them has left missing.

    ``opening`` is the earliest arrival with a greater number than any of them.
    """

    lo: int
    hi: int
    opening: Opening


class Taken(msgspec.Struct, frozen=True):
    """What an arrival's number was: ``gap`` is the size of the sequence discontinuity that it made
    (RFC 4737 section 3.4), ``opening`` is there for a reordered one."""

    standing: Standing
    gap: int = 0
    opening: Opening | None = None


class Missing(msgspec.Struct, kw_only=True):
    """The numbers still missing below ``next_expected``, as disjoint ranges in rising order.

    ``first`` is the least number that the stream can have. At most ``limit`` ranges are kept: the
    lowest are given up for good, and ``floor`` is the least number that is still remembered.
    """

    first: int = 0
    limit: int = DEFAULT_LIMIT
    floor: int = 0
    next_expected: int | None = None
    ranges: list[Range] = msgspec.field(default_factory=list)

    def __post_init__(self) -> None:
        if self.limit < 1:
            raise ValueError(f"limit {self.limit}: allowed is 1 or more")
        self.floor = max(self.floor, self.first)

    def take(self, seq: int, arrival: Opening) -> Taken:
        """Note that ``seq`` arrived as ``arrival``; O(log n) and, for late ones, a list insert."""
        if seq < self.floor:
            return Taken(Standing.UNJUDGED)
        if self.next_expected is None or seq >= self.next_expected:
            return self._advance(seq, arrival)
        at = self._at(seq)
        if at < 0 or seq > self.ranges[at].hi:
            return Taken(Standing.COPY)
        return self._fill(at, seq)

    def any_between(self, low: int, high: int) -> bool:
        """Whether a remembered number strictly between ``low`` and ``high`` is missing."""
        at = self._at(high - 1)
        return at >= 0 and self.ranges[at].hi > low

    def _at(self, seq: int) -> int:
        """The index of the last range that begins at or below ``seq``; -1 when there is none."""
        return bisect_right(self.ranges, seq, key=_lo) - 1

    def _advance(self, seq: int, arrival: Opening) -> Taken:
        expected = self.first if self.next_expected is None else self.next_expected
        # Where a stream was taken up in its middle is no discontinuity: NextExp had no value yet.
        gap = 0 if self.next_expected is None else seq - expected
        self.next_expected = seq + 1
        if seq > expected:
            self.ranges.append(Range(expected, seq - 1, arrival))
            self._trim()
        return Taken(Standing.IN_ORDER, gap)

    def _fill(self, at: int, seq: int) -> Taken:
        old = self.ranges[at]
        left = [Range(old.lo, seq - 1, old.opening)] if old.lo < seq else []
        right = [Range(seq + 1, old.hi, old.opening)] if seq < old.hi else []
        self.ranges[at : at + 1] = left + right
        self._trim()
        return Taken(Standing.REORDERED, opening=old.opening)

    def _trim(self) -> None:
        excess = len(self.ranges) - self.limit
        if excess > 0:
            self.floor = self.ranges[excess - 1].hi + 1
            del self.ranges[:excess]


def _lo(missing: Range) -> int:
    return missing.lo
