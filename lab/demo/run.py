"""Runs the demo: the lab's estate, an agent that is passed in, the outage, the screen."""

import asyncio
import time
from collections.abc import Callable, Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import replace
from typing import Any, Protocol

from lab.demo.picture import Picture
from lab.demo.show import Screen
from lab.demo.story import FILTERED, MAILBOXES, Plot, Times, relays, summary
from lab.estate import Estate
from lab.faults import OutboundFiltered
from probes.contract.events import Event, Unknown

_TICK_S = 0.125


class RunningAgent(Protocol):
    """An agent that runs."""

    def stop_sending(self) -> None:
        """Send no more canaries; those in the air are still awaited."""


class StartAgent(Protocol):
    """Starts an agent on a configuration document; the lab itself knows none."""

    def __call__(
        self,
        document: Mapping[str, Any],
        secrets: Mapping[str, str],
        take: Callable[[Event | Unknown], None],
    ) -> AbstractAsyncContextManager[RunningAgent]:
        """The agent runs as long as the context lasts; its events go to ``take``."""


class Demo:
    """One run of the story."""

    def __init__(self, plot: Plot, screen: Screen) -> None:
        self._plot = plot
        self._screen = screen
        self._picture = Picture([spec.name for spec in relays()])
        self._times = Times()
        self._start = 0.0

    def _now_s(self) -> float:
        return time.monotonic() - self._start

    async def run(self, start_agent: StartAgent) -> Mapping[str, Any]:
        """Tell the story; gives its summary."""
        async with Estate(relays=relays(), mailboxes=MAILBOXES, agents=("demo",)) as estate:
            document = estate.config_document(
                interval=self._plot.interval,
                deadline=self._plot.deadline,
                loss_after="2m",
                # A machine that is busy with other things delays a connection, and that is all.
                timeouts={"connect": "10s", "banner": "10s", "command": "10s", "accept": "10s"},
            )
            with self._screen:
                async with start_agent(document, estate.secrets, self._picture.take) as agent:
                    self._start = time.monotonic()
                    await self._tell(estate)
                    agent.stop_sending()
                    # Every canary that is still under way has its chance to come home.
                    while self._picture.pending and self._now_s() < self._plot.give_up_at:
                        await self._tick()
                # The agent's last events have come with its end.
                self._look()
        return summary(self._picture, self._times, FILTERED)

    async def _tell(self, estate: Estate) -> None:
        plot, say = self._plot, self._screen.say
        say(0.0, "Ten relays of two providers, three customers: a canary through every relay.")
        await self._until(plot.filter_at)
        fault = await estate.order(OutboundFiltered(), relays=FILTERED)
        self._times = replace(self._times, filtered_ns=time.time_ns())
        say(self._now_s(), f"Outbound port 25 is filtered on {' and '.join(FILTERED)}, silently.")
        await self._until(plot.release_at)
        stuck = sum(len(estate.relays[name].queue) for name in FILTERED)
        await fault.clear()
        self._times = replace(self._times, released_ns=time.time_ns())
        say(self._now_s(), f"The filter is gone; {stuck} mails are stuck on those two relays.")
        await self._until(plot.end_at)

    async def _until(self, at_s: float) -> None:
        while self._now_s() < at_s:
            await self._tick()

    async def _tick(self) -> None:
        await asyncio.sleep(_TICK_S)
        self._look()

    def _look(self) -> None:
        at_s = self._now_s()
        for name in self._picture.judge(time.time_ns()):
            self._screen.say(at_s, f"{name} accepts mail that does not arrive: it is hit.")
        self._screen.draw(at_s, self._picture)
