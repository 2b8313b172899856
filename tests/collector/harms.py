"""What befalls a fleet of processes and its network: drawn from a seed, each kind as often."""

import asyncio
import os
import random
import signal
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from pathlib import Path

from tests.collector.collectors import RunningCollector
from tests.collector.fleet import RemoteAgent
from tests.servers.program import Program
from tests.servers.proxy import Direction, TcpProxy

CONSUMER = b"collector.consuming.child"
_TRICKLE = 1500.0
"""Bytes a second at which a batch takes longer than it is left alone."""


def kill_consumer(program: Program) -> bool:
    """Kill the process that counts for this collector, its child; whether there was one."""
    for pid in _children(program.pid):
        with suppress(ProcessLookupError):
            # What the descriptor stands for is what is looked at and what is killed: a number may
            # have become another process's in between.
            descriptor = os.pidfd_open(pid)
            try:
                if _is_consumer(pid, program.pid):
                    signal.pidfd_send_signal(descriptor, signal.SIGKILL)
                    return True
            finally:
                os.close(descriptor)
    return False


def _children(pid: int) -> list[int]:
    found: list[int] = []
    for task in Path(f"/proc/{pid}/task").iterdir():
        # A thread may end while it is looked at.
        with suppress(OSError):
            found += map(int, (task / "children").read_text(encoding="ascii").split())
    return found


def _is_consumer(pid: int, parent: int) -> bool:
    with suppress(OSError):
        command = Path(f"/proc/{pid}/cmdline").read_bytes()
        words = Path(f"/proc/{pid}/stat").read_text(errors="replace").rpartition(")")[2].split()
        return CONSUMER in command and int(words[1]) == parent
    return False


class Harms:
    """Misfortunes, one after another. ``done`` counts each kind that really took place.

    They come in shuffled rounds of one each, so that none is left out, however the seed falls.
    """

    def __init__(
        self,
        rng: random.Random,
        collector: RunningCollector,
        agents: Sequence[RemoteAgent],
        network: TcpProxy,
    ) -> None:
        self.done: Counter[str] = Counter()
        self._rng = rng
        self._collector = collector
        self._agents = agents
        self._network = network
        self._refuses = False
        self._kinds: dict[str, Callable[[], Awaitable[bool]]] = {
            "collector killed": self._kill_collector,
            "agent killed": self._kill_agent,
            "another agent killed": self._kill_agent,
            "consumer killed": self._kill_consumer,
            "stalled": self._stall,
            "slowed": self._slow,
            "cut": self._cut,
            "cut in a request": self._cut_request,
            "cut before an answer": self._cut_answer,
            "refused": self._refuse,
            "clear": self._clear,
        }

    async def rounds(self, seconds: float) -> None:
        """Do harm for so long; all is well with the network afterwards, and the collector runs."""
        loop = asyncio.get_running_loop()
        end, left = loop.time() + seconds, list[str]()
        while loop.time() < end:
            if not left:
                left = self._rng.sample(list(self._kinds), len(self._kinds))
            kind = left.pop()
            self.done[kind] += await self._kinds[kind]()
            await asyncio.sleep(self._rng.uniform(0.1, 1.5))
        await self._clear()
        if not self._collector.program.is_running():
            await asyncio.to_thread(self._collector.start)

    async def _kill_collector(self) -> bool:
        if self._collector.program.is_running():
            await asyncio.to_thread(self._collector.program.kill)
        await asyncio.sleep(self._rng.uniform(0.0, 1.0))
        await asyncio.to_thread(self._collector.start)
        return True

    async def _kill_agent(self) -> bool:
        agent = self._rng.choice(self._agents)
        if agent.program.is_running():
            await asyncio.to_thread(agent.program.kill)
        await asyncio.sleep(self._rng.uniform(0.0, 0.5))
        agent.program.start()
        return True

    async def _kill_consumer(self) -> bool:
        return await asyncio.to_thread(kill_consumer, self._collector.program)

    async def _stall(self) -> bool:
        self._network.stall()
        return True

    async def _slow(self) -> bool:
        slow = Direction(latency=self._rng.uniform(0.05, 0.4))
        self._network.slow(to_target=slow, to_client=slow)
        return True

    async def _cut(self) -> bool:
        self._network.cut()
        return True

    async def _cut_request(self) -> bool:
        """A part of what agents send has come to the collector, the rest never does."""
        await self._clear()
        self._network.slow(to_target=Direction(bandwidth=_TRICKLE))
        return await self._cut_after(1.5)

    async def _cut_answer(self) -> bool:
        """The collector has taken in what agents sent, and they do not learn it."""
        await self._clear()
        self._network.slow(to_client=Direction(latency=5.0))
        return await self._cut_after(2.0)

    async def _cut_after(self, most_s: float) -> bool:
        await asyncio.sleep(self._rng.uniform(0.5, most_s))
        self._network.cut()
        self._network.slow()
        return True

    async def _refuse(self) -> bool:
        if not self._refuses:
            self._network.refuse()
            self._refuses = True
        # Who keeps a connection need not ask for a new one.
        self._network.cut()
        return True

    async def _clear(self) -> bool:
        if self._refuses:
            self._network.accept()
            self._refuses = False
        self._network.resume()
        self._network.slow()
        return True
