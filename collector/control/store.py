"""One thread has the control file; what waits for it shares a transaction.

A commit costs one fsync whether it carries one operation or fifty.
"""

import asyncio
import contextlib
import queue
import sqlite3
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from collector.control.schema import ControlError, open_control

T = TypeVar("T")
Operation = Callable[[sqlite3.Connection], T]
MAX_GROUP = 200


def transact(
    connection: sqlite3.Connection, operations: list[Operation[Any]], *, write: bool = True
) -> list[Any]:
    """Run ``operations`` in one transaction; gives each one's result, or the exception it raised.

    An operation that raises undoes its own changes and no other's.

    Raises:
        ControlError: the transaction failed as a whole; nothing of it was written.
    """
    try:
        connection.execute("BEGIN IMMEDIATE" if write else "BEGIN")
        results = [_attempt(connection, operation) for operation in operations]
        connection.execute("COMMIT")
    except sqlite3.Error as error:
        if connection.in_transaction:
            with contextlib.suppress(sqlite3.Error):
                connection.execute("ROLLBACK")
        raise ControlError(f"control: the file could not be used ({error})") from error
    return results


def _attempt(connection: sqlite3.Connection, operation: Operation[Any]) -> Any:
    connection.execute("SAVEPOINT one")
    try:
        result = operation(connection)
    except sqlite3.OperationalError:
        raise  # the disk's or the file's, so all operations'
    except Exception as error:  # noqa: BLE001 - whatever it raised is its caller's
        connection.execute("ROLLBACK TO one")
        result = error
    connection.execute("RELEASE one")
    return result


def operate(directory: Path, operation: Operation[T]) -> T:
    """Run one operation on the file in ``directory``, which a collector may have open.

    Raises:
        ControlError: nothing was written.
    """
    connection = open_control(directory)
    try:
        [result] = transact(connection, [operation])
    finally:
        connection.close()
    if isinstance(result, Exception):
        raise result
    found: T = result
    return found


@dataclass(slots=True)
class _Job:
    operation: Operation[Any]
    write: bool
    future: "asyncio.Future[Any]"
    loop: asyncio.AbstractEventLoop


class ControlStore:
    """The control file of a running collector."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection
        self._jobs: queue.SimpleQueue[_Job | None] = queue.SimpleQueue()
        self._closed = False
        self._thread = threading.Thread(target=self._work, name="control", daemon=True)
        self._thread.start()

    @classmethod
    def open(cls, directory: Path) -> "ControlStore":
        """Open, or create, the control file in ``directory``.

        Raises:
            ControlError: as :func:`collector.control.schema.open_control` says.
        """
        return cls(open_control(directory))

    async def run(self, operation: Operation[T]) -> T:
        """Run ``operation`` in a transaction; returns when that is on the disk.

        What was handed over is carried out even when its caller is cancelled.

        Raises:
            ControlError: nothing of it was written; it may be tried again.
            Exception: what the operation itself raised; its changes were undone.
        """
        return await self._hand_over(operation, write=True)

    async def read(self, operation: Operation[T]) -> T:
        """Run an ``operation`` that only reads: works on a disk that cannot be written, too."""
        return await self._hand_over(operation, write=False)

    def close(self) -> None:
        """Carry out what was handed over, then close the file."""
        if self._closed:
            return
        self._closed = True
        self._jobs.put(None)
        self._thread.join()
        self._connection.close()

    async def _hand_over(self, operation: Operation[T], *, write: bool) -> T:
        if self._closed:
            raise ControlError("control: closed")
        loop = asyncio.get_running_loop()
        future: asyncio.Future[T] = loop.create_future()
        self._jobs.put(_Job(operation, write, future, loop))
        return await future

    def _work(self) -> None:
        more = True
        while more:
            group, more = self._gather()
            # Readers apart: a disk that cannot be written is no reason to know nobody's token.
            for write in (False, True):
                jobs = [job for job in group if job.write is write]
                if jobs:
                    self._carry_out(jobs, write=write)

    def _gather(self) -> tuple[list[_Job], bool]:
        """The jobs that wait, at least one, and whether more are to come."""
        group: list[_Job] = []
        job = self._jobs.get()
        while job is not None:
            group.append(job)
            if len(group) == MAX_GROUP:
                return group, True
            try:
                job = self._jobs.get_nowait()
            except queue.Empty:
                return group, True
        return group, False

    def _carry_out(self, jobs: list[_Job], *, write: bool) -> None:
        try:
            results = transact(self._connection, [job.operation for job in jobs], write=write)
        except ControlError as error:
            results = [error] * len(jobs)
        for loop in {job.loop for job in jobs}:
            own = [
                (job.future, result)
                for job, result in zip(jobs, results, strict=True)
                if job.loop is loop
            ]
            # A loop that was closed has nobody left to wake.
            with contextlib.suppress(RuntimeError):
                loop.call_soon_threadsafe(_answer, own)


def _answer(pairs: "list[tuple[asyncio.Future[Any], Any]]") -> None:
    for future, result in pairs:
        if future.done():
            continue
        if isinstance(result, Exception):
            future.set_exception(result)
        else:
            future.set_result(result)
