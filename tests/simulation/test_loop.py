"""The virtual loop: time jumps, threads that are none, and a program that stands still."""

import asyncio
from collections.abc import Coroutine
from typing import Any

import pytest

from tests.simulation.clock import VirtualClock
from tests.simulation.loop import StandstillError, VirtualLoop


def run(work: Coroutine[Any, Any, float]) -> float:
    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        return runner.run(work)


def test_a_day_passes_at_once() -> None:
    async def day() -> float:
        await asyncio.sleep(86400.0)
        return asyncio.get_running_loop().time()

    assert run(day()) == 86400.0


def test_timers_come_in_their_order() -> None:
    order: list[float] = []

    async def sleeper(seconds: float) -> None:
        await asyncio.sleep(seconds)
        order.append(seconds)

    async def all_of_them() -> float:
        await asyncio.gather(*(sleeper(seconds) for seconds in (3.0, 1.0, 2.0)))
        return 0.0

    run(all_of_them())
    assert order == [1.0, 2.0, 3.0]


def test_work_in_a_thread_goes_on_when_its_caller_is_cancelled() -> None:
    done: list[int] = []

    async def cancelled() -> float:
        loop = asyncio.get_running_loop()
        assert isinstance(loop, VirtualLoop)
        loop.pick_s = lambda: 1.0
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.5):
                await asyncio.to_thread(done.append, 1)
        assert done == []
        await asyncio.sleep(1.0)
        return loop.time()

    assert run(cancelled()) == 1.5
    assert done == [1]


def test_work_in_a_thread_raises_in_its_caller() -> None:
    async def failing() -> float:
        return await asyncio.to_thread(lambda: 1 / 0)

    with pytest.raises(ZeroDivisionError):
        run(failing())


def test_waiting_for_nothing_is_an_error() -> None:
    async def for_ever() -> float:
        await asyncio.get_running_loop().create_future()
        return 0.0

    loop = VirtualLoop()
    task = loop.create_task(for_ever())
    with pytest.raises(StandstillError):
        loop.run_until_complete(task)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        loop.run_until_complete(task)
    loop.close()


def test_the_boot_clock_knows_no_steps_and_ends_with_the_boot() -> None:
    now_s = 10.0
    clock = VirtualClock(lambda: now_s)
    before = clock.now()
    now_s = 15.0
    clock.step(-3600.0)
    after = clock.now()
    assert after.boot_ns - before.boot_ns == 5_000_000_000
    assert after.wall_ns - before.wall_ns == -3595_000_000_000
    assert clock.true_of_wall(after.wall_ns) == pytest.approx(15.0)
    clock.reboot()
    assert clock.now().boot_id != after.boot_id
    assert clock.now().boot_ns < after.boot_ns
