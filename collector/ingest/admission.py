"""Saying no early: how much may be taken in at once, so that overload keeps memory bounded."""

import asyncio
import contextlib
import math
import time
from collections import Counter, deque
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass

import structlog

from collector.allowance import Allowance
from collector.ingest.quota import ByteQuota
from probes.contract.errors import MailcanaryError

log = structlog.get_logger(__name__)

TOLD_S = 900.0
"""How long it is told that an agent was past its quota: longer than agents wait to try again."""

_REASONS = ("rate", "agent", "quota", "epochs", "places", "bytes")
_OF_ONE = _REASONS[:4]
_TOLD = _REASONS[2:4]
"""What no agent comes to that works as it should."""


class BusyError(MailcanaryError):
    """Come again after ``retry_after_s`` seconds; ``mine`` when only this caller is too much."""

    def __init__(self, text: str, retry_after_s: int, *, mine: bool) -> None:
        super().__init__(text)
        self.retry_after_s = retry_after_s
        self.mine = mine


@dataclass(frozen=True, slots=True)
class Room:
    """How much may be taken in at once.

    ``places`` batches in all and ``per_agent`` of one agent, whose bodies together have at most
    ``body_bytes``; more are turned away. What they unpack to takes at most ``plain_bytes``, and
    waits its turn. An agent may send ``per_minute`` batches, a minute's worth of them at once, put
    ``bytes_per_hour`` into the log (:class:`collector.ingest.quota.ByteQuota`), begin
    ``new_epochs`` in a day and ``epochs`` in all (:class:`collector.ingest.epochs.Epochs`).
    """

    places: int = 64
    per_agent: int = 2
    body_bytes: int = 64 << 20
    plain_bytes: int = 192 << 20
    per_minute: int = 600
    bytes_per_hour: int = 2 << 30
    new_epochs: int = 32
    epochs: int = 1000

    @classmethod
    def of(cls, megabytes: int, **bounds: int) -> "Room":
        """Room within ``megabytes`` MiB, a quarter of it for bodies as they come."""
        body_bytes = (megabytes << 20) // 4
        return cls(body_bytes=body_bytes, plain_bytes=(megabytes << 20) - body_bytes, **bounds)


class Admission:
    """Hands out places for batches, and memory to unpack them. Used from one event loop.

    ``turned_away`` counts by reason: ``rate``, ``agent``, ``quota`` and ``epochs`` are one agent's
    doing, ``places`` and ``bytes`` everybody's.
    """

    def __init__(
        self, room: Room | None = None, monotonic: Callable[[], float] = time.monotonic
    ) -> None:
        self.room = room or Room()
        self._monotonic = monotonic
        self.quota = ByteQuota(self.room.bytes_per_hour, monotonic)
        self._agents: Counter[str] = Counter()
        self._batches = Allowance(self.room.per_minute, 60.0 / self.room.per_minute, monotonic)
        self._bytes = 0
        self.memory = Budget(self.room.plain_bytes)
        self._told: dict[tuple[str, str], tuple[float, str]] = {}
        self.turned_away = Counter(dict.fromkeys(_REASONS, 0))

    @property
    def inside(self) -> int:
        """How many batches are being taken in or wait for it."""
        return self._agents.total()

    @property
    def body_bytes(self) -> int:
        """How many bytes the bodies of those may have together."""
        return self._bytes

    @contextlib.contextmanager
    def place(self, agent: str, body_bytes: int) -> Iterator[None]:
        """A place for one batch of ``agent``, from before its body is read until it is answered.

        ``body_bytes`` is the most that the body may have.

        Raises:
            BusyError: there is none.
        """
        room = self.room
        # A body larger than all that is allowed at once still has to get in when it comes alone.
        size = min(body_bytes, room.body_bytes)
        if self._agents[agent] >= room.per_agent:
            raise self.busy("agent", agent, f"{room.per_agent} batches of {agent} under way")
        if wait_s := self.quota.wait_s(agent):
            text = f"more than {room.bytes_per_hour} bytes of {agent} within an hour"
            raise self.busy("quota", agent, text, math.ceil(wait_s))
        if self.inside >= room.places:
            raise self.busy("places", agent, f"{room.places} batches under way")
        if self._bytes + size > room.body_bytes:
            raise self.busy("bytes", agent, f"batches of {self._bytes} bytes under way")
        if wait_s := self._batches.wait_s(agent):
            text = f"more than {room.per_minute} batches of {agent} a minute"
            raise self.busy("rate", agent, text, math.ceil(wait_s))
        self._batches.spend(agent)
        self._agents[agent] += 1
        self._bytes += size
        try:
            yield
        finally:
            self._bytes -= size
            self._agents[agent] -= 1
            if not self._agents[agent]:
                del self._agents[agent]

    def busy(self, why: str, agent: str, found: str, retry_after_s: int = 1) -> BusyError:
        """The error that turns a batch of ``agent`` away, counted."""
        self.turned_away[why] += 1
        if why in _TOLD:
            self._tell(why, agent, found)
        return BusyError(
            f"found {found}, which is all that is allowed", retry_after_s, mine=why in _OF_ONE
        )

    def told(self) -> list[str]:
        """Which agents were past their quotas lately, for the operator."""
        since_s = self._monotonic() - TOLD_S
        self._told = {who: what for who, what in self._told.items() if what[0] >= since_s}
        return [text for _, (_, text) in sorted(self._told.items())]

    def _tell(self, why: str, agent: str, found: str) -> None:
        now_s = self._monotonic()
        last = self._told.get((agent, why))
        if last is None or last[0] < now_s - TOLD_S:
            log.warning("an agent is past its quota", agent=agent, why=why, found=found)
        self._told[agent, why] = (now_s, f"agent {agent} is turned away: {found}")


class Budget:
    """An amount of which parts are held for a time, in the order in which they were asked for."""

    def __init__(self, total: int) -> None:
        self.total = total
        self.free = total
        self._waiting: deque[tuple[int, asyncio.Future[None]]] = deque()

    @contextlib.asynccontextmanager
    async def hold(self, amount: int) -> AsyncIterator[None]:
        """Hold ``amount``, or all there is when it is more than that; waits until it is free."""
        amount = min(amount, self.total)
        if self._waiting or amount > self.free:
            await self._wait(amount)
        else:
            self.free -= amount
        try:
            yield
        finally:
            self._give(amount)

    async def _wait(self, amount: int) -> None:
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append((amount, future))
        try:
            await future
        except asyncio.CancelledError:
            if future.done() and not future.cancelled():
                self._give(amount)  # it was granted at the very moment when nobody wanted it more
            else:
                future.cancel()
                self._give(0)  # those behind it may fit
            raise

    def _give(self, amount: int) -> None:
        self.free += amount
        while self._waiting:
            wanted, future = self._waiting[0]
            if not future.cancelled():
                if wanted > self.free:
                    return
                self.free -= wanted
                future.set_result(None)
            self._waiting.popleft()
