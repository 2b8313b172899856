"""Plays one seed's schedule: lives of the agent in a world that fails, and a quiet end."""

import asyncio
import contextlib
import random
import shutil
import sqlite3
import traceback
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import structlog

from agent.agent import Agent, Ports
from agent.assignment import Assignment
from agent.caps import Caps
from agent.events_file import EventsFile, line
from agent.limits import Limits
from agent.mailbox.cadence import Cadence
from agent.spool import schema
from agent.spool.store import Record as Row
from probes.contract.errors import SpoolError
from probes.contract.secret import Secret
from probes.contract.token import Key, KeyRing
from tests.simulation import estate
from tests.simulation.clock import VirtualClock
from tests.simulation.foreign import Strangers
from tests.simulation.imap import SimImap
from tests.simulation.life import Life, owning_factory
from tests.simulation.logs import logging_to
from tests.simulation.loop import VirtualLoop
from tests.simulation.record import Record, Uptime
from tests.simulation.relays import SimSmtp
from tests.simulation.scenario import LifePlan, Scenario
from tests.simulation.spool import InlineSpool
from tests.simulation.world import World


def _ring(number: int) -> KeyRing:
    """The keys of the agent's life of that number, when each life has a new one."""
    keys = [Key(f"k{i}", Secret(f"signing key {i} of the agent")) for i in range(number, 0, -1)]
    return KeyRing(keys[0], tuple(keys[1:]))


class _FencedOut(EventsFile):
    """An events file that a killed process writes no more to."""

    def __init__(self, path: Path, life: Life) -> None:
        super().__init__(path)
        self._life = life

    def resume(self, epoch: str) -> int:
        if not self._life.alive:
            raise SpoolError("killed")
        return super().resume(epoch)

    def write(self, epoch: str, records: Sequence[Row]) -> None:
        if not self._life.alive:
            raise SpoolError("killed")
        super().write(epoch, records)


