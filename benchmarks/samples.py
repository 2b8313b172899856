"""What is made of many measured values."""

from collections.abc import Sequence
from statistics import median as _median


def quantile(values: Sequence[float], share: float) -> float:
    """The smallest value that at least ``share`` of all are not above (RFC 7679 section 5.1)."""
    if not values:
        raise ValueError("no values")
    ordered = sorted(values)
    # A hair less, so that 0.99 * 100 is the 99th and not, by rounding, the 100th.
    rank = -int(-(share * len(ordered) - 1e-9) // 1)
    return ordered[min(len(ordered), max(1, rank)) - 1]


def spread(values: Sequence[float]) -> str:
    """The range of several runs, in words."""
    return f"{min(values):.3g} to {max(values):.3g} in {len(values)} runs"


def slope(low: tuple[float, float], high: tuple[float, float]) -> float:
    """How much the second number grows with the first, between two points."""
    return (high[1] - low[1]) / (high[0] - low[0])


def median(values: Sequence[float]) -> float:
    """The middle one of several runs: one disturbed run does not move it."""
    return float(_median(values))
