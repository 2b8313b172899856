"""The embedded engine: a log in SQLite files. One thread writes; readers have threads of their own.

A commit costs one fsync whether it carries one event or fifty batches, so callers that wait at the
same time share it.
"""

import asyncio
import contextlib
import queue
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from collector.log import files
from collector.log.engine import (
    Appended,
    Batch,
    Bounds,
    DeadLetter,
    Entry,
    LogError,
    Mark,
    Retention,
)
from collector.log.journal import Mover
from collector.log.opening import open_segments, open_store, repair
from collector.log.pending import check_batch
from collector.log.reader import DamagedSegmentError, Reader
from collector.log.schema import DamagedError
from collector.log.store import Limits, Segment, Store, View
from probes.contract.wire import Gap

T = TypeVar("T")
COMMIT_EVENTS = 20_000
"""The most events in one commit; callers beyond that wait for the next."""
_READERS = 4
_REPAIRS = 3


@dataclass(slots=True)
class _Job:
    work: Batch | Callable[[Store], Any]
    future: "asyncio.Future[Any]"
    loop: asyncio.AbstractEventLoop


@dataclass(frozen=True, slots=True)
class LogHealth:
    """How the log fares. ``problem`` is why the last write failed, ``None`` when it did not.

    ``trimmed`` counts entries that retention dropped since the log was opened; ``damaged`` are the
    files that were ever set aside and are still there. ``journal_bytes`` is the length of all
    journals, about; ``journal_problem`` why one cannot be moved into its segment.
    """

    problem: str | None
    commits: int
    appended: int
    trimmed: int
    damaged: tuple[str, ...]
    journal_bytes: int = 0
    journal_problem: str | None = None


