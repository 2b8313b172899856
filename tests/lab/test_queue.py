"""A queue carries what it was given: held, slowed down, reordered, tried again."""

import asyncio
import random
from collections.abc import AsyncIterator

import pytest

from lab.board import Board, Order
from lab.faults import Fault, Hold, Reorder, SlowPath
from lab.queue import Entry, MailQueue, State
from lab.specs import Retry
from lab.truth import Pulse


class Bench:
    """A queue whose attempts fail as often as told, and a record of them."""

    def __init__(self) -> None:
        self.board = Board()
        self.pulse = Pulse()
        self.attempts: list[str] = []
        self.failures: dict[str, int] = {}
        self.active = 0
        self.most_active = 0
        self.queue = MailQueue(
            "a",
            board=self.board,
            pulse=self.pulse,
            retry=Retry(first=0.01, factor=1.0, longest=3600.0),
            concurrency=2,
            rng=random.Random(1),  # noqa: S311 - jitter, no secret
            attempt=self.attempt,
        )

    async def attempt(self, entry: Entry) -> bool:
        self.active += 1
        self.most_active = max(self.most_active, self.active)
        await asyncio.sleep(0)
        self.active -= 1
        self.attempts.append(entry.queue_id)
        self.failures[entry.queue_id] = left = self.failures.get(entry.queue_id, 0) - 1
        entry.reason = "it failed"
        return left < 0

    def put(self, *queue_ids: str, mailbox: str = "acme/inbox") -> None:
        for queue_id in queue_ids:
            self.queue.put(Entry(queue_id, "a@b", "c@d", mailbox, None, content=b"", accepted_ns=0))

    def order(self, fault: Fault, mailboxes: frozenset[str] | None = None) -> Order[Fault]:
        order = Order(fault, None, mailboxes, 0)
        self.board.add(order)
        return order

    def clear(self, order: Order[Fault]) -> None:
        self.board.remove(order)
        self.queue.refresh()

    async def empty(self) -> None:
        await self.pulse.until(lambda: not self.queue.entries)

    async def all_in(self, state: State) -> None:
        await self.pulse.until(lambda: {entry.state for entry in self.queue.entries} == {state})


@pytest.fixture
async def bench() -> AsyncIterator[Bench]:
    running = Bench()
    yield running
    await running.queue.close()


@pytest.mark.parametrize(
    ("attempts", "delay"), [(0, 0.5), (1, 0.5), (2, 0.75), (3, 1.125), (50, 2.0), (10**9, 2.0)]
)
def test_retries_come_slower_and_slower(attempts: int, delay: float) -> None:
    assert Retry().delay(attempts) == delay


async def test_failed_attempts_are_repeated_until_done(bench: Bench) -> None:
    bench.failures["1"] = 3
    bench.put("1", "2")
    await bench.empty()
    assert bench.attempts.count("1") == 4
    assert bench.attempts.count("2") == 1


async def test_no_more_deliveries_at_a_time_than_allowed(bench: Bench) -> None:
    bench.put(*map(str, range(10)))
    await bench.empty()
    assert bench.most_active == 2
    assert bench.attempts == list(map(str, range(10)))


async def test_held_until_released_for_that_mailbox_only(bench: Bench) -> None:
    hold = bench.order(Hold(), frozenset({"acme/inbox"}))
    bench.put("held")
    bench.put("free", mailbox="acme/other")
    await bench.pulse.until(lambda: bench.attempts == ["free"])
    await bench.all_in(State.HOLD)
    bench.queue.flush()
    bench.queue.refresh()
    await bench.all_in(State.HOLD)
    bench.clear(hold)
    await bench.empty()
    assert bench.attempts == ["free", "held"]


async def test_flush_tries_deferred_mail_at_once() -> None:
    bench = Bench()
    bench.queue._retry = Retry(first=3600.0)
    bench.failures["1"] = 1
    bench.put("1")
    await bench.all_in(State.DEFERRED)
    assert bench.queue.entries[0].reason == "it failed"
    assert bench.queue.entries[0].attempts == 1
    bench.queue.flush()
    await bench.empty()


async def test_full_windows_go_last_come_first(bench: Bench) -> None:
    bench.order(Reorder(window=3, flush_after=3600.0))
    bench.put(*"123456")
    await bench.empty()
    assert bench.attempts == list("321654")


async def test_an_incomplete_window_goes_after_a_while(bench: Bench) -> None:
    bench.order(Reorder(window=3, flush_after=0.01))
    bench.put(*"12")
    await bench.empty()
    assert bench.attempts == list("21")


async def test_an_incomplete_window_goes_when_the_fault_ends(bench: Bench) -> None:
    order = bench.order(Reorder(window=3, flush_after=3600.0))
    bench.put(*"12")
    await bench.pulse.until(lambda: len(bench.queue._window) == 2)
    bench.clear(order)
    await bench.empty()
    assert bench.attempts == list("21")


async def test_a_failure_in_a_window_holds_nobody_up(bench: Bench) -> None:
    bench.queue._retry = Retry(first=3600.0)
    bench.failures["2"] = 1
    bench.order(Reorder(window=2, flush_after=3600.0))
    bench.put(*"12")
    await bench.pulse.until(lambda: bench.attempts == ["2", "1"])


async def test_a_slow_path_delays_the_first_attempt(bench: Bench) -> None:
    order = bench.order(SlowPath(latency=3600.0, jitter=1.0))
    bench.put("slow")
    await bench.pulse.until(lambda: bench.queue.entries[0].reason == "on a slow path")
    bench.clear(order)
    bench.put("fast")
    await bench.pulse.until(lambda: bench.attempts == ["fast"])
    assert [entry.queue_id for entry in bench.queue.entries] == ["slow"]


async def test_close_ends_every_task() -> None:
    before = asyncio.all_tasks()
    bench = Bench()
    bench.failures["1"] = 10**9
    bench.order(SlowPath(latency=3600.0), frozenset({"slow"}))
    bench.order(Hold(), frozenset({"held"}))
    bench.order(Reorder(window=9, flush_after=3600.0), frozenset({"window"}))
    bench.put("1")
    for mailbox in ("slow", "held", "window"):
        bench.put("2", mailbox=mailbox)
    await bench.pulse.until(lambda: "1" in bench.attempts)
    await bench.queue.close()
    assert asyncio.all_tasks() == before
    assert bench.queue.entries == []
