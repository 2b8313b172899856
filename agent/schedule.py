"""Which canary is due when: a heap over all paths, fed by the plan's due times; knows no I/O."""

import heapq
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import compress, count
from operator import is_, itemgetter, not_
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


Plans = tuple[PathPlan, ...]
Wait = tuple[int, int, PathPlan]
"""When a path's next canary is due; of equal times the lower number comes first."""
_PLAN = itemgetter(2)


def _rhythm(plan: PathPlan) -> tuple[float, float, float]:
    return plan.period_s, plan.phase_s, plan.jitter_s


def _different(before: Plans, after: Plans) -> tuple[Plans, Plans]:
    """What is left of both without the same objects that they begin and end with."""
    same = _alike(before, after)
    before, after = before[same:], after[same:]
    same = _alike(before[::-1], after[::-1])
    return before[: len(before) - same], after[: len(after) - same]


def _alike(before: Plans, after: Plans) -> int:
    """With how many same objects both begin."""
    same = bytes(map(is_, before, after))
    return len(same) if 0 not in same else same.index(0)


class Schedule:
    """The due times of all paths of an agent, by the wall clock, in nanoseconds.

    Of the slots that passed while the agent was held up, each path's first is reported as stale and
    the rest are skipped: no burst makes up for lost time, and no gap goes unsaid.
    """

    def __init__(self, plans: Iterable[PathPlan], now_ns: int) -> None:
        self._plans = tuple(plans)
        self._numbers = count()
        self._now_ns = now_ns
        self._heap = [
            (next_due_ns(plan, now_ns), next(self._numbers), plan) for plan in self._plans
        ]
        heapq.heapify(self._heap)

    def replaced(self, plans: Iterable[PathPlan], now_ns: int) -> "Schedule":
        """The schedule of other paths; those that are due as before keep the slot they wait for.

        That slot may have come already and not been asked for: it is neither lost nor put off. All
        others begin with their first slot after ``now_ns``.
        """
        new = Schedule((), self._now_ns)
        new._numbers = self._numbers
        new._plans = tuple(plans)
        new._heap = self._after(new._plans, now_ns)
        heapq.heapify(new._heap)
        return new

    def _after(self, plans: Plans, now_ns: int) -> list[Wait]:
        """What is waited for when the paths are those from now on."""
        # Nearly all are the very objects of before, and told by that alone, without a step of the
        # interpreter for each: it would hold up the canaries that are due meanwhile.
        before, after = _different(self._plans, plans)
        old, new = set(map(id, before)), set(map(id, after))
        leaves = (old - new).__contains__
        leaving = list(map(leaves, map(id, map(_PLAN, self._heap))))
        left = {plan.path: (due_ns, plan) for due_ns, _, plan in compress(self._heap, leaving)}
        waits = list(compress(self._heap, map(not_, leaving)))
        for plan in after:
            if id(plan) not in old:
                due_ns, was = left.get(plan.path, (0, None))
                same = was is not None and _rhythm(was) == _rhythm(plan)
                wait_ns = due_ns if same else next_due_ns(plan, now_ns)
                waits.append((wait_ns, next(self._numbers), plan))
        return waits

    def __len__(self) -> int:
        return len(self._heap)

    def next_ns(self) -> int | None:
        """When the next canary is due; ``None`` without any path."""
        return self._heap[0][0] if self._heap else None

    def due(self, now_ns: int) -> list[Slot]:
        """The slots that have come, in order; each path's next slot takes its place."""
        heap = self._heap
        if self._now_ns - now_ns > STALE_AFTER_S * 1e9:
            # The clock was set back: without this nothing would fly until it has caught up.
            heap[:] = [(next_due_ns(plan, now_ns), number, plan) for _, number, plan in heap]
            heapq.heapify(heap)
        self._now_ns = now_ns
        slots = []
        while heap and heap[0][0] <= now_ns:
            due_ns, number, plan = heap[0]
            stale = now_ns - due_ns > STALE_AFTER_S * 1e9
            after_ns = now_ns if stale else due_ns
            heapq.heapreplace(heap, (next_due_ns(plan, after_ns), number, plan))
            slots.append(Slot(plan, due_ns, stale))
        return slots