class Simulation:
    """One schedule; ``directory`` is empty and its own."""

    def __init__(self, scenario: Scenario, directory: Path, loop: VirtualLoop) -> None:
        self._scenario = scenario
        self._directory = directory
        self._loop = loop
        self._rng = random.Random(scenario.seed ^ 0x5EED)  # noqa: S311 - must repeat
        loop.pick_s = lambda: self._rng.uniform(0.0, 0.01)
        self._world = World(scenario, self._rng, loop)
        self._clock = VirtualClock(loop.time)
        self._spools = 0
        self._life: Life | None = None
        self._agent: Agent | None = None
        self.record = Record(scenario, self._world, estate.assignment(scenario))

    async def play(self) -> None:
        """The whole schedule; what is to be judged afterwards is in :attr:`record`."""
        scenario, world = self._scenario, self._world
        for at_s, seconds in scenario.steps:
            world.later(at_s, lambda s=seconds: self._step(s))  # type: ignore[misc]  # s is a float
        for at_s, seconds in scenario.stalls:
            world.later(at_s, lambda s=seconds: self._stall(s))  # type: ignore[misc]  # as above
        for spell in scenario.spells:
            if spell.what == "renumber":
                world.later(spell.start_s, lambda box=spell.where: world.renumber(box))  # type: ignore[misc]  # box is a str
        for at_s, number in scenario.reassigns:
            world.later(at_s, lambda n=number: self._reassign(n))  # type: ignore[misc]  # n is an int
        Strangers(world, self._rng, scenario.active_s).begin()
        for plan in scenario.lives:
            await self._live(plan, self.record.assignment)
        tail_s = self._loop.time() + scenario.tail_s + scenario.loss_after_s
        quiet = replace(self.record.assignment, paths=())
        await self._live(LifePlan(tail_s, "stop", 0.0), quiet)
        self.record.stepped_s = self._clock.stepped_s
        self.record.booted_ns = self._clock.booted_ns
        out = self._out_path
        self.record.exported = out.read_bytes() if out.exists() else None

    @property
    def _out_path(self) -> Path:
        return self._directory / "events.jsonl"

    @property
    def _spool_dir(self) -> Path:
        return self._directory / f"spool-{self._spools}"

    def _step(self, seconds: float) -> None:
        self._world.trace(f"wall clock set by {seconds:+.1f} s")
        self._clock.step(seconds)

    def _stall(self, seconds: float) -> None:
        self._world.trace(f"suspended for {seconds:.1f} s")
        self._loop.stall(seconds)

    def _reassign(self, number: int) -> None:
        if self._life is None or self._agent is None or not self._life.alive:
            return
        agent, new = self._agent, estate.changed(self.record.assignment, number)
        self._world.trace(f"assigned: {[str(plan.path) for plan in new.paths]}")

        async def take() -> None:
            agent.reassign(new)

        # What the agent starts for it belongs to its life.
        self._life.start(take())

    # --- one life ---------------------------------------------------------------------------

    async def _live(self, plan: LifePlan, assignment: Assignment) -> None:
        start_s = self._loop.time()
        if plan.until_s <= start_s:
            return
        life = self._life = Life(dict(plan.points), self._world.trace)
        spool = InlineSpool(self._spool_dir, self._world, life, self.record.note)
        out = _FencedOut(self._out_path, life) if self._scenario.exports else None
        self._world.trace(f"agent starts; {plan.end} at {plan.until_s:.1f} {plan.points}")
        ring = _ring(len(self.record.uptimes) + 1 if self._scenario.rotates else 1)
        ports = self._ports(life, spool, out, assignment)
        agent = self._agent = Agent(assignment, ring, ports, "sim", self._limits())
        stop = asyncio.Event()
        task = life.start(agent.run(stop))
        try:
            end_s = await self._until(plan, life, task, stop)
        finally:
            self._agent = None
            await self._end(plan, life, spool, task)
            if out is not None:
                out.close()
        self.record.uptimes.append(Uptime(start_s, end_s, plan.end))
        await self._down(plan)

    def _ports(
        self, life: Life, spool: InlineSpool, out: EventsFile | None, assignment: Assignment
    ) -> Ports:
        return Ports(
            clock=self._clock,
            spool=spool,
            smtp=SimSmtp(self._world, life, assignment),
            imap=SimImap(self._world, life, self._clock),
            rng=self._rng,
            new_id=lambda: f"{self._rng.getrandbits(128):032x}",
            out=out,
            rebuilt=spool.rebuilt,
        )

    def _limits(self) -> Limits:
        if self._scenario.default_limits:
            return Limits()
        return Limits(
            heartbeat_s=30.0,
            inbox=Cadence(floor_s=0.2, growth=0.1, idle_s=60.0, poll_s=15.0),
            junk=Cadence(floor_s=1.0, growth=0.2, idle_s=60.0, poll_s=15.0),
            caps=Caps(per_relay=self._scenario.per_relay),
        )

    async def _until(
        self, plan: LifePlan, life: Life, task: asyncio.Task[None], stop: asyncio.Event
    ) -> float:
        """Let it live until its end; one that is to stop in order gets its time for that.

        Gives the true time at which it was told to, or died.
        """
        killed = asyncio.ensure_future(life.killed.wait())
        left_s = max(0.0, plan.until_s - self._loop.time())
        await asyncio.wait({task, killed}, timeout=left_s, return_when=asyncio.FIRST_COMPLETED)
        told_s = self._loop.time()
        if life.alive and not task.done() and plan.end == "stop":
            self._world.trace("told to stop")
            stop.set()
            done, _ = await asyncio.wait({task}, timeout=10.0)
            suspended = any(told_s <= at_s <= told_s + 10.0 for at_s, _ in self._scenario.stalls)
            if not done and not suspended:
                self.record.violate("a clean shutdown took longer than 10 s")
        killed.cancel()
        if task.done() and not task.cancelled() and (error := task.exception()) is not None:
            # The process ends with that error and its supervisor starts it again.
            self._world.trace(f"agent ends: {error}")
            if not isinstance(error, SpoolError):
                raise error
        if not task.done():
            life.kill()
        return told_s

    async def _end(
        self, plan: LifePlan, life: Life, spool: InlineSpool, task: asyncio.Task[None]
    ) -> None:
        died_s = self._loop.time()
        if not life.alive:
            await life.bury()
            if self._scenario.exports and self._rng.random() < 0.7:
                self._tear(spool.epoch)
            self._copy_spool()
        if not task.done():
            self.record.violate("the agent outlived its end")
        if self._loop.time() != died_s:
            self.record.violate("a killed process took time to end")
        spool.close()
        self._harvest(spool.epoch)
        if plan.end == "corrupt":
            self._corrupt(spool.epoch)

    def _copy_spool(self) -> None:
        """Leave the files as a killed process does: closing them would tidy up the journal."""
        old = self._spool_dir
        self._spools += 1
        self._spool_dir.mkdir()
        for file in old.iterdir():
            if not file.name.endswith("-shm"):
                shutil.copy(file, self._spool_dir)

    def _rows(self, after: int = 0) -> list[tuple[int, bytes]]:
        with contextlib.closing(sqlite3.connect(self._spool_dir / schema.FILE_NAME)) as db:
            query = "SELECT seq, body FROM events WHERE seq > ? ORDER BY seq"
            return [(seq, bytes(body)) for seq, body in db.execute(query, (after,))]

    def _harvest(self, epoch: str) -> None:
        """Compare what is in the spool with what it was told to hold."""
        rows = self._rows()
        for seq, body in rows:
            self.record.note(epoch, seq, body)
        self.record.left[epoch] = [seq for seq, _ in rows]

    def _tear(self, epoch: str) -> None:
        """The process died while it wrote events out: some lines are there, the last one torn."""
        out = EventsFile(self._out_path)
        last = out.resume(epoch)
        out.close()
        rows = self._rows(last)[:5]
        data = b"".join(line(epoch, Row(seq, body)) for seq, body in rows)
        cut = self._rng.randint(0, len(data))
        with self._out_path.open("ab") as file:
            file.write(data[:cut])

    def _corrupt(self, epoch: str) -> None:
        self._world.trace("spool damaged")
        self.record.lost_epochs.add(epoch)
        file = self._spool_dir / schema.FILE_NAME
        data = bytearray(file.read_bytes())
        data[:100] = b"\xa5" * 100
        file.write_bytes(data)
        file.with_name(file.name + "-wal").unlink(missing_ok=True)

    async def _down(self, plan: LifePlan) -> None:
        await asyncio.sleep(plan.down_s)
        if plan.end == "reboot":
            self._clock.reboot()
            self._clock.step(self._rng.uniform(-0.3, 0.3))
            self._world.trace("rebooted")

    # --- its log ----------------------------------------------------------------------------

    def take_log(self, _: Any, method: str, event: dict[str, Any]) -> dict[str, Any]:
        """A processor: what the agent logs is traced, a fault of its own is a violation."""
        info = event.pop("exc_info", None)
        if self._life is not None and self._life.alive:
            self._world.trace(f"log {method}: {event}")
            if info:
                self.record.violate(f"fault inside the agent: {event} {traceback.format_exc()}")
        raise structlog.DropEvent


def play(scenario: Scenario, directory: Path) -> Record:
    """Play a schedule; what it leaves."""
    loop = VirtualLoop()
    loop.set_task_factory(owning_factory)
    with asyncio.Runner(loop_factory=lambda: loop) as runner:
        simulation = Simulation(scenario, directory, loop)
        with logging_to(simulation.take_log):
            runner.run(simulation.play())
    return simulation.record
