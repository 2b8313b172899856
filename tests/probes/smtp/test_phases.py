"""The submission's clock by itself; its use is in ``test_faults.py`` and ``test_stalls.py``."""

import asyncio
import time

import pytest

from probes.contract.stages import Stage
from probes.smtp.phases import Phases

SOON_S = 0.01
NEVER_S = 600.0


async def hang(phases: Phases, *limits: float) -> None:
    """Begin a stage with each of the limits, and stay in the last."""
    async with phases:
        for limit in limits:
            phases.begin(Stage.BANNER, limit)
        await asyncio.get_running_loop().create_future()


@pytest.mark.parametrize(
    "limits",
    [(SOON_S,), (SOON_S, 2 * SOON_S), (NEVER_S, SOON_S)],
    ids=["at once", "later than the timer", "sooner than the timer"],
)
async def test_a_stage_ends_at_its_limit(limits: tuple[float, ...]) -> None:
    phases = Phases(time.monotonic)

    with pytest.raises(TimeoutError):
        await hang(phases, *limits)

    assert (phases.stage, phases.limit) == (Stage.BANNER, limits[-1])


async def test_a_later_stage_has_a_limit_of_its_own() -> None:
    phases = Phases(time.monotonic)
    long_past = asyncio.Event()

    async with phases:
        phases.begin(Stage.BANNER, SOON_S)
        phases.begin(Stage.EHLO, NEVER_S)
        asyncio.get_running_loop().call_later(3 * SOON_S, long_past.set)
        await long_past.wait()


async def test_without_a_limit_nothing_ends() -> None:
    phases = Phases(time.monotonic)
    long_past = asyncio.Event()

    async with phases:
        phases.begin(Stage.BANNER, SOON_S)
        phases.begin(Stage.CONNECT, None)
        asyncio.get_running_loop().call_later(3 * SOON_S, long_past.set)
        await long_past.wait()

    assert phases.limit is None


async def test_somebody_elses_cancellation_stays_one() -> None:
    task = asyncio.create_task(hang(Phases(time.monotonic), NEVER_S))
    await asyncio.sleep(0)
    task.cancel()

    with pytest.raises(asyncio.CancelledError):
        await task


async def test_nothing_ends_what_comes_after_it() -> None:
    async with Phases(time.monotonic) as phases:
        phases.begin(Stage.BANNER, SOON_S)
    long_past = asyncio.Event()
    asyncio.get_running_loop().call_later(3 * SOON_S, long_past.set)

    await long_past.wait()


async def test_an_outer_limit_is_not_taken_for_the_stages_own() -> None:
    stages_own = False

    async def inner() -> None:
        nonlocal stages_own
        try:
            await hang(Phases(time.monotonic), NEVER_S)
        except TimeoutError:
            stages_own = True

    with pytest.raises(TimeoutError):
        await asyncio.wait_for(inner(), SOON_S)

    assert not stages_own
