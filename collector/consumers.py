"""Runs what reads the log: each consumer in a thread of its own, at a pace of its own.

A consumer advances its cursor in the transaction of its effect, so whatever happens it goes on
where it stands. One that fails is closed, left alone for a while, opened again and given the same
entries; it holds up no other. ``docs/rollups.md`` has the rules.
"""

import asyncio
import contextlib
import queue
import random
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

import msgspec
import structlog

from collector.log.engine import Entry, Extent, LogReading
from probes.contract.units import NS_PER_S

T = TypeVar("T")


class Consumer(Protocol):
    """What reads the log. All its methods are called in one thread, one at a time."""

    name: str

    def open(self, log_id: str, bounds: Extent) -> int:
        """Take up the work; gives the cursor of the last entry whose effect is on the disk."""

    def take(self, entries: Sequence[Entry]) -> None:
        """The effect of the entries and the advance of the cursor, in one transaction."""

    def close(self) -> None:
        """Leave the work; :meth:`open` may follow."""


@dataclass(frozen=True, slots=True)
class Pace:
    """How a consumer is fed. ``linger_s`` is how long a batch waits for company once the log has
    been read to its end; after the n-th failure in a row the next try comes at a random time within
    ``retry_first_s * 2 ** (n - 1)`` seconds, at most ``retry_most_s`` (full jitter)."""

    batch: int = 10_000
    linger_s: float = 0.5
    retry_first_s: float = 0.5
    retry_most_s: float = 60.0


class Progress(msgspec.Struct, frozen=True, kw_only=True):
    """How far a consumer has come since it was started.

    ``unread_ns`` is when the newest entries were taken in that it set about. ``missed`` entries
    were dropped by retention before it had read them. ``problem`` is why it does not work now,
    ``failures`` how often in a row it has failed.
    """

    cursor: int = 0
    unread_ns: int | None = None
    missed: int = 0
    taken: int = 0
    failures: int = 0
    problem: str | None = None


@dataclass(frozen=True, slots=True)
class ConsumerStatus:
    """How a consumer fares, as :class:`Progress` has it.

    ``lag_entries`` are not counted yet, the oldest of them came ``lag_s`` seconds ago. ``restarts``
    is how often it needed a new process.
    """

    name: str
    cursor: int
    lag_entries: int
    lag_s: float
    missed: int
    taken: int
    failures: int
    problem: str | None
    restarts: int = 0


def lag_of(progress: Progress, extent: Extent) -> int:
    """How many cursors are before a consumer, of a log that has these entries."""
    return max(0, extent.last - max(progress.cursor, extent.first - 1))


def status_of(
    name: str, progress: Progress, extent: Extent, now_ns: int, restarts: int = 0
) -> ConsumerStatus:
    """The status of a consumer of a log that has these entries now."""
    lag = lag_of(progress, extent)
    since_ns = progress.unread_ns if lag else None
    return ConsumerStatus(
        name,
        progress.cursor,
        lag,
        0.0 if since_ns is None else max(0.0, (now_ns - since_ns) / NS_PER_S),
        progress.missed,
        progress.taken,
        progress.failures,
        progress.problem,
        restarts,
    )


class _Thread:
    """Runs calls one after another. A daemon: one that hangs must not keep the process alive."""

    def __init__(self, name: str) -> None:
        self._calls: queue.SimpleQueue[
            tuple[Callable[[], Any], asyncio.Future[Any], asyncio.AbstractEventLoop] | None
        ] = queue.SimpleQueue()
        threading.Thread(target=self._work, name=name, daemon=True).start()

    async def run(self, call: Callable[[], T]) -> T:
        loop = asyncio.get_running_loop()
        future: asyncio.Future[T] = loop.create_future()
        self._calls.put((call, future, loop))
        return await future

    def end(self) -> None:
        """Let the thread end when it has done what it was given."""
        self._calls.put(None)

    def _work(self) -> None:
        while (item := self._calls.get()) is not None:
            call, future, loop = item
            try:
                result, error = call(), None
            except Exception as caught:  # noqa: BLE001 - whatever it is, it is the caller's
                result, error = None, caught
            # A loop that was closed has nobody left to wake.
            with contextlib.suppress(RuntimeError):
                loop.call_soon_threadsafe(_answer, future, result, error)


def _answer(future: "asyncio.Future[Any]", result: Any, error: Exception | None) -> None:
    if future.done():
        return
    if error is None:
        future.set_result(result)
    else:
        future.set_exception(error)


