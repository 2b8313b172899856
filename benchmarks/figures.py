"""What a benchmark gives: figures beside a baseline measured in the same run."""

from collections.abc import Callable
from dataclasses import asdict, dataclass
from time import perf_counter
from typing import Any


@dataclass(frozen=True, slots=True)
class Figure:
    """One measured value.

    ``baseline`` says in words what the value is compared with; ``baseline_value`` has the same
    unit; ``ratio`` is value / baseline_value. Both are ``None`` where the comparison is a fixed
    aim that has no number, or nothing.
    """

    name: str
    value: float
    unit: str
    baseline: str
    baseline_value: float | None = None
    ratio: float | None = None

    def as_json(self) -> dict[str, Any]:
        """The figure as ``python -m benchmarks --json`` prints it, one object per line."""
        return asdict(self)


def compared(name: str, value: float, unit: str, baseline: str, baseline_value: float) -> Figure:
    """A figure beside its baseline, with their ratio."""
    ratio = value / baseline_value if baseline_value else None
    return Figure(name, value, unit, baseline, baseline_value, ratio)


def best_of(times: int, work: Callable[[], object]) -> float:
    """The shortest of ``times`` runs of ``work``, in seconds: what it takes without neighbours."""
    durations = []
    for _ in range(times):
        start = perf_counter()
        work()
        durations.append(perf_counter() - start)
    return min(durations)


class Unavailable(Exception):  # noqa: N818 - said of a machine, not of an error
    """This machine lacks something that the benchmark needs; the text says what."""
