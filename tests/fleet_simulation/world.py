"""What the simulated processes share: time, chance, faults, and what is known of the truth."""

import asyncio
import random
import sqlite3
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from collector.log.engine import DeadLetter, Entry
from probes.contract.wire import Gap
from tests.fleet_simulation.scenario import Death, Scenario
from tests.simulation.clock import VirtualClock
from tests.simulation.loop import VirtualLoop

Key = tuple[str, str]
"""Agent and epoch."""

_CODES = {
    "full": (sqlite3.SQLITE_FULL, "database or disk is full"),
    "io": (sqlite3.SQLITE_IOERR, "disk I/O error"),
    "io-after": (sqlite3.SQLITE_IOERR, "disk I/O error"),
}


@dataclass(slots=True)
class Truth:
    """What must be found in the end."""

    bodies: dict[Key, dict[int, bytes]] = field(default_factory=dict)
    """All that a spool ever committed, by number."""
    dropped: dict[Key, set[int]] = field(default_factory=dict)
    """What spools have dropped for want of room."""
    damaged: set[Key] = field(default_factory=set)
    """Epochs that ended with a damaged spool."""
    bad: set[bytes] = field(default_factory=set)
    """Bodies that the collector has to refuse."""
    durable: dict[Key, int] = field(default_factory=dict)
    """The marks that are on the collector's disk."""
    rolled_up: int = 0
    """The rollup's cursor on the disk."""
    missed: set[int] = field(default_factory=set)
    """Cursors of what retention dropped before the rollup had read it."""
    old_entries: list[Entry] = field(default_factory=list)
    old_dead: list[DeadLetter] = field(default_factory=list)
    old_gaps: list[tuple[str, str, Gap]] = field(default_factory=list)
    violations: list[str] = field(default_factory=list)


class World:
    """One schedule's surroundings."""

    def __init__(self, scenario: Scenario, loop: VirtualLoop) -> None:
        self.scenario = scenario
        self.loop = loop
        self.rng = random.Random(f"world {scenario.seed}")  # noqa: S311 - must repeat
        self.clock = VirtualClock(loop.time)
        self.truth = Truth()
        self.lines: list[tuple[float, str]] = []
        self._names: dict[str, str] = {}

    def now_ns(self) -> int:
        """The wall clock of all machines."""
        return self.clock.now().wall_ns

    def trace(self, text: str) -> None:
        """Note what happened; names that no seed decides are replaced."""
        for name, alias in self._names.items():
            text = text.replace(name, alias)
        self.lines.append((self.loop.time(), text))

    def alias(self, name: str, alias: str) -> None:
        """What a random name is called in the trace."""
        self._names.setdefault(name, alias)

    def violate(self, text: str) -> None:
        """Something that must never be has been."""
        if len(self.truth.violations) < 50:
            self.truth.violations.append(text)
        self.trace(f"VIOLATION {text}")

    def spell(self, where: str) -> str | None:
        """The fault that is on there now, as its odds have it."""
        now_s = self.loop.time()
        for spell in self.scenario.spells:
            on = spell.where == where and spell.start_s <= now_s < spell.end_s
            if on and self.rng.random() < spell.odds:
                return spell.what
        return None

    async def pass_time(self, most_s: float) -> None:
        """Something takes a moment."""
        await asyncio.sleep(self.rng.uniform(0.0, most_s))


class KilledError(BaseException):
    """A process died in the middle of what it did; none of its code may catch this."""


class Mortal:
    """A process: it dies at its time, or when it has passed one of its points often enough."""

    def __init__(self, name: str, world: World, death: Death | None) -> None:
        self.name = name
        self.world = world
        self.alive = True
        self.died = asyncio.Event()
        self._points = {} if death is None else death.points
        self._passed: Counter[str] = Counter()
        self._tasks: dict[asyncio.Task[Any], None] = {}
        if death is not None:
            world.loop.call_at(max(world.loop.time(), death.at_s), self.kill)

    def start(self, work: Any) -> "asyncio.Task[Any]":
        """Run a coroutine until its end, or the process's."""
        task: asyncio.Task[Any] = self.world.loop.create_task(work)
        self._tasks[task] = None
        task.add_done_callback(self._done)
        if not self.alive:
            task.cancel()
        return task

    def _done(self, task: "asyncio.Task[Any]") -> None:
        self._tasks.pop(task, None)
        error = None if task.cancelled() else task.exception()
        if self.alive and error is not None:
            self.world.violate(f"fault inside {self.name}: {error!r}")

    def passes(self, point: str) -> bool:
        """Whether the process lives on past this point; a dead one passes none."""
        if not self.alive:
            return False
        self._passed[point] += 1
        if self._points.get(point) == self._passed[point]:
            self.world.trace(f"{self.name} at point {point}")
            self.kill()
        return self.alive

    def kill(self) -> None:
        """The end, at this instant; :meth:`bury` takes the tasks away."""
        if self.alive:
            self.world.trace(f"{self.name} KILLED")
        self.alive = False
        self.died.set()

    async def bury(self) -> None:
        """No code of it runs after this."""
        for _ in range(100):
            if not self._tasks:
                return
            for task in list(self._tasks):
                task.cancel()
            await asyncio.sleep(0)
        raise RuntimeError(f"{self.name}: tasks that do not end when they are cancelled")


class Disk:
    """A connection to SQLite whose commits fail while the world says so.

    ``committed`` is called whenever a commit has come to the disk.
    """

    def __init__(
        self,
        connection: sqlite3.Connection,
        fault: Callable[[], str | None],
        committed: Callable[[sqlite3.Connection], None],
    ) -> None:
        self._connection = connection
        self._fault = fault
        self._committed = committed

    def __getattr__(self, name: str) -> Any:
        return getattr(self._connection, name)

    def execute(self, sql: str, *parameters: Any) -> Any:
        """As the connection does it, but for commits."""
        if sql != "COMMIT":
            return self._connection.execute(sql, *parameters)
        fault = self._fault()
        if fault in ("full", "io"):
            raise failed_commit(fault)
        done = self._connection.execute(sql)
        self._committed(self._connection)
        if fault is not None:
            raise failed_commit(fault)
        return done


def failed_commit(fault: str) -> sqlite3.OperationalError:
    """What SQLite says of it."""
    code, text = _CODES[fault]
    error = sqlite3.OperationalError(text)
    error.sqlite_errorcode = code
    return error
