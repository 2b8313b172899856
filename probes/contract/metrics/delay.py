"""One-way delay statistics (RFC 7679 section 5) of a finite sample, exact.

A sample holds one value per canary: the interval in seconds in which its first copy's delay lies,
``[age, inf]`` for a canary still awaited, or ``None`` for a lost one, whose delay is undefined and
ranks as infinitely large. :class:`probes.contract.metrics.sketch.DelaySketch` does the same in
bounded memory, for samples without end.
"""

import math
from collections.abc import Iterable
from fractions import Fraction

from probes.contract.events import Interval

Delay = Interval | None
"""A canary's delay in seconds, or ``None``: lost, undefined, infinitely large."""


def checked(delay: Interval) -> Interval:
    """The interval with what lies below zero cut off: only an error of clocks reaches there.

    Raises:
        ValueError: when a bound is no number, ``lo`` is infinite or above ``hi``.
    """
    if not math.isfinite(delay.lo) or not delay.lo <= delay.hi:
        raise ValueError(f"delay {delay}: allowed is a finite lo, and lo <= hi")
    return Interval(max(0.0, delay.lo), max(0.0, delay.hi))


def rank(percent: float, count: int) -> int:
    """Which of ``count`` values in rising order is the percentile, from 1.

    The least x with F(x) >= percent, F the empirical distribution (RFC 2330 section 11.3).
    ``percent`` is taken as the decimal that a person wrote: 7 % of 100 is the 7th, not the 8th.

    Raises:
        ValueError: when ``percent`` is not in 0..100 or ``count`` is below 1.
    """
    if not 0 <= percent <= 100:
        raise ValueError(f"percent {percent}: allowed is 0 to 100")
    if count < 1:
        raise ValueError("no values: a percentile of nothing is undefined")
    return max(1, math.ceil(Fraction(str(percent)) * count / 100))


def percentile(sample: Iterable[Delay], percent: float) -> Delay:
    """The percentile (RFC 7679 section 5.1) as an interval: of the los, and of the his.

    Whatever the true delays are, theirs lies within. ``None``, undefined, when the sample is empty
    or when so many are lost that the rank falls among them.

    Raises:
        ValueError: when ``percent`` is not in 0..100 or a delay is no interval.
    """
    los, his, count = _sorted(sample)
    return _ranked(los, his, rank(percent, max(1, count)))


def median(sample: Iterable[Delay]) -> Delay:
    """The median (RFC 7679 section 5.2): of an even number, the mean of the two in the middle."""
    los, his, count = _sorted(sample)
    low, high = _ranked(los, his, (count + 1) // 2), _ranked(los, his, count // 2 + 1)
    if low is None or high is None:
        return None
    return Interval((low.lo + high.lo) / 2, (low.hi + high.hi) / 2)


def minimum(sample: Iterable[Delay]) -> Delay:
    """The minimum (RFC 7679 section 5.3); ``None`` when the sample is empty or all are lost."""
    los, his, _ = _sorted(sample)
    return _ranked(los, his, 1)


def inverse_percentile(sample: Iterable[Delay], threshold_s: float) -> Interval | None:
    """The share of delays of at most ``threshold_s``, 0 to 1 (RFC 7679 section 5.4).

    ``lo`` counts those surely within, ``hi`` those possibly within; lost ones never are. ``None``
    when the sample is empty.
    """
    los, his, count = _sorted(sample)
    if not count:
        return None
    surely = sum(hi <= threshold_s for hi in his)
    possibly = sum(lo <= threshold_s for lo in los)
    return Interval(surely / count, possibly / count)


def _sorted(sample: Iterable[Delay]) -> tuple[list[float], list[float], int]:
    """The lower and the upper bounds of defined delays in rising order, and the sample's size."""
    values = list(sample)
    defined = [checked(value) for value in values if value is not None]
    los = sorted(value.lo for value in defined)
    his = sorted(value.hi for value in defined)
    return los, his, len(values)


def _ranked(los: list[float], his: list[float], nth: int) -> Delay:
    return Interval(los[nth - 1], his[nth - 1]) if 1 <= nth <= len(los) else None
