"""Places, bytes, rates and memory: given out, given back, and never more than there are."""

import asyncio
import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from collector.ingest.admission import Admission, Budget, BusyError, Room
from tests.collector.control.stores import HandClock

ROOM = Room(places=3, per_agent=2, body_bytes=100, plain_bytes=1000, per_minute=6)


def test_an_agent_has_so_many_places_and_gets_them_back() -> None:
    admission = Admission(ROOM)
    with admission.place("sfo", 1), admission.place("sfo", 1):
        with pytest.raises(BusyError, match="2 batches of sfo under way") as caught:
            admission.place("sfo", 1).__enter__()
        assert caught.value.mine
        assert caught.value.retry_after_s == 1
        with admission.place("fra", 1):
            assert admission.inside == 3
    assert admission.inside == admission.body_bytes == 0
    with admission.place("sfo", 1):
        pass
    assert {why: count for why, count in admission.turned_away.items() if count} == {"agent": 1}


def test_all_together_have_so_many_places() -> None:
    admission = Admission(ROOM)
    with contextlib.ExitStack() as stack:
        for agent in ("a", "b", "c"):
            stack.enter_context(admission.place(agent, 1))
        with pytest.raises(BusyError, match="3 batches under way") as caught:
            stack.enter_context(admission.place("d", 1))
        assert not caught.value.mine
    assert admission.turned_away["places"] == 1


def test_their_bodies_have_so_many_bytes() -> None:
    admission = Admission(ROOM)
    with admission.place("a", 60), admission.place("b", 40):
        assert admission.body_bytes == 100
        with pytest.raises(BusyError, match="batches of 100 bytes under way"):
            admission.place("c", 1).__enter__()
    with admission.place("a", 1_000_000):
        assert admission.body_bytes == 100
    assert admission.body_bytes == 0


def test_a_failure_gives_the_place_back() -> None:
    admission = Admission(ROOM)
    with pytest.raises(RuntimeError), admission.place("a", 60):
        raise RuntimeError
    assert admission.inside == admission.body_bytes == 0


def test_a_minutes_worth_at_once_and_then_at_the_rate() -> None:
    clock = HandClock()
    admission = Admission(ROOM, clock.monotonic)

    def sent(agent: str = "sfo") -> int:
        count = 0
        with contextlib.suppress(BusyError):
            while True:
                with admission.place(agent, 1):
                    count += 1
        return count

    assert sent() == 6
    assert sent("fra") == 6
    with pytest.raises(BusyError, match="more than 6 batches of sfo a minute") as caught:
        admission.place("sfo", 1).__enter__()
    assert caught.value.mine
    assert caught.value.retry_after_s == 10
    clock.advance(9.5)
    with pytest.raises(BusyError) as caught:
        admission.place("sfo", 1).__enter__()
    assert caught.value.retry_after_s == 1
    clock.advance(0.6)
    assert sent() == 1
    clock.advance(1000)
    assert sent() == 6


def test_who_is_past_its_quota_is_turned_away_and_told_for_a_while() -> None:
    clock = HandClock()
    admission = Admission(Room(bytes_per_hour=3600), clock.monotonic)
    admission.quota.take("sfo", 3700)
    assert admission.told() == []
    with pytest.raises(BusyError, match="more than 3600 bytes of sfo within an hour") as caught:
        admission.place("sfo", 1).__enter__()
    assert caught.value.mine
    assert 100 <= caught.value.retry_after_s <= 101
    assert admission.turned_away["quota"] == 1
    with admission.place("fra", 1):
        pass
    clock.advance(102)
    with admission.place("sfo", 1):
        pass
    [told] = admission.told()
    assert told.startswith("agent sfo is turned away: more than 3600 bytes")
    clock.advance(900)
    assert admission.told() == []


def test_what_was_turned_away_counts_against_no_rate() -> None:
    clock = HandClock()
    admission = Admission(Room(places=1, per_minute=2), clock.monotonic)
    with admission.place("sfo", 1):
        for _ in range(10):
            with pytest.raises(BusyError):
                admission.place("fra", 1).__enter__()
    with admission.place("fra", 1):
        pass


def test_room_within_so_many_megabytes() -> None:
    room = Room.of(256)
    assert room == Room()
    assert Room.of(1).body_bytes + Room.of(1).plain_bytes == 1 << 20


async def test_memory_is_given_in_the_order_in_which_it_was_asked_for() -> None:
    budget = Budget(10)
    told: list[str] = []
    release = asyncio.Event()

    async def hold(name: str, amount: int) -> None:
        async with budget.hold(amount):
            told.append(name)
            await release.wait()

    async with asyncio.TaskGroup() as group:
        async with budget.hold(6):
            large = group.create_task(hold("large", 8))
            group.create_task(hold("small", 1))
            await asyncio.sleep(0)
            await asyncio.sleep(0)
            # The small one would fit, and so would all small ones for ever after it.
            assert told == []
        for _ in range(5):
            await asyncio.sleep(0)
        assert told == ["large", "small"]
        assert budget.free == 1
        release.set()
        await large
    assert budget.free == 10


async def test_who_asks_for_more_than_there_is_gets_all_of_it() -> None:
    budget = Budget(10)
    async with budget.hold(1_000_000):
        assert budget.free == 0
    assert budget.free == 10


async def test_one_that_no_longer_waits_holds_up_nobody() -> None:
    budget = Budget(10)
    async with budget.hold(6):
        first = asyncio.create_task(_hold(budget, 8))
        second = asyncio.create_task(_hold(budget, 4))
        await asyncio.sleep(0)
        first.cancel()
        await second
    assert budget.free == 10


async def test_one_that_is_cancelled_when_it_was_just_granted_gives_it_back() -> None:
    budget = Budget(10)
    async with budget.hold(10):
        waiting = asyncio.create_task(_hold(budget, 5))
        await asyncio.sleep(0)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    assert budget.free == 10


async def _hold(budget: Budget, amount: int) -> None:
    async with budget.hold(amount):
        await asyncio.sleep(0)


@given(st.lists(st.tuples(st.integers(0, 15), st.integers(0, 5), st.booleans()), max_size=20))
def test_whatever_happens_all_of_it_comes_back(
    holders: "list[tuple[int, int, bool]]",
) -> None:
    async def run() -> None:
        budget = Budget(10)

        async def hold(amount: int, turns: int) -> None:
            async with budget.hold(amount):
                assert 0 <= budget.free <= 10
                for _ in range(turns):
                    await asyncio.sleep(0)

        tasks = [asyncio.create_task(hold(amount, turns)) for amount, turns, _ in holders]
        for task, (_, turns, cancelled) in zip(tasks, holders, strict=True):
            if cancelled:
                for _ in range(turns):
                    await asyncio.sleep(0)
                task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        assert budget.free == 10

    asyncio.run(run())
