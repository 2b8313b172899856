"""Tells the collector that this agent lives, whatever the events have to wait for."""

import asyncio
from collections.abc import Callable
from typing import Protocol

import msgspec
import structlog

from agent.shipper.failures import KNOCK_S, Failure, Fate, ShipError
from probes.contract.wire import Beat, BeatReply, ClockReading, read_clock

log = structlog.get_logger(__name__)

FIRST_BEAT_S = 10.0
_SKEW_S = 2.0
"""A clock that is off by more than this, for sure, is worth a warning."""


class Hears(Protocol):
    """Where beats go."""

    async def beat(self, beat: Beat) -> BeatReply:
        """Hand over a beat.

        Raises:
            ShipError: it was not heard, or it is not known whether it was.
        """


class Pulse:
    """Sends beats, and measures by them how far this agent's clock is from the collector's.

    ``heard`` is called after each that the collector has heard.
    """

    def __init__(
        self,
        to: Hears,
        make: Callable[[], Beat],
        wall_ns: Callable[[], int],
        heard: Callable[[], None],
    ) -> None:
        self._to = to
        self._make = make
        self._wall_ns = wall_ns
        self._heard = heard
        self._warned = False
        self.clock: ClockReading | None = None
        self.every_s = FIRST_BEAT_S

    async def run(self) -> None:
        """Beat for ever; a beat that is not heard is not repeated, the next one says more."""
        while True:
            failure = await self.once()
            stopped = failure is not None and failure.fate is Fate.STOP
            await asyncio.sleep(max(KNOCK_S, self.every_s) if stopped else self.every_s)

    async def once(self) -> Failure | None:
        """Send one beat; why it was not heard, if it was not."""
        clock = self.clock
        sent_ns = self._wall_ns()
        beat = msgspec.structs.replace(
            self._make(),
            sent_at_ns=sent_ns,
            clock_offset_s=None if clock is None else clock.offset_s,
            round_trip_s=None if clock is None else clock.round_trip_s,
        )
        try:
            reply = await self._to.beat(beat)
        except ShipError as error:
            log.debug("a beat was not heard", problem=str(error))
            return error.failure
        self.clock = read_clock(
            sent_ns, reply.received_at_ns, reply.answered_at_ns, self._wall_ns()
        )
        self._warn(self.clock)
        self.every_s = min(60.0, max(1.0, reply.beat_s))
        self._heard()
        return None

    def _warn(self, clock: ClockReading) -> None:
        surely = abs(clock.offset_s) - clock.round_trip_s / 2 > _SKEW_S
        if surely and not self._warned:
            log.warning("this clock and the collector's disagree", ahead_by_s=clock.offset_s)
        self._warned = surely
