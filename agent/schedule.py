"""Which canary is due when: a heap over all paths, fed by the plan's due times; knows no I/O."""

import heapq
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Protocol

from probes.contract.plan import PathPlan, next_due_ns

STALE_AFTER_S = 5.0
"""A canary that could not start for so long is not sent: it would measure another time."""


@dataclass(frozen=True, slots=True)
class Slot:
    """One due canary. ``stale``: the agent was asleep or overloaded when it should have started."""

    plan: PathPlan
    due_ns: int
    stale: bool


class Slots(Protocol):
    """Where the agent learns which canary is due."""

    def next_ns(self) -> int | None:
        """When the next canary is due; ``None`` when none ever is."""

    def due(self, now_ns: int) -> list[Slot]:
        """The slots that have come since it was last asked."""

    def replaced(self, plans: Iterable[PathPlan], now_ns: int) -> "Slots":
        """What goes on in its place when the paths are those from now on; it stays as it is."""


def _rhythm(plan: PathPlan) -> tuple[float, float, float]:
    return plan.period_s, plan.phase_s, plan.jitter_s


class Schedule:
    """The due times of all paths of an agent, by the wall clock, in nanoseconds.

    Of the slots that passed while the agent was held up, each path's first is reported as stale and
    the rest are skipped: no burst makes up for lost time, and no gap goes unsaid.
    """

    def __init__(self, plans: Iterable[PathPlan], now_ns: int) -> None:
        self._plans = tuple(plans)
        self._heap: list[tuple[int, int]] = []
        self._now_ns = now_ns
        self._begin(now_ns)

    def _begin(self, now_ns: int) -> None:
        self._heap = [(next_due_ns(plan, now_ns), i) for i, plan in enumerate(self._plans)]
        heapq.heapify(self._heap)

    def replaced(self, plans: Iterable[PathPlan], now_ns: int) -> "Schedule":
        """The schedule of other paths; those that are due as before keep the slot they wait for.

        That slot may have come already and not been asked for: it is neither lost nor put off. All
        others begin with their first slot after ``now_ns``.
        """
        waiting = {
            self._plans[index].path: (_rhythm(self._plans[index]), due_ns)
            for due_ns, index in self._heap
        }
        new = Schedule((), self._now_ns)
        new._plans = tuple(plans)
        for index, plan in enumerate(new._plans):
            rhythm, due_ns = waiting.get(plan.path, (None, 0))
            same = rhythm == _rhythm(plan)
            new._heap.append((due_ns if same else next_due_ns(plan, now_ns), index))
        heapq.heapify(new._heap)
        return new

    def __len__(self) -> int:
        return len(self._plans)

    def next_ns(self) -> int | None:
        """When the next canary is due; ``None`` without any path."""
        return self._heap[0][0] if self._heap else None

    def due(self, now_ns: int) -> list[Slot]:
        """The slots that have come, in order; each path's next slot takes its place."""
        if self._now_ns - now_ns > STALE_AFTER_S * 1e9:
            # The clock was set back: without this nothing would fly until it has caught up.
            self._begin(now_ns)
        self._now_ns = now_ns
        slots = []
        while self._heap and self._heap[0][0] <= now_ns:
            due_ns, index = self._heap[0]
            plan = self._plans[index]
            stale = now_ns - due_ns > STALE_AFTER_S * 1e9
            heapq.heapreplace(self._heap, (next_due_ns(plan, now_ns if stale else due_ns), index))
            slots.append(Slot(plan, due_ns, stale))
        return slots
