"""Limits and the loop's standing still, in virtual time."""

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from probes.contract.stages import Stage
from probes.smtp.phases import Phases
from probes.stalls import Patience, stalls
from tests.simulation.loop import VirtualLoop

LIMIT_S = 10.0
UNSEEN_S = 0.1
"""So much of each stall goes unseen."""

Waits = Callable[[VirtualLoop], Awaitable[None]]


async def patience(_loop: VirtualLoop) -> None:
    """Wait for ever, as a connect does."""
    async with Patience(LIMIT_S):
        await asyncio.get_running_loop().create_future()


async def a_stage(loop: VirtualLoop) -> None:
    """Wait for ever, as a reply does."""
    async with Phases(loop.time) as phases:
        phases.begin(Stage.BANNER, LIMIT_S)
        await asyncio.get_running_loop().create_future()


def ends_after(waits: Waits, *stall: tuple[float, float]) -> float:
    """When such a wait times out, with stalls that begin then and last so long."""
    loop = VirtualLoop()

    async def story() -> float:
        began_s = loop.time()
        for at_s, seconds in stall:
            loop.call_later(at_s, loop.stall, seconds)
        stalls().watch()
        try:
            with pytest.raises(TimeoutError):
                await waits(loop)
        finally:
            stalls().unwatch()
        return loop.time() - began_s

    with asyncio.Runner(loop_factory=lambda: loop) as runner:
        return runner.run(story())


EVERY_WAIT = pytest.mark.parametrize("waits", [patience, a_stage])


@EVERY_WAIT
def test_without_a_stall_the_limit_is_the_limit(waits: Waits) -> None:
    assert ends_after(waits) == pytest.approx(LIMIT_S)


@EVERY_WAIT
@pytest.mark.parametrize(
    "stall",
    [
        [(3.0, 4.0)],
        [(0.01, 9.9)],
        [(0.01, 30.0)],
        [(9.95, 20.0)],
        [(1.0, 1.0), (2.5, 3.0), (7.0, 9.0)],
        # One that begins when the limit was longer already.
        [(3.0, 4.0), (13.0, 2.0)],
    ],
)
def test_a_stall_takes_nothing_off_the_limit(
    waits: Waits, stall: list[tuple[float, float]]
) -> None:
    lost_s = sum(seconds for _, seconds in stall)
    end_s = ends_after(waits, *stall)
    unseen_s = UNSEEN_S * len(stall)
    assert LIMIT_S + lost_s - unseen_s <= end_s <= LIMIT_S + lost_s + 1e-6


@EVERY_WAIT
def test_a_busy_loop_is_no_stall(waits: Waits) -> None:
    busy = [(number * 0.5, 0.04) for number in range(19)]
    assert ends_after(waits, *busy) == pytest.approx(LIMIT_S, abs=0.05)


def test_the_stages_own_part_of_a_stall_is_told() -> None:
    loop = VirtualLoop()

    async def story() -> tuple[float, float]:
        async with Phases(loop.time) as phases:
            phases.begin(Stage.BANNER, LIMIT_S)
            loop.call_later(1.0, loop.stall, 5.0)
            await asyncio.sleep(8.0)
            phases.end()
            banner_s = phases.stood_s
            phases.begin(Stage.EHLO, LIMIT_S)
            await asyncio.sleep(1.0)
            phases.end()
            return banner_s, phases.stood_s

    with asyncio.Runner(loop_factory=lambda: loop) as runner:
        banner_s, ehlo_s = runner.run(story())
    assert 5.0 - UNSEEN_S <= banner_s <= 5.0
    assert ehlo_s == 0.0


def test_nothing_ticks_once_nobody_watches() -> None:
    """A virtual loop in which a timer comes again and again would never stand still."""
    loop = VirtualLoop()

    async def story() -> float:
        one = stalls()
        one.watch()
        one.watch()
        loop.stall(3.0)
        one.unwatch()
        one.unwatch()
        total_s = one.total_s()
        loop.stall(5.0)
        assert one.total_s() == total_s
        return total_s

    with asyncio.Runner(loop_factory=lambda: loop) as runner:
        assert 3.0 - UNSEEN_S <= runner.run(story()) <= 3.0
