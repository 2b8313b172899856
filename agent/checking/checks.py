"""Keeps the looks of an assignment going, each by its interval, and writes down what they find."""

import asyncio
import math
import random
from collections import Counter
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import structlog

from agent.checking.round import look
from agent.clock import Clock
from agent.spool.store import Store
from agent.spool.writer import CanWait, Spool
from agent.supervision import Supervisor
from probes.contract.check_plan import CheckPlan
from probes.contract.config.models import ProbeKind
from probes.contract.errors import SpoolError
from probes.contract.events import Check
from probes.probing import Probe

log = structlog.get_logger(__name__)

AT_ONCE = 256
"""Looks under way at the same time, of all plans together: each takes an open file."""
_AGAIN_S = 5.0


class Checks:
    """The looks of an agent. Used from one event loop."""

    def __init__(
        self,
        plans: Sequence[CheckPlan],
        probes: Mapping[ProbeKind, Probe[Any]],
        *,
        clock: Clock,
        spool: Spool,
        supervisor: Supervisor,
        counters: Counter[str],
        rng: random.Random,
    ) -> None:
        self._plans = tuple(plans)
        self._probes = probes
        self._clock = clock
        self._spool = spool
        self._supervisor = supervisor
        self._counters = counters
        self._rng = rng
        self._gate = asyncio.Semaphore(AT_ONCE)
        self._tasks: dict[str, tuple[CheckPlan, asyncio.Task[None]]] = {}
        self._running = False
        # When a look is due next: it keeps its times also when something about it changes.
        self._due: dict[str, tuple[float, float]] = {}

    def follow(self, plans: Sequence[CheckPlan]) -> None:
        """Look at this from now on; a plan that stays the same goes on undisturbed."""
        self._plans = tuple(plans)
        if self._running:
            self._start_and_stop()

    async def run(self) -> None:
        """Look until cancelled."""
        self._running = True
        try:
            self._start_and_stop()
            await asyncio.get_running_loop().create_future()
        finally:
            self._running = False
            tasks = [task for _, task in self._tasks.values()]
            self._tasks = {}
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    def _start_and_stop(self) -> None:
        wanted = {plan.words: plan for plan in self._plans if plan.probe in self._probes}
        for words, (plan, task) in list(self._tasks.items()):
            if wanted.get(words) != plan:
                task.cancel()
                del self._tasks[words]
        self._due = {words: due for words, due in self._due.items() if words in wanted}
        for words, plan in wanted.items():
            if words not in self._tasks:
                work = self._supervisor.keep(partial(self._again_and_again, plan), "checks")
                self._tasks[words] = plan, asyncio.create_task(work)

    async def _again_and_again(self, plan: CheckPlan) -> None:
        """Rounds at fixed times from a random phase on (RFC 3432): no two agents look in step."""
        loop = asyncio.get_running_loop()
        interval_s, due_s = self._due.get(plan.words, (0.0, 0.0))
        if interval_s != plan.interval_s:
            due_s = loop.time() + self._rng.random() * plan.interval_s
        elif (late_s := loop.time() - due_s) > 0:
            # One that was under way when the plan changed: its next one comes when it would have.
            due_s += math.ceil(late_s / plan.interval_s) * plan.interval_s
        while True:
            self._due[plan.words] = plan.interval_s, due_s
            await asyncio.sleep(max(0.0, due_s - loop.time()))
            checks = await look(
                self._probes[plan.probe], plan, self._gate, lambda: self._clock.now().wall_ns
            )
            self._counters["check_rounds"] += 1
            await self._write(checks, due_s + plan.interval_s)
            skipped = max(0, int((loop.time() - due_s) // plan.interval_s))
            # The one that is due now is held as soon as possible, those before it never.
            skipped -= bool(skipped)
            self._counters["check_rounds_skipped"] += skipped
            due_s += (skipped + 1) * plan.interval_s

    async def _write(self, checks: Sequence[Check], until_s: float) -> None:
        """Write a round down; where the spool takes nothing, try until the next one is due."""
        loop = asyncio.get_running_loop()
        while True:
            try:
                await self._spool.run(CanWait(partial(_append, checks)))
            except SpoolError as error:
                self._supervisor.spool_failed(error)
            else:
                self._counters["checks_done"] += len(checks)
                self._counters["checks_failed"] += sum(not check.ok for check in checks)
                return
            if loop.time() + _AGAIN_S > until_s:
                self._lose(checks)
                return
            try:
                await asyncio.sleep(_AGAIN_S)
            except asyncio.CancelledError:
                self._lose(checks)
                raise

    def _lose(self, checks: Sequence[Check]) -> None:
        self._counters["checks_lost"] += len(checks)
        log.error("CHECKS LOST: the spool takes nothing", checks=len(checks))


def _append(checks: Sequence[Check], store: Store) -> None:
    for check in checks:
        store.append(check, check.at_ns)
