"""Thresholds on a delay, in the way of the Monitoring Plugins.

Development Guidelines, "Threshold and Ranges": ``[@][START:]END``. A value outside START to END
alerts, with ``@`` one inside; START is 0 unless given, ``~`` is minus infinity, and an END that is
left out is infinity.
"""

import math
import re
from dataclasses import dataclass

from probes.contract.units import parse_duration

_RANGE = re.compile(r"(?P<inside>@?)(?:(?P<start>[^:@]*):)?(?P<end>[^:@]*)")
_NUMBER = re.compile(r"[0-9]+(\.[0-9]+)?")
RANGES = "a range of seconds or durations, such as 5, 500ms, 1:10, 2s: or @10:20"
"""What is allowed, in words."""


@dataclass(frozen=True, slots=True)
class Range:
    """Delays from ``start_s`` to ``end_s``: those outside alert, or with ``inside`` those in it."""

    start_s: float
    end_s: float
    inside: bool = False

    @property
    def plain(self) -> bool:
        """Whether it is an upper bound and nothing else."""
        return self.start_s == 0 and math.isfinite(self.end_s) and not self.inside

    def alerts(self, lo_s: float, hi_s: float) -> bool:
        """Whether a delay alerts that is somewhere from ``lo_s`` to ``hi_s``, for certain."""
        if self.inside:
            return self.start_s <= lo_s and hi_s <= self.end_s
        return hi_s < self.start_s or lo_s > self.end_s

    def __str__(self) -> str:
        start = "~" if self.start_s == -math.inf else f"{self.start_s:g}"
        end = "" if self.end_s == math.inf else f"{self.end_s:g}"
        text = end if end and self.start_s == 0 else f"{start}:{end}"
        return f"@{text}" if self.inside else text


def up_to(end_s: float) -> Range:
    """Longer delays alert."""
    return Range(0.0, end_s)


def parse_range(text: str) -> Range:
    """The range in ``text``; its numbers are seconds, or durations with a unit.

    Raises:
        ValueError: it is anything else, or starts after its end.
    """
    found = _RANGE.fullmatch(text)
    if found is None or not text.strip("@"):
        raise ValueError(text)
    start, end = found["start"], found["end"]
    if start is None and not end:
        raise ValueError(text)
    start_s = -math.inf if start == "~" else _seconds(start) if start else 0.0
    end_s = _seconds(end) if end else math.inf
    if start_s > end_s:
        raise ValueError(text)
    return Range(start_s, end_s, inside=bool(found["inside"]))


def _seconds(text: str) -> float:
    return float(text) if _NUMBER.fullmatch(text) else parse_duration(text)


@dataclass(frozen=True, slots=True)
class Thresholds:
    """Which delays are a warning, and which are critical; ``None`` is left to the path.

    Without ``critical`` a path's own deadline counts, or ``wait_s`` where that is shorter: who does
    not wait for longer cannot tell more. Without ``warning`` it is half of a plain ``critical``.
    """

    warning: Range | None
    critical: Range | None
    wait_s: float

    def critical_of(self, deadline_s: float) -> Range:
        """What is critical on a path with that deadline."""
        return self.critical or up_to(min(deadline_s, self.wait_s))

    def warning_of(self, deadline_s: float) -> Range | None:
        """What is a warning on a path with that deadline."""
        if self.warning is not None:
            return self.warning
        critical = self.critical_of(deadline_s)
        return up_to(critical.end_s / 2) if critical.plain else None
