"""One-way delay percentiles (RFC 7679 section 5) in bounded memory, mergeable, never untrue.

Bounds are counted in buckets that grow by :data:`GROWTH`: lower bounds are rounded down to their
bucket's edge and upper bounds up, so what comes out is a wider interval than the exact one, by
2 % at either end, and still contains the true percentile.
"""

import math

import msgspec

from probes.contract.events import Interval
from probes.contract.metrics.delay import Delay, checked, rank

GROWTH = 1.02
"""The ratio of a bucket's edges."""
_LOG_GROWTH = math.log(GROWTH)


def _bucket(seconds: float) -> int:
    """The bucket i with ``edge(i) <= seconds < edge(i + 1)``, whatever the logarithm rounds to."""
    index = math.floor(math.log(seconds) / _LOG_GROWTH)
    while GROWTH**index > seconds:
        index -= 1
    while GROWTH ** (index + 1) <= seconds:
        index += 1
    return index


BOTTOM = _bucket(0.0001)
"""The bucket of all that is shorter, too: its lower edge counts as 0."""
TOP = _bucket(31 * 86400.0)
"""The bucket of all that is longer, too: its upper edge counts as infinite."""


def _lower_edge(index: int) -> float:
    return GROWTH**index if index > BOTTOM else 0.0


def _upper_edge(index: int) -> float:
    return GROWTH ** (index + 1) if index < TOP else math.inf


def _clamped(seconds: float) -> int:
    if seconds <= _upper_edge(BOTTOM - 1):
        return BOTTOM
    return _bucket(seconds) if seconds < GROWTH**TOP else TOP


def buckets(delay: Interval) -> tuple[int, int]:
    """The buckets that count the lower and the upper bound of ``delay``.

    Raises:
        ValueError: when a bound is no number, ``lo`` is infinite or above ``hi``.
    """
    interval = checked(delay)
    return _clamped(interval.lo), _clamped(interval.hi)


class DelaySketch(msgspec.Struct, kw_only=True):
    """Counts per bucket of the lower and the upper bounds, and of the undefined (lost) ones.

    At most ``TOP - BOTTOM + 1`` buckets (1,214) on either side. Sketches of disjoint sets of
    canaries add up with ``merged``, in any order, to what one sketch of all would be.
    """

    los: dict[int, int] = msgspec.field(default_factory=dict)
    his: dict[int, int] = msgspec.field(default_factory=dict)
    lost: int = 0

    def fold(self, delay: Delay) -> None:
        """Count one canary; ``None`` for a lost one, ``[age, inf]`` for one still awaited.

        Raises:
            ValueError: when a bound is no number, ``lo`` is infinite or above ``hi``.
        """
        if delay is None:
            self.lost += 1
            return
        low, high = buckets(delay)
        self.los[low] = self.los.get(low, 0) + 1
        self.his[high] = self.his.get(high, 0) + 1

    def unfold(self, delay: Delay) -> None:
        """Take out one canary that was folded as ``delay``: its fate has been corrected.

        Raises:
            ValueError: as for :meth:`fold`; or no such canary is in the sketch, which is unchanged.
        """
        if delay is None:
            if not self.lost:
                raise ValueError("no lost canary to take out")
            self.lost -= 1
            return
        low, high = buckets(delay)
        if not (self.los.get(low) and self.his.get(high)):
            raise ValueError(f"delay {delay}: no canary with such bounds to take out")
        _take_one(self.los, low)
        _take_one(self.his, high)

    def count(self) -> int:
        """How many canaries were folded, lost ones included."""
        return sum(self.los.values()) + self.lost

    def percentile(self, percent: float) -> Delay:
        """As :func:`probes.contract.metrics.delay.percentile`, wider by up to 2 % at either end.

        Raises:
            ValueError: when ``percent`` is not in 0..100.
        """
        nth = rank(percent, max(1, self.count()))
        low, high = _ranked(self.los, nth), _ranked(self.his, nth)
        if low is None or high is None:
            return None
        return Interval(_lower_edge(low), _upper_edge(high))

    def inverse_percentile(self, threshold_s: float) -> Interval | None:
        """As :func:`probes.contract.metrics.delay.inverse_percentile`, contained in this one."""
        count = self.count()
        if not count:
            return None
        surely = sum(n for index, n in self.his.items() if _upper_edge(index) <= threshold_s)
        possibly = sum(n for index, n in self.los.items() if _lower_edge(index) <= threshold_s)
        return Interval(surely / count, possibly / count)

    def merged(self, other: "DelaySketch") -> "DelaySketch":
        """The sketch of both sets of canaries together."""
        return DelaySketch(
            los=_sums(self.los, other.los),
            his=_sums(self.his, other.his),
            lost=self.lost + other.lost,
        )


def _take_one(counts: dict[int, int], index: int) -> None:
    counts[index] -= 1
    if not counts[index]:
        # As if it had never been there: what was taken out leaves no trace.
        del counts[index]


def _ranked(buckets: dict[int, int], nth: int) -> int | None:
    for index in sorted(buckets):
        nth -= buckets[index]
        if nth <= 0:
            return index
    return None


def _sums(one: dict[int, int], other: dict[int, int]) -> dict[int, int]:
    return {index: one.get(index, 0) + other.get(index, 0) for index in one.keys() | other.keys()}
