"""Consumers: each at its own pace, none held up by another, nothing read twice or left out."""

import asyncio
import random
import threading
from collections.abc import Callable, Sequence

from collector.consumers import Consumers, ConsumerStatus, Pace
from collector.log.engine import Entry, Extent
from tests.collector.memory_log import MemoryLog

AT_ONCE = Pace(batch=3, linger_s=0.0, retry_first_s=0.0)


def entries(first: int, last: int) -> list[Entry]:
    return [Entry(n, n * 10**9, "sfo", "e", n, "tick", b"{}") for n in range(first, last + 1)]


class Middle(random.Random):
    """Draws the middle."""

    def uniform(self, a: float, b: float) -> float:
        return (a + b) / 2


class Counting:
    """A consumer whose effect is a list; it fails as often as it is told to."""

    def __init__(self, name: str, log_last: int, fail: int = 0) -> None:
        self.name = name
        self.durable: list[int] = []
        self.fail = fail
        self.opened = 0
        self.threads: set[int] = set()
        self.done = asyncio.Event()
        self._loop = asyncio.get_running_loop()
        self.until = log_last

    def open(self, log_id: str, bounds: Extent) -> int:
        assert log_id == "log-1"
        assert bounds.first >= 1
        self.opened += 1
        return self.durable[-1] if self.durable else 0

    def take(self, entries: Sequence[Entry]) -> None:
        self.threads.add(threading.get_ident())
        if self.fail:
            self.fail -= 1
            raise OSError("the disk is full")
        self.durable.extend(entry.cursor for entry in entries)
        if self.durable[-1] >= self.until:
            self._loop.call_soon_threadsafe(self.done.set)

    def close(self) -> None:
        self.threads.add(threading.get_ident())


async def told_when(
    running: Consumers, wanted: Callable[[dict[str, ConsumerStatus]], bool]
) -> dict[str, ConsumerStatus]:
    """The status, as soon as it is as wanted."""
    while True:
        now = {one.name: one for one in await running.status()}
        if wanted(now):
            return now
        await asyncio.sleep(0)


async def test_every_consumer_reads_everything_once_in_a_thread_of_its_own() -> None:
    log = MemoryLog(entries(1, 10))
    one, other = Counting("one", 12), Counting("other", 12)
    running = Consumers(log, [one, other], pace=AT_ONCE)
    running.start()
    await log.put(entries(11, 12))
    await asyncio.gather(one.done.wait(), other.done.wait())
    assert await running.stop() == []
    assert one.durable == other.durable == list(range(1, 13))
    assert len(one.threads) == len(other.threads) == 1
    assert one.threads != other.threads
    assert threading.get_ident() not in one.threads | other.threads


async def test_one_that_fails_is_opened_again_and_holds_up_nobody() -> None:
    log = MemoryLog(entries(1, 10))
    good, bad = Counting("good", 10), Counting("bad", 10, fail=5)
    running = Consumers(log, [bad, good], pace=AT_ONCE)
    running.start()
    await asyncio.gather(bad.done.wait(), good.done.wait())
    await running.stop()
    assert bad.durable == good.durable == list(range(1, 11))
    assert (bad.opened, good.opened) == (6, 1)


async def test_status_tells_the_failure_and_the_lag() -> None:
    log = MemoryLog(entries(1, 10))
    good, bad = Counting("good", 10), Counting("bad", 10, fail=1)
    slow = Pace(batch=4, linger_s=0.0, retry_first_s=1e6, retry_most_s=1e6)
    running = Consumers(log, [bad, good], pace=slow, rng=Middle(), wall_ns=lambda: 15 * 10**9)
    running.start()
    await good.done.wait()
    status = await told_when(running, lambda now: now["good"].cursor == 10)
    status = await told_when(running, lambda now: now["bad"].failures > 0)
    assert await running.stop() == []
    assert (status["bad"].problem, status["bad"].failures) == ("the disk is full", 1)
    assert (status["bad"].lag_entries, status["bad"].lag_s) == (10, 14.0)
    assert (status["good"].lag_entries, status["good"].lag_s) == (0, 0.0)
    assert status["good"].taken == 10


async def test_a_log_that_cannot_be_read_is_a_failure_that_passes() -> None:
    log = MemoryLog(entries(1, 3))
    log.broken = True
    one = Counting("one", 3)
    running = Consumers(log, [one], pace=AT_ONCE)
    running.start()
    await told_when(running, lambda now: now["one"].failures > 0)
    log.broken = False
    await one.done.wait()
    await running.stop()
    assert one.durable == [1, 2, 3]


async def test_what_retention_dropped_unread_is_counted() -> None:
    log = MemoryLog(entries(1, 10))
    log.drop(6)
    one, fresh = Counting("one", 10), Counting("fresh", 10)
    one.durable = [1, 2]
    running = Consumers(log, [one, fresh], pace=AT_ONCE)
    running.start()
    await asyncio.gather(one.done.wait(), fresh.done.wait())
    await running.stop()
    missed = {status.name: status.missed for status in await running.status()}
    # One that had read nothing yet has not missed what was before its time.
    assert missed == {"one": 4, "fresh": 0}
    assert one.durable == [1, 2, 7, 8, 9, 10]


async def test_the_stop_does_not_wait_for_one_that_hangs() -> None:
    held = threading.Event()

    class Hanging(Counting):
        def take(self, entries: Sequence[Entry]) -> None:
            self._loop.call_soon_threadsafe(self.done.set)
            held.wait()
            super().take(entries)

    hanging, good = Hanging("hanging", 3), Counting("good", 3)
    running = Consumers(MemoryLog(entries(1, 3)), [hanging, good], pace=AT_ONCE)
    running.start()
    await asyncio.gather(hanging.done.wait(), good.done.wait())
    assert await running.stop(grace_s=0.05) == ["hanging"]
    held.set()
