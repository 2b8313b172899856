"""The definitions of the RFCs written down word by word: slow, over the whole list, no state.

Arrivals are given in arrival order, first copies only; positions i and j count from 1 as in the
RFCs.
"""

import math
from collections.abc import Sequence

Arrivals = Sequence[int]


def first_copies(numbers: Arrivals) -> list[int]:
    """RFC 4737 section 3.3: of several copies only the first is considered."""
    return [s for at, s in enumerate(numbers) if s not in numbers[:at]]


def is_reordered(s: Arrivals, i: int) -> bool:
    """RFC 4737 section 3.3: s[i] < NextExp, which is one more than the greatest in-order number."""
    next_expected = 0
    verdict = False
    for number in s[:i]:
        verdict = number < next_expected
        if not verdict:
            next_expected = number + 1
    return verdict


def gap(s: Arrivals, i: int) -> int:
    """RFC 4737 section 3.4: the size s - NextExp of the discontinuity; the first makes none."""
    if i == 1 or is_reordered(s, i):
        return 0
    return s[i - 1] - max(s[: i - 1]) - 1


def opening(s: Arrivals, i: int) -> int:
    """RFC 4737 section 4.2.3: the least j < i with s[j] > s[i]."""
    return min(j for j in range(1, i) if s[j - 1] > s[i - 1])


def extent(s: Arrivals, i: int) -> int | None:
    """RFC 4737 section 4.2.3: e = i - j; undefined for what is in order."""
    return i - opening(s, i) if is_reordered(s, i) else None


def late_time(s: Arrivals, times: Sequence[int], i: int) -> int | None:
    """RFC 4737 section 4.3.3: DstTime(i) - DstTime(j), the same j; undefined when in order."""
    return times[i - 1] - times[opening(s, i) - 1] if is_reordered(s, i) else None


def is_n_reordered(s: Arrivals, i: int, n: int) -> bool:
    """RFC 4737 section 5.3: n < i, and s[j] > s[i] for all j with i - n <= j < i."""
    return n < i and all(s[j - 1] > s[i - 1] for j in range(i - n, i))


def degree(s: Arrivals, i: int) -> int:
    """RFC 4737 section 5.3: the greatest n for which s[i] is n-reordered, 0 for none."""
    return max((n for n in range(1, i) if is_n_reordered(s, i, n)), default=0)


def runs(s: Arrivals) -> list[int]:
    """RFC 4737 section 4.6: lengths of the in-order stretches that a reordered arrival ended."""
    lengths, run = [], 0
    for i in range(1, len(s) + 1):
        if not is_reordered(s, i):
            run += 1
            continue
        if run:
            lengths.append(run)
        run = 0
    return lengths


def percentile(values: Sequence[float], percent: int) -> float:
    """RFC 2330 section 11.3: the least value x for which F(x) >= percent; infinite is undefined."""
    count = len(values)
    return min(x for x in values if 100 * sum(y <= x for y in values) >= percent * count)


def defined(value: float) -> float | None:
    """An infinite statistic is undefined (RFC 7679 section 5.1)."""
    return value if math.isfinite(value) else None


def overtaker(handed: Sequence[tuple[int, int]], i: int) -> int | None:
    """The least j < i whose DATA began after i's acceptance, of (DATA, acceptance) pairs."""
    accepted = handed[i - 1][1]
    return min((j for j in range(1, i) if accepted < handed[j - 1][0]), default=None)
