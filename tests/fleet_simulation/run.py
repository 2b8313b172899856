"""Plays one schedule: agents, network and collector until everything is over and settled."""

import asyncio
import contextlib
import shutil
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from functools import partial
from pathlib import Path as FilePath
from typing import Any

import structlog

from collector.config.assigned import Assigned, Grant
from probes.contract.names import Path
from tests.collector.rollup.histories import document
from tests.fleet_simulation.scenario import SEAT, Death, Scenario
from tests.fleet_simulation.sink import Sink
from tests.fleet_simulation.sources import Source
from tests.fleet_simulation.wire import Line
from tests.fleet_simulation.world import Mortal, World
from tests.simulation.logs import logging_to
from tests.simulation.loop import VirtualLoop

SETTLED_S = 1200.0
"""Everything is in the log at the latest so long after the last fault."""


@dataclass(slots=True)
class Record:
    """One schedule's end."""

    world: World
    lines: dict[str, Line]
    sources: dict[str, Source]
    directory: FilePath
    """The collector's files."""


class Fleet:
    """The whole of it."""

    def __init__(self, scenario: Scenario, directory: FilePath, loop: VirtualLoop) -> None:
        self._loop = loop
        self.world = world = World(scenario, loop)
        loop.pick_s = lambda: world.rng.uniform(0.0, 0.005)
        self._directory = directory
        self._place = directory / "collector-0"
        self._place.mkdir()
        self._lives = 0
        self._sink: Sink | None = None
        # All of them sit there: who looks at a relay is another matter than who sends through it.
        self._assigned = Assigned([Grant((SEAT,), tuple(sorted(scenario.agents)), ())])
        self._paths: dict[str, set[Path]] = {agent: set() for agent in scenario.agents}
        self._revisions: dict[str, Any] = {}
        self._revise(0)
        self.lines = {a: Line(a, world, lambda: self._sink) for a in scenario.agents}
        self.sources: dict[str, Source] = {}
        for agent in scenario.agents:
            (directory / agent).mkdir()
            paths = partial(self._paths.__getitem__, agent)
            self.sources[agent] = Source(agent, world, directory / agent, self.lines[agent], paths)

    @property
    def place(self) -> FilePath:
        """The files of the collector in its present life."""
        return self._place

    def paths_of(self, agent: str) -> set[Path]:
        """What the agent measures now."""
        return self._paths[agent]

    def _revise(self, number: int) -> None:
        """Another configuration comes into force: more paths, and fewer too."""
        rng, agents = self.world.rng, self.world.scenario.agents
        mailboxes = rng.choice((("acme/inbox",), ("acme/inbox", "zenith/box"), ("zenith/box",)))
        relays = rng.choice((("relay-a",), ("relay-a", "relay-b"), ("relay-b",)))
        self._assigned.learn(Grant(relays, tuple(sorted(agents)), mailboxes))
        for agent in agents:
            self._paths[agent] = {Path(agent, r, m) for r in relays for m in mailboxes}
        self._revisions[f"r{number + 1}"] = document(f"provider-{number}")
        self.world.trace(f"revision {number + 1}: {relays} {mailboxes}")

    async def run(self) -> Record:
        """Play it."""
        scenario = self.world.scenario
        for number, at_s in enumerate(scenario.revisions, start=1):
            self._loop.call_at(at_s, self._revise, number)
        collecting = self._loop.create_task(self._collect())
        sending = [self._loop.create_task(source.run()) for source in self.sources.values()]
        done, late = await asyncio.wait(
            [*sending, collecting],
            timeout=scenario.active_s + SETTLED_S,
            return_when=asyncio.FIRST_EXCEPTION,
        )
        for task in late:
            task.cancel()
            if task is not collecting:
                self.world.violate("not everything is shipped long after all faults are over")
        await asyncio.gather(*late, return_exceptions=True)
        for task in done:
            await task
        for line in self.lines.values():
            for request in list(line.under_way):
                request.cancel()
        return Record(self.world, self.lines, self.sources, self._place)

    async def _collect(self) -> None:
        """The collector's lives."""
        for death in self.world.scenario.deaths["collector"]:
            if death.at_s > self._loop.time():
                await self._live(death)
                await asyncio.sleep(death.down_s)
        await self._live(None)

    async def _live(self, death: Death | None) -> None:
        self._lives += 1
        process = Mortal("collector", self.world, death)
        sink = self._sink = Sink(process, self._place, self._assigned, self._revisions)
        sink.start()
        finished = process.start(self._finish(sink))
        died = self._loop.create_task(process.died.wait())
        try:
            await asyncio.wait({finished, died}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            died.cancel()
            self._sink = None
            process.alive = False
            # Left as a killed process leaves them: closing them would tidy up the journals.
            old, self._place = self._place, self._directory / f"collector-{self._lives}"
            shutil.copytree(old, self._place, ignore=shutil.ignore_patterns("*-shm"))
            await process.bury()
            sink.close()

    async def _finish(self, sink: Sink) -> None:
        """Wait until all is shipped, known and counted."""
        for source in self.sources.values():
            await source.done.wait()
        # Longer than the latest copy of an old request takes.
        await asyncio.sleep(30.0)
        await sink.caught_up.wait()


Beside = Callable[[Fleet], Coroutine[Any, Any, None]]


def play(scenario: Scenario, directory: FilePath, beside: Beside | None = None) -> Record:
    """Play a schedule; what it leaves.

    ``beside`` is called with the fleet before anything happens; what it gives runs beside it.
    """
    loop = VirtualLoop()
    with asyncio.Runner(loop_factory=lambda: loop) as runner:
        fleet: list[Fleet] = []

        def take_log(_: Any, method: str, event: dict[str, Any]) -> dict[str, Any]:
            fleet[0].world.trace(f"log {method}: {event}"[:300])
            raise structlog.DropEvent

        async def main() -> Record:
            fleet.append(Fleet(scenario, directory, loop))
            if beside is None:
                return await fleet[0].run()
            watching = loop.create_task(beside(fleet[0]))
            record = await fleet[0].run()
            if not watching.done():
                watching.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await watching
            return record

        with logging_to(take_log):
            return runner.run(main())
