"""One thread owns the spool; everybody's writes that are waiting share its next commit.

A commit costs one fsync whether it carries one event or five hundred, so callers hand over small
operations and wait for the commit that contains theirs.
"""

import asyncio
import contextlib
import queue
import sqlite3
import threading
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, Protocol, TypeVar

from agent.spool.schema import OpenSpool, SpoolDamagedError, is_damage, open_spool
from agent.spool.store import Store
from probes.contract.errors import SpoolError

T = TypeVar("T")
Operation = Callable[[Store], T]
MAX_BATCH = 500
COMPANY_S = 0.05
"""How long an operation that can wait waits for another's commit to join."""

_CALLERS_FAULT = (
    sqlite3.IntegrityError,
    sqlite3.DataError,
    sqlite3.ProgrammingError,
    sqlite3.InterfaceError,
)
"""What SQLite says of an operation that is wrong, rather than of the file or the disk."""


class CanWait(Generic[T]):
    """An operation that nothing hangs on: it joins the next commit, or waits a moment for one.

    It is durable when its answer comes, like every other.
    """

    def __init__(self, operation: Operation[T]) -> None:
        self._operation = operation

    def __call__(self, store: Store) -> T:
        """Carry it out."""
        return self._operation(store)


class Spool(Protocol):
    """Where operations on the store are run, each durable before its answer is given."""

    epoch: str

    async def run(self, operation: Operation[T]) -> T:
        """Run ``operation`` in a transaction and give its result once that is on the disk.

        Raises:
            SpoolError: when nothing of it was written; it may be run again.
        """


@dataclass(slots=True)
class _Job:
    operation: Operation[Any]
    future: "asyncio.Future[Any]"
    loop: asyncio.AbstractEventLoop


def explain(error: sqlite3.Error) -> SpoolError:
    """The spool's error for SQLite's: is the file damaged, or the disk at fault?"""
    if is_damage(error):
        return SpoolDamagedError(f"spool: the file is damaged ({error}); a restart moves it aside")
    return SpoolError(f"spool: could not write ({error})")


def run_batch(store: Store, operations: list[Operation[Any]]) -> list[Any]:
    """Run the operations in one transaction and commit it; nothing is written unless all are.

    Raises:
        SpoolError: when the transaction failed.
    """
    try:
        store.begin()
        results = [operation(store) for operation in operations]
        store.commit()
    except _CALLERS_FAULT:
        store.rollback()
        raise
    except sqlite3.Error as error:
        store.rollback()
        raise explain(error) from error
    except BaseException:
        store.rollback()
        raise
    return results


class SpoolWriter:
    """The spool of a running agent: a thread that owns the file and commits in groups."""

    def __init__(self, opened: OpenSpool) -> None:
        self.epoch = opened.epoch
        self.quarantined = opened.quarantined
        self._opened = opened
        self._store = Store(opened.connection, opened.epoch)
        self._jobs: deque[_Job] = deque()
        self._bell: queue.SimpleQueue[None] = queue.SimpleQueue()
        self._rung = False
        self._nudging: asyncio.AbstractEventLoop | None = None
        self._closed = False
        self._thread = threading.Thread(target=self._work, name="spool", daemon=True)
        self._thread.start()

    @classmethod
    def open(cls, directory: Path) -> "SpoolWriter":
        """Open the spool in ``directory``.

        Raises:
            SpoolError: as :func:`agent.spool.schema.open_spool` says.
        """
        return cls(open_spool(directory))

    async def run(self, operation: Operation[T]) -> T:
        """Run ``operation`` in the next commit; see :class:`Spool`.

        An operation that was handed over is carried out even when its caller is cancelled.
        """
        if self._closed:
            raise SpoolError("spool: closed")
        loop = asyncio.get_running_loop()
        future: asyncio.Future[T] = loop.create_future()
        self._jobs.append(_Job(operation, future, loop))
        if not isinstance(operation, CanWait):
            self._ring()
        elif self._nudging is not loop:
            # Another loop's timer may never run out.
            self._nudging = loop
            loop.call_later(COMPANY_S, self._nudge)
        return await future

    def _ring(self) -> None:
        """Wake the thread, once: it takes all that is there. Waking it costs both threads much."""
        if not self._rung:
            self._rung = True
            self._bell.put(None)

    def _nudge(self) -> None:
        """No company came, or it left them: what could wait has waited for long enough."""
        self._nudging = None
        if self._jobs:
            self._ring()

    def close(self) -> None:
        """Carry out what was handed over, then close the file and release its lock."""
        if self._closed:
            return
        self._closed = True
        self._bell.put(None)
        self._thread.join()
        self._store.close()
        self._opened.lock.close()

    def _work(self) -> None:
        closing = False
        while not closing:
            self._bell.get()
            # Both before the jobs are looked at: what comes later rings again.
            closing, self._rung = self._closed, False
            while self._jobs:
                count = min(len(self._jobs), MAX_BATCH)
                self._commit([self._jobs.popleft() for _ in range(count)])

    def _commit(self, batch: list[_Job]) -> None:
        try:
            results = run_batch(self._store, [job.operation for job in batch])
        except SpoolError as error:
            _answer(batch, [(None, error)] * len(batch))
        except Exception as error:  # noqa: BLE001 - whatever an operation raised is its caller's
            if len(batch) == 1:
                _answer(batch, [(None, error)])
            else:
                # One operation's fault must not undo the others': each gets a commit of its own.
                for job in batch:
                    self._commit([job])
        else:
            _answer(batch, [(result, None) for result in results])


def _answer(batch: list[_Job], answers: list[tuple[Any, Exception | None]]) -> None:
    """Wake the callers, with one call into each loop that is still there to be woken."""
    pairs = list(zip(batch, answers, strict=True))

    def resolve(loop: asyncio.AbstractEventLoop) -> None:
        for job, (result, error) in pairs:
            if job.loop is not loop or job.future.done():
                continue
            if error is None:
                job.future.set_result(result)
            else:
                job.future.set_exception(error)

    for loop in {job.loop for job in batch}:
        # A loop that was closed has nobody left to wake.
        with contextlib.suppress(RuntimeError):
            loop.call_soon_threadsafe(resolve, loop)
