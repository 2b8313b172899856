"""Saying no early: how much may be taken in at once, so that overload keeps memory bounded."""

import asyncio
import contextlib
from collections import Counter
from collections.abc import AsyncIterator
from dataclasses import dataclass

from probes.contract.errors import MailcanaryError


class BusyError(MailcanaryError):
    """Come again after ``retry_after_s`` seconds; ``mine`` when only this caller is too much."""

    def __init__(self, text: str, retry_after_s: float, *, mine: bool) -> None:
        super().__init__(text)
        self.retry_after_s = retry_after_s
        self.mine = mine


@dataclass(frozen=True, slots=True)
class Room:
    """How many batches may be taken in at once, in all and of one agent, and how many may wait."""

    working: int = 8
    waiting: int = 56
    per_agent: int = 2
    retry_after_s: float = 1.0


class Admission:
    """Hands out places for batches. Used from one event loop.

    A batch that has a place holds at most its compressed and its plain bound in memory, so the
    places bound the memory of all.
    """

    def __init__(self, room: Room = Room()) -> None:
        self._room = room
        self._working = asyncio.Semaphore(room.working)
        self._agents: Counter[str] = Counter()
        self.turned_away: Counter[str] = Counter()

    @property
    def inside(self) -> int:
        """How many batches are being taken in or wait for it."""
        return self._agents.total()

    @contextlib.asynccontextmanager
    async def place(self, agent: str) -> AsyncIterator[None]:
        """A place for one batch of ``agent``, from before its body is read until it is answered.

        Raises:
            BusyError: there is none.
        """
        room = self._room
        if self._agents[agent] >= room.per_agent:
            self.turned_away["agent"] += 1
            text = f"{agent}: found {room.per_agent} batches under way, allowed is {room.per_agent}"
            raise BusyError(text, room.retry_after_s, mine=True)
        if self.inside >= room.working + room.waiting:
            self.turned_away["all"] += 1
            text = (
                f"found {self.inside} batches under way, allowed is {room.working + room.waiting}"
            )
            raise BusyError(text, room.retry_after_s, mine=False)
        self._agents[agent] += 1
        try:
            yield
        finally:
            self._agents[agent] -= 1
            if not self._agents[agent]:
                del self._agents[agent]

    @contextlib.asynccontextmanager
    async def turn(self) -> AsyncIterator[None]:
        """A turn to unpack and judge, of those who have a place; waits for one."""
        async with self._working:
            yield
