"""The spool on a real SQLite file, without its thread: commits take virtual time, disks fill up."""

import asyncio
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from agent.spool.schema import open_spool
from agent.spool.store import Store
from agent.spool.writer import COMPANY_S, CanWait, Operation, run_batch
from probes.contract.errors import SpoolError
from probes.contract.events import Event, encode
from tests.simulation.life import Life
from tests.simulation.world import World

T = TypeVar("T")
_Job = tuple[Operation[Any], asyncio.Future[Any]]


class _Disk(Store):
    """A store whose disk may be full when it commits, and which tells what it has committed."""

    full: Callable[[], bool]
    note: Callable[[str, int, bytes], None]
    _fresh: list[tuple[int, bytes]]
    _changes: int

    def begin(self) -> None:
        self._fresh = []
        self._changes = self._db.total_changes
        super().begin()

    def append(self, event: Event, at_ns: int) -> int:
        seq = super().append(event, at_ns)
        self._fresh.append((seq, encode(event)))
        return seq

    def commit(self) -> None:
        # A transaction that only read needs no room.
        if self._db.total_changes != self._changes and self.full():
            error = sqlite3.OperationalError("database or disk is full")
            error.sqlite_errorcode = sqlite3.SQLITE_FULL
            raise error
        super().commit()
        for seq, body in self._fresh:
            self.note(self.epoch, seq, body)


class InlineSpool:
    """One life's spool; implements :class:`agent.spool.writer.Spool`.

    Like the real writer it commits everything that came in since the last commit at once, one
    commit at a time, and carries out what was handed over whatever becomes of the caller, except
    that a process killed before the commit leaves nothing of it.
    """

    def __init__(
        self,
        directory: Path,
        world: World,
        life: Life,
        note: Callable[[str, int, bytes], None],
    ) -> None:
        self._opened = open_spool(directory)
        self.epoch = self._opened.epoch
        self.rebuilt = self._opened.quarantined is not None
        self._world = world
        self._life = life
        self._store = _Disk(self._opened.connection, self.epoch)
        self._store.full = lambda: world.spell("disk", "disk-full") is not None
        self._store.note = note
        self._jobs: list[_Job] = []
        self._busy = False
        self._coming: asyncio.TimerHandle | None = None
        self._hurries = False
        self._closed = False

    async def run(self, operation: Operation[T]) -> T:
        """Run ``operation`` in the next commit."""
        if not self._life.alive or self._closed:
            raise SpoolError("spool: closed")
        future: asyncio.Future[T] = self._world.loop.create_future()
        self._jobs.append((operation, future))
        self._next()
        return await future

    def close(self) -> None:
        """Let go of the file; of a life that goes on, carry out what was handed over."""
        if self._life.alive:
            self._commit()
        self._closed = True
        self._store.close()
        self._opened.lock.close()

    def _next(self) -> None:
        """Let the next commit come; one that nothing hangs on waits a moment for company."""
        if self._busy or not self._jobs:
            return
        hurries = not all(isinstance(operation, CanWait) for operation, _ in self._jobs)
        if self._coming is not None:
            if self._hurries or not hurries:
                return
            self._coming.cancel()
        self._hurries = hurries
        slow = self._world.spell("disk", "disk-slow")
        after_s = self._world.rng.uniform(0.0, 2.0 if slow else 0.01)
        if not hurries:
            after_s += COMPANY_S
        self._coming = self._world.loop.call_later(after_s, self._commit)

    def _commit(self) -> None:
        self._coming, self._busy = None, True
        if self._closed or not self._life.passes("commit-before"):
            return
        jobs, self._jobs = self._jobs, []
        answers = self._run(jobs)
        if not self._life.passes("commit-after"):
            return
        self._world.later(self._world.rng.uniform(0.0, 0.003), lambda: self._answer(jobs, answers))

    def _run(self, jobs: list[_Job]) -> list[tuple[Any, Exception | None]]:
        try:
            results = run_batch(self._store, [operation for operation, _ in jobs])
        except SpoolError as error:
            return [(None, error)] * len(jobs)
        except Exception as error:  # noqa: BLE001 - whatever an operation raised is its caller's
            if len(jobs) == 1:
                return [(None, error)]
            return [self._run([job])[0] for job in jobs]
        return [(result, None) for result in results]

    def _answer(self, jobs: list[_Job], answers: list[tuple[Any, Exception | None]]) -> None:
        self._busy = False
        if not self._life.passes("ack"):
            return
        for (_, future), (result, error) in zip(jobs, answers, strict=True):
            if future.done():
                continue
            if error is None:
                future.set_result(result)
            else:
                future.set_exception(error)
        self._next()