class SqliteLog:
    """A :class:`collector.log.engine.Log` in a directory."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self.log_id = store.head.log_id
        self._reader = Reader(lambda: store.view)
        self._jobs: queue.SimpleQueue[_Job | None] = queue.SimpleQueue()
        self._waiters: set[tuple[int, asyncio.Future[None]]] = set()
        self._pool = ThreadPoolExecutor(_READERS, thread_name_prefix="log-read")
        self._closed = False
        self._problem: str | None = None
        self._mover = Mover()
        store.put = self._mover.put
        self._commits = self._appended = self._trimmed = 0
        self._thread = threading.Thread(target=self._work, name="log", daemon=True)
        self._thread.start()

    @classmethod
    def open(cls, directory: Path, limits: Limits | None = None) -> "SqliteLog":
        """Open, or create, the log in ``directory``.

        Raises:
            LogError: as :func:`collector.log.opening.open_store` says.
        """
        return cls(open_store(directory, limits or Limits()))

    async def append(self, batch: Batch) -> Appended:
        """See :class:`collector.log.engine.Log`."""
        check_batch(batch)
        appended: Appended = await self._run(batch)
        return appended

    async def read(self, after: int, limit: int) -> list[Entry]:
        """See :class:`collector.log.engine.Log`. At most some 16 MiB at once."""
        if limit < 1:
            raise ValueError(f"limit: found {limit}, allowed is 1 and above")
        return await self._reading(lambda: self._reader.read(after, limit))

    async def wait_past(self, after: int) -> None:
        """See :class:`collector.log.engine.Log`."""
        if self._store.view.last_entry > after:
            return
        if self._closed:
            raise LogError("log: closed")
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        waiter = (after, future)
        self._waiters.add(waiter)
        try:
            # A commit between the question above and this line has woken nobody.
            if self._store.view.last_entry <= after:
                await future
        finally:
            self._waiters.discard(waiter)

    async def marks(self) -> dict[tuple[str, str], Mark]:
        """See :class:`collector.log.engine.Log`."""
        return await self.run(lambda store: store.marks())

    async def gaps(self, limit: int = 1000) -> list[tuple[str, str, Gap]]:
        """See :class:`collector.log.engine.Log`."""
        return await self._reading(lambda: self._reader.gaps(limit))

    async def dead_letters(self, limit: int = 1000) -> list[DeadLetter]:
        """See :class:`collector.log.engine.Log`."""
        return await self._reading(lambda: self._reader.dead_letters(limit))

    async def bounds(self) -> Bounds:
        """See :class:`collector.log.engine.Log`."""

        def look() -> Bounds:
            view = self._store.view
            oldest = view.segments[0].head
            return Bounds(
                first=view.segments[0].first,
                last=view.last_entry,
                bytes=self._store.bytes(),
                segments=len(view.segments),
                dead_letters=view.dead - oldest.dead_before,
                oldest_at_ns=self._reader.oldest_at_ns(),
            )

        return await self._reading(look)

    async def trim(self, retention: Retention, now_ns: int) -> int:
        """See :class:`collector.log.engine.Log`."""
        gone = await self.run(lambda store: store.trim(retention, now_ns))
        self._trimmed += gone
        return gone

    @property
    def view(self) -> View:
        """What there is to read now; it is replaced and never changed."""
        return self._store.view

    async def mend(self, segment: Segment) -> None:
        """Repair a segment of :attr:`view` that cannot be read for damage.

        Nothing is done where it was repaired meanwhile.

        Raises:
            LogError: it could not be repaired.
        """

        def repair_now(store: Store) -> None:
            if segment in store.view.segments:
                _mend(store, segment.first)

        await self.run(repair_now)

    @property
    def problem(self) -> str | None:
        """Why the last write failed; ``None`` when it did not. Reads no disk."""
        return self._problem

    def health(self) -> LogHealth:
        """How the log fares; reads a directory and no file."""
        damaged = files.list_damaged(self._store.directory)
        journals = self._store.journals()
        problems = (one.problem for one in journals if one.problem is not None)
        return LogHealth(
            problem=self._problem,
            commits=self._commits,
            appended=self._appended,
            trimmed=self._trimmed,
            damaged=tuple(str(file) for file in damaged),
            journal_bytes=sum(one.length for one in journals),
            journal_problem=next(problems, None),
        )

    async def close(self) -> None:
        """See :class:`collector.log.engine.Log`. Who still waits past a cursor gets an error."""
        if self._closed:
            return
        self._closed = True
        self._jobs.put(None)
        await asyncio.to_thread(self._thread.join)
        await asyncio.to_thread(self._mover.close)
        await asyncio.to_thread(self._pool.shutdown)
        self._reader.close()
        self._store.close()
        for _, future in self._waiters:
            if not future.done():
                future.set_exception(LogError("log: closed"))

    async def run(self, operation: Callable[[Store], T]) -> T:
        """Run ``operation`` in the writer's thread, between two commits."""
        result: T = await self._run(operation)
        return result

    async def _run(self, work: Batch | Callable[[Store], Any]) -> Any:
        if self._closed:
            raise LogError("log: closed")
        loop = asyncio.get_running_loop()
        future: asyncio.Future[Any] = loop.create_future()
        self._jobs.put(_Job(work, future, loop))
        return await future

    async def _reading(self, action: Callable[[], T]) -> T:
        """Run ``action`` in a reader's thread; what it finds damaged is repaired and read again."""
        if self._closed:
            raise LogError("log: closed")
        loop = asyncio.get_running_loop()
        for attempt in range(_REPAIRS + 1):
            try:
                return await loop.run_in_executor(self._pool, action)
            except DamagedSegmentError as error:
                if attempt == _REPAIRS:
                    raise LogError(str(error)) from error
                await self.mend(error.segment)
        raise AssertionError("unreachable")

    def _work(self) -> None:
        more = True
        while more:
            jobs, more = self._gather()
            batches = [job for job in jobs if isinstance(job.work, Batch)]
            if batches:
                self._commit(batches)
            for job in jobs:
                if not isinstance(job.work, Batch):
                    self._operate(job)
            # Whoever waited for these has been answered.
            self._store.tidy()

    def _gather(self) -> tuple[list[_Job], bool]:
        """The jobs of the next commit, and whether more are to come. An operation ends them."""
        jobs: list[_Job] = []
        events = 0
        job = self._jobs.get()
        while job is not None:
            jobs.append(job)
            if not isinstance(job.work, Batch):
                return jobs, True
            events += job.work.last_seq - job.work.first_seq + 1
            if events >= COMMIT_EVENTS:
                return jobs, True
            try:
                job = self._jobs.get_nowait()
            except queue.Empty:
                return jobs, True
        return jobs, False

    def _commit(self, jobs: list[_Job]) -> None:
        batches = [job.work for job in jobs if isinstance(job.work, Batch)]
        try:
            answers = self._guarded(lambda store: store.commit(batches))
        except LogError as error:
            self._problem = str(error)
            self._answer(jobs, [(None, error)] * len(jobs))
        except Exception as error:  # noqa: BLE001 - whatever a batch raised is its caller's
            if len(jobs) == 1:
                self._answer(jobs, [(None, error)])
            else:
                # One batch's fault must not undo the others: each gets a commit of its own.
                for job in jobs:
                    self._commit([job])
        else:
            self._problem = None
            self._commits += 1
            self._appended += sum(answer.accepted for answer in answers)
            self._answer(jobs, [(answer, None) for answer in answers])

    def _operate(self, job: _Job) -> None:
        operation = job.work
        if isinstance(operation, Batch):
            return
        try:
            result = self._guarded(operation)
        except Exception as error:  # noqa: BLE001 - it is the caller's
            self._answer([job], [(None, error)])
        else:
            self._answer([job], [(result, None)])

    def _guarded(self, operation: Callable[[Store], T]) -> T:
        """Run it; when the segment that grows turns out damaged, go on with a new one."""
        try:
            return operation(self._store)
        except DamagedError as error:
            _restart(self._store)
            raise LogError(
                f"{self._store.file}: found damage ({error}), a new one was begun"
            ) from error

    def _answer(
        self, jobs: Sequence[_Job], answers: Sequence[tuple[Any, Exception | None]]
    ) -> None:
        """Wake the callers, with one call into each loop that is still there to be woken."""
        pairs = list(zip(jobs, answers, strict=True))

        def resolve(loop: asyncio.AbstractEventLoop) -> None:
            for job, (result, error) in pairs:
                if job.loop is not loop or job.future.done():
                    continue
                if error is None:
                    job.future.set_result(result)
                else:
                    job.future.set_exception(error)
            last = self._store.view.last_entry
            for after, future in self._waiters:
                if last > after and not future.done():
                    future.set_result(None)

        for loop in {job.loop for job in jobs}:
            # A loop that was closed has nobody left to wake.
            with contextlib.suppress(RuntimeError):
                loop.call_soon_threadsafe(resolve, loop)


def _restart(store: Store) -> None:
    store.restart(lambda: open_segments(store.directory, store.head.log_id))


def _mend(store: Store, first: int) -> None:
    """Repair the segment that begins at ``first``, whether it is finished or grows."""
    if store.view.segments[-1].first == first:
        _restart(store)
        if store.view.segments[-1].first != first or store.next_cursor == first:
            return
        # SQLite finds nothing wrong with its pages: it is a row's content that is. Those are gone
        # through one by one in a finished segment.
        store.roll()
    repair(store, first)
