"""Reordering of one numbered stream, as RFC 4737 defines it, one arrival at a time.

Exact for a stream of any length as long as no more than ``limit`` ranges of its numbers are
missing at once; past that the lowest ranges are given up, and what arrives of them is ``unjudged``
and takes no part in any figure.
"""

import msgspec

from probes.contract.events import Interval
from probes.contract.metrics.missing import DEFAULT_LIMIT, Missing, Opening, Standing
from probes.contract.metrics.ratios import ratio
from probes.contract.metrics.spans import Span, late_time

MAX_DEGREE = 16
"""Degrees of n-reordering counted apart; greater ones count as this one."""


class Judgement(msgspec.Struct, frozen=True, kw_only=True):
    """What RFC 4737 says of one arrival.

    ``gap`` is the size of the sequence discontinuity that it made (section 3.4). ``extent`` in
    places (section 4.2) and ``late`` in seconds (section 4.3) are there for a reordered one.
    ``degree`` is the greatest n for which it is n-reordered, 0 for none (section 5.3).
    """

    standing: Standing
    gap: int = 0
    extent: int | None = None
    late: Interval | None = None
    degree: int = 0


class ReorderCounts(msgspec.Struct, kw_only=True):
    """Sums over judged arrivals. Counts of different streams add up; two parts of one stream don't.

    ``degrees[n - 1]`` counts the arrivals of degree n, the last bin those of :data:`MAX_DEGREE` or
    more. ``latest`` contains the greatest late-time offset, in seconds. ``runs`` counts the
    reordering-free runs that ended (section 4.6), ``run_packets`` and ``run_squares`` the sum of
    their lengths and of the squares of them.
    """

    received: int = 0
    reordered: int = 0
    copies: int = 0
    unjudged: int = 0
    discontinuities: int = 0
    gap_packets: int = 0
    extent_sum: int = 0
    extent_max: int = 0
    latest: Interval | None = None
    degrees: list[int] = msgspec.field(default_factory=lambda: [0] * MAX_DEGREE)
    runs: int = 0
    run_packets: int = 0
    run_squares: int = 0
    run_max: int = 0

    def reordered_ratio(self) -> float | None:
        """Reordered arrivals of all first copies (section 4.1); ``None`` when none arrived."""
        return ratio(self.reordered, self.received)

    def mean_extent(self) -> float | None:
        """The mean extent of reordered arrivals in places; ``None`` when none was reordered."""
        return ratio(self.extent_sum, self.reordered)

    def n_reordered_ratio(self, n: int) -> float | None:
        """n-reordered arrivals of all first copies, the sample's degree (section 5.3).

        Raises:
            ValueError: when ``n`` is not in 1..:data:`MAX_DEGREE`.
        """
        if not 1 <= n <= MAX_DEGREE:
            raise ValueError(f"n {n}: allowed is 1 to {MAX_DEGREE}")
        return ratio(sum(self.degrees[n - 1 :]), self.received)

    def merged(self, other: "ReorderCounts") -> "ReorderCounts":
        """The counts of both streams together."""
        return ReorderCounts(
            received=self.received + other.received,
            reordered=self.reordered + other.reordered,
            copies=self.copies + other.copies,
            unjudged=self.unjudged + other.unjudged,
            discontinuities=self.discontinuities + other.discontinuities,
            gap_packets=self.gap_packets + other.gap_packets,
            extent_sum=self.extent_sum + other.extent_sum,
            extent_max=max(self.extent_max, other.extent_max),
            latest=greatest(self.latest, other.latest),
            degrees=[a + b for a, b in zip(self.degrees, other.degrees, strict=True)],
            runs=self.runs + other.runs,
            run_packets=self.run_packets + other.run_packets,
            run_squares=self.run_squares + other.run_squares,
            run_max=max(self.run_max, other.run_max),
        )


class Low(msgspec.Struct, frozen=True):
    """An arrival to which no later one is smaller: its number and its place."""

    seq: int
    place: int


class Reordering(msgspec.Struct, kw_only=True):
    """The state of one stream: fold its arrivals in the order in which they arrived.

    Start a new one with :func:`new_stream` for every stream and stream epoch.
    """

    missing: Missing
    counts: ReorderCounts = msgspec.field(default_factory=ReorderCounts)
    lows: list[Low] = msgspec.field(default_factory=list)
    run: int = 0

    def fold(self, seq: int, arrived: Span) -> Judgement:
        """Judge the next arrival. Amortised O(log n) and at most two list inserts."""
        place = self.counts.received + 1
        taken = self.missing.take(seq, Opening(place, arrived))
        if taken.standing is Standing.COPY:
            self.counts.copies += 1
            return Judgement(standing=taken.standing)
        if taken.standing is Standing.UNJUDGED:
            self.counts.unjudged += 1
            return Judgement(standing=taken.standing)
        degree = self._degree(seq, place)
        if taken.opening is None:
            judgement = Judgement(standing=taken.standing, gap=taken.gap)
        else:
            judgement = Judgement(
                standing=taken.standing,
                extent=place - taken.opening.place,
                late=late_time(arrived, taken.opening.span),
                degree=degree,
            )
        self._count(judgement)
        return judgement

    def _degree(self, seq: int, place: int) -> int:
        """How many arrivals just before this one have greater numbers, without a break.

        ``lows`` keeps, in rising order of both number and place, each arrival that may yet turn out
        to be the last one smaller than a late comer. Where no number between two of them is
        missing, no late comer can fall there, and the lower one is of no more use: so there is at
        most one more of them than there are missing ranges.
        """
        lows = self.lows
        while lows and lows[-1].seq > seq:
            lows.pop()
        last_smaller = lows[-1].place if lows else 0
        if lows and not self.missing.any_between(lows[-1].seq, seq):
            lows.pop()
        lows.append(Low(seq, place))
        useless = 0
        while useless + 1 < len(lows) and not self.missing.any_between(
            lows[useless].seq, lows[useless + 1].seq
        ):
            useless += 1
        del lows[:useless]
        return place - last_smaller - 1

    def _count(self, judgement: Judgement) -> None:
        counts = self.counts
        counts.received += 1
        if judgement.extent is None:
            self.run += 1
            counts.discontinuities += judgement.gap > 0
            counts.gap_packets += judgement.gap
            return
        counts.reordered += 1
        counts.extent_sum += judgement.extent
        counts.extent_max = max(counts.extent_max, judgement.extent)
        counts.latest = greatest(counts.latest, judgement.late)
        if judgement.degree:
            counts.degrees[min(judgement.degree, MAX_DEGREE) - 1] += 1
        if self.run:
            counts.runs += 1
            counts.run_packets += self.run
            counts.run_squares += self.run**2
            counts.run_max = max(counts.run_max, self.run)
        self.run = 0


def new_stream(*, first: int = 0, limit: int = DEFAULT_LIMIT) -> Reordering:
    """The state of a stream of which nothing has arrived.

    ``first`` is the least number that it can have: for a stream taken up in its middle, the number
    of its first arrival, so that what came before is ``unjudged``. ``limit`` bounds the ranges of
    missing numbers that are remembered.

    Raises:
        ValueError: when ``limit`` is below 1.
    """
    return Reordering(missing=Missing(first=first, limit=limit))


def greatest(one: Interval | None, other: Interval | None) -> Interval | None:
    """An interval that contains the greater of two values, each known as an interval."""
    if one is None:
        return other
    if other is None:
        return one
    return Interval(max(one.lo, other.lo), max(one.hi, other.hi))