class _Run:
    """One consumer at work."""

    def __init__(
        self,
        log: LogReading,
        consumer: Consumer,
        pace: Pace,
        rng: random.Random,
        stop: asyncio.Event,
    ) -> None:
        self.name = consumer.name
        self._log = log
        self._consumer = consumer
        self._pace = pace
        self._rng = rng
        self._stop = stop
        self._thread = _Thread(f"consumer-{consumer.name}")
        self._tell = structlog.get_logger().bind(consumer=consumer.name)
        self._open = False
        self._unread_ns: int | None = None
        self.cursor = self.missed = self.taken = self.failures = 0
        self.problem: str | None = None

    async def run(self) -> None:
        """Feed the consumer until the stop."""
        try:
            while not self._stop.is_set():
                try:
                    await self._step()
                except Exception as error:  # noqa: BLE001 - no fault of one consumer ends its run
                    await self._fail(error)
                else:
                    self._recover()
        finally:
            if self._open:
                await self._close()
            self._thread.end()

    async def _step(self) -> None:
        if not self._open:
            bounds = await self._log.bounds()
            log_id = self._log.log_id
            # Also when opening fails half way there may be something to close.
            self._open = True
            self.cursor = await self._thread.run(lambda: self._consumer.open(log_id, bounds))
        if not await self._until_stop(self._log.wait_past(self.cursor)):
            return
        entries = await self._log.read(self.cursor, self._pace.batch)
        if not entries:
            # Retention has dropped all that was unread: without a pause this would come straight
            # back until the next entry.
            await self._pause(self._pace.linger_s)
            return
        self._unread_ns = entries[0].ingested_at_ns
        await self._count_missed(entries[0].cursor)
        await self._thread.run(lambda: self._consumer.take(entries))
        self.cursor = entries[-1].cursor
        self.taken += len(entries)
        if len(entries) < self._pace.batch:
            await self._pause(self._pace.linger_s)

    async def _count_missed(self, first: int) -> None:
        """Tell what retention dropped: only that opens a hole between what was read and is there.

        A consumer that begins at the beginning misses nothing of what was before its time.
        """
        if self.cursor == 0 or first <= self.cursor + 1:
            return
        bounds = await self._log.bounds()
        missed = min(bounds.first, first) - self.cursor - 1
        if missed > 0:
            self.missed += missed
            self._tell.warning("entries were dropped before they were read", missed=missed)

    async def _fail(self, error: Exception) -> None:
        self.failures += 1
        self.problem = str(error) or type(error).__name__
        self._tell.warning("failed", problem=self.problem, failures=self.failures)
        if self._open:
            await self._close()
        most_s = self._pace.retry_first_s * 2 ** min(self.failures - 1, 30)
        await self._pause(self._rng.uniform(0.0, min(self._pace.retry_most_s, most_s)))

    def _recover(self) -> None:
        if self.failures:
            self._tell.info("works again", failures=self.failures)
        self.failures, self.problem = 0, None

    async def _close(self) -> None:
        self._open = False
        with contextlib.suppress(Exception):
            await self._thread.run(self._consumer.close)

    async def _pause(self, seconds: float) -> None:
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._stop.wait(), seconds)

    async def _until_stop(self, wait: Any) -> bool:
        """Whether what is waited for came before the stop."""
        waiting = asyncio.ensure_future(wait)
        stopping = asyncio.ensure_future(self._stop.wait())
        try:
            await asyncio.wait({waiting, stopping}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            stopping.cancel()
            if not waiting.done():
                waiting.cancel()
        if self._stop.is_set():
            with contextlib.suppress(asyncio.CancelledError, Exception):
                await waiting
            return False
        await waiting
        return True

    def progress(self) -> Progress:
        return Progress(
            cursor=self.cursor,
            unread_ns=self._unread_ns,
            missed=self.missed,
            taken=self.taken,
            failures=self.failures,
            problem=self.problem,
        )


class Consumers:
    """All consumers of one log."""

    def __init__(
        self,
        log: LogReading,
        consumers: Sequence[Consumer],
        *,
        pace: Pace | None = None,
        rng: random.Random | None = None,
        wall_ns: Callable[[], int] = time.time_ns,
    ) -> None:
        self._log = log
        self._stop = asyncio.Event()
        self._wall_ns = wall_ns
        rng = rng or random.Random()  # noqa: S311 - spreads retries, guards no secret
        pace = pace or Pace()
        self._runs = [_Run(log, one, pace, rng, self._stop) for one in consumers]
        self._tasks: list[asyncio.Task[None]] = []

    def start(self) -> None:
        """Begin to feed them."""
        self._tasks = [asyncio.create_task(one.run(), name=one.name) for one in self._runs]

    async def stop(self, grace_s: float = 10.0) -> list[str]:
        """Let each finish its batch, and give the names of those that did not within the time.

        These are left to their threads, which end with the process: what they had not committed is
        not lost, they read it again.
        """
        self._stop.set()
        if not self._tasks:
            return []
        _, late = await asyncio.wait(self._tasks, timeout=grace_s)
        for task in late:
            task.cancel()
        return sorted(task.get_name() for task in late)

    def progress(self) -> dict[str, Progress]:
        """How far each of them has come, by its name."""
        return {one.name: one.progress() for one in self._runs}

    async def status(self) -> list[ConsumerStatus]:
        """How each of them fares."""
        bounds = await self._log.bounds()
        now_ns = self._wall_ns()
        return [status_of(one.name, one.progress(), bounds, now_ns) for one in self._runs]
