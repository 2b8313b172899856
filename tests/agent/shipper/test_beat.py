"""Beats: what they measure, how often they come, and whom they tell that they were heard."""

import asyncio

from agent.shipper.beat import FIRST_BEAT_S, Pulse
from agent.shipper.failures import KNOCK_S, ShipError, of_status
from probes.contract.wire import Beat, BeatReply
from tests.agent.shipper.beats import BEAT
from tests.simulation.loop import VirtualLoop

S = 1_000_000_000


class Ear:
    """A collector whose clock is two seconds behind; ``status`` is an error that it answers."""

    def __init__(self) -> None:
        self.status: int | None = None
        self.now_ns = 100 * S
        self.beats: list[Beat] = []

    async def beat(self, beat: Beat) -> BeatReply:
        self.beats.append(beat)
        if self.status is not None:
            raise ShipError(of_status(self.status, "", None, 0.0))
        self.now_ns += S // 10
        return BeatReply(received_at_ns=98 * S, answered_at_ns=98 * S, beat_s=5.0)


def _pulse(ear: Ear) -> tuple[Pulse, list[bool]]:
    heard: list[bool] = []
    return Pulse(ear, lambda: BEAT, lambda: ear.now_ns, lambda: heard.append(True)), heard


async def test_a_beat_measures_the_clock_and_the_next_one_tells_of_it() -> None:
    ear = Ear()
    pulse, heard = _pulse(ear)
    assert await pulse.once() is None
    assert pulse.clock is not None
    assert abs(pulse.clock.offset_s - 2.05) < 1e-6
    assert pulse.every_s == 5.0
    assert heard == [True]
    first = pulse.clock
    await pulse.once()
    assert [beat.clock_offset_s for beat in ear.beats] == [None, first.offset_s]


async def test_a_beat_that_is_not_heard_tells_nobody() -> None:
    ear = Ear()
    ear.status = 503
    pulse, heard = _pulse(ear)
    failure = await pulse.once()
    assert failure is not None
    assert (failure.kind, heard, pulse.clock) == ("503", [], None)


def _beats_within(ear: Ear, seconds: float) -> int:
    async def run() -> None:
        beating = asyncio.create_task(_pulse(ear)[0].run())
        await asyncio.sleep(seconds)
        beating.cancel()

    loop = VirtualLoop()
    with asyncio.Runner(loop_factory=lambda: loop) as runner:
        runner.run(run())
    return len(ear.beats)


def test_a_collector_in_trouble_is_told_as_ever_and_a_wrong_token_seldom() -> None:
    for status, every_s in ((503, FIRST_BEAT_S), (401, KNOCK_S)):
        ear = Ear()
        ear.status = status
        assert _beats_within(ear, 10 * every_s + 1) == 11
