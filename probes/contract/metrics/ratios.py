"""Loss (RFC 7680) and duplication (RFC 5560): counts that add up, and their ratios.

The counts of disjoint sets of canaries add up with ``merged``; a canary whose fate is corrected is
taken out with ``without`` and folded again.
"""

import math

import msgspec

from probes.contract.events import Interval
from probes.contract.metrics.delay import Delay, checked


def ratio(part: int, whole: int) -> float | None:
    """``part / whole``; ``None``, which is no number, when there is no ``whole``."""
    return part / whole if whole else None


class Loss(msgspec.Struct, kw_only=True):
    """Canaries that arrived, that were lost, and of which only the threshold leaves it open.

    A canary that never was in a position to arrive (unsent, refused), or whose fate will never be
    told, is not folded at all.
    """

    arrived: int = 0
    lost: int = 0
    uncertain: int = 0

    def fold(self, delay: Delay, threshold_s: float = math.inf) -> None:
        """Count one canary by its first copy's delay in seconds, ``None`` for one that is lost.

        With a threshold (RFC 7680 section 2.2: Tmax), what arrived later than that counts as lost,
        and what may have arrived in time or later as ``uncertain``. A canary still awaited may be
        given as ``[age, inf]``.

        Raises:
            ValueError: when a bound is no number, ``lo`` is infinite or above ``hi``.
        """
        interval = None if delay is None else checked(delay)
        if interval is None or interval.lo > threshold_s:
            self.lost += 1
        elif interval.hi <= threshold_s and math.isfinite(interval.hi):
            self.arrived += 1
        else:
            self.uncertain += 1

    def ratio(self) -> Interval | None:
        """The loss ratio (RFC 7680 section 4.1), 0 to 1, as an interval; ``None`` for no canary.

        ``lo`` takes the uncertain ones as arrived, ``hi`` as lost.
        """
        total = self.arrived + self.lost + self.uncertain
        if not total:
            return None
        return Interval(self.lost / total, (self.lost + self.uncertain) / total)

    def merged(self, other: "Loss") -> "Loss":
        """The counts of both sets of canaries together."""
        return Loss(
            arrived=self.arrived + other.arrived,
            lost=self.lost + other.lost,
            uncertain=self.uncertain + other.uncertain,
        )

    def without(self, other: "Loss") -> "Loss":
        """The counts with ``other``'s taken out."""
        return Loss(
            arrived=self.arrived - other.arrived,
            lost=self.lost - other.lost,
            uncertain=self.uncertain - other.uncertain,
        )


class Duplication(msgspec.Struct, kw_only=True):
    """Canaries that arrived, those that arrived more than once, and the copies beyond the first.

    A lost canary has no copies to count and is not folded: its duplication is undefined (RFC 5560).
    """

    received: int = 0
    replicated: int = 0
    extra: int = 0

    def fold(self, copy: int) -> None:
        """Count the arrival of a canary's first (1), second (2), … copy, as each is seen.

        Raises:
            ValueError: when ``copy`` is below 1.
        """
        if copy < 1:
            raise ValueError(f"copy {copy}: allowed is 1 or more")
        self.received += copy == 1
        self.replicated += copy == 2
        self.extra += copy > 1

    def duplication_fraction(self) -> float | None:
        """Copies beyond the first, per canary that arrived (RFC 5560 section 5.1); may pass 1."""
        return ratio(self.extra, self.received)

    def replicated_rate(self) -> float | None:
        """The share of arrived canaries that came more than once (RFC 5560 section 5.2)."""
        return ratio(self.replicated, self.received)

    def merged(self, other: "Duplication") -> "Duplication":
        """The counts of both sets of canaries together."""
        return Duplication(
            received=self.received + other.received,
            replicated=self.replicated + other.replicated,
            extra=self.extra + other.extra,
        )
