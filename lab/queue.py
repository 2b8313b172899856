"""A relay's queue: what was accepted and is not delivered yet, and when it is tried again."""

import asyncio
import random
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from enum import StrEnum

from lab.board import Board
from lab.faults import Hold, Reorder, SlowPath
from lab.specs import Retry
from lab.truth import Pulse


class State(StrEnum):
    """Where in the queue a message is, in Postfix's words."""

    INCOMING = "incoming"
    """Not tried yet: on a slow path, or gathered to be reordered."""
    ACTIVE = "active"
    DEFERRED = "deferred"
    HOLD = "hold"


@dataclass(slots=True, eq=False)
class Entry:
    """One message for one recipient. ``reason`` says why it is still here, as a mail log would."""

    queue_id: str
    sender: str
    recipient: str
    mailbox: str | None
    message_id: str | None
    content: bytes = field(repr=False)
    accepted_ns: int
    notify: frozenset[str] | None = None
    ret: str | None = None
    envid: str | None = None
    orcpt: str | None = None
    state: State = State.INCOMING
    reason: str = ""
    attempts: int = 0
    warned: bool = False
    wake: asyncio.Event = field(default_factory=asyncio.Event, repr=False)
    after: asyncio.Event | None = field(default=None, repr=False)
    tried: asyncio.Event = field(default_factory=asyncio.Event, repr=False)

    def age_s(self, now_ns: int) -> float:
        """Seconds since acceptance."""
        return (now_ns - self.accepted_ns) / 1e9


class MailQueue:
    """Carries every entry in a task of its own, at most ``concurrency`` deliveries at a time.

    ``attempt`` makes one delivery attempt and returns whether the entry is done with; it sets the
    entry's reason if not.
    """

    def __init__(
        self,
        relay: str,
        *,
        board: Board,
        pulse: Pulse,
        retry: Retry,
        concurrency: int,
        rng: random.Random,
        attempt: Callable[[Entry], Awaitable[bool]],
    ) -> None:
        self._relay = relay
        self._board = board
        self._pulse = pulse
        self._retry = retry
        self._slots = asyncio.Semaphore(concurrency)
        self._rng = rng
        self._attempt = attempt
        self._carriers: dict[Entry, asyncio.Task[None]] = {}
        self._window: list[Entry] = []
        self._window_timer: asyncio.TimerHandle | None = None
        self._turn: asyncio.Event | None = None  # set once the one released last was tried

    @property
    def entries(self) -> list[Entry]:
        """What is in the queue, the oldest first."""
        return list(self._carriers)

    def put(self, entry: Entry) -> None:
        """Take an entry in and begin to carry it."""
        task = asyncio.get_running_loop().create_task(self._carry(entry))
        self._carriers[entry] = task
        task.add_done_callback(lambda _task: self._forget(entry))
        self._pulse.beat()

    def flush(self) -> None:
        """Try every deferred entry now, as ``postqueue -f`` does."""
        for entry in self._carriers:
            if entry.state is State.DEFERRED:
                entry.wake.set()

    def refresh(self) -> None:
        """Look at the fault board again: what is held or gathered may be free to go."""
        if any(self._reorder(entry) is None for entry in self._window):
            self._release_window()
        for entry in self._carriers:
            if entry.state is State.HOLD:
                entry.wake.set()

    async def close(self) -> None:
        """Stop; what is in the queue is forgotten."""
        if self._window_timer is not None:
            self._window_timer.cancel()
        carriers = list(self._carriers.values())
        for carrier in carriers:
            carrier.cancel()
        await asyncio.gather(*carriers, return_exceptions=True)

    def _reorder(self, entry: Entry) -> Reorder | None:
        return self._board.find(Reorder, relay=self._relay, mailbox=entry.mailbox)

    def _forget(self, entry: Entry) -> None:
        self._carriers.pop(entry, None)
        self._pulse.beat()

    def _set(self, entry: Entry, state: State, reason: str) -> None:
        entry.state, entry.reason = state, reason
        self._pulse.beat()

    async def _carry(self, entry: Entry) -> None:
        try:
            await self._slow_down(entry)
            await self._gather(entry)
            while True:
                await self._while_held(entry)
                async with self._slots:
                    self._set(entry, State.ACTIVE, entry.reason)
                    entry.attempts += 1
                    done = await self._attempt(entry)
                entry.tried.set()
                if done:
                    return
                self._set(entry, State.DEFERRED, entry.reason)
                await self._pause(entry, self._retry.delay(entry.attempts))
        finally:
            entry.tried.set()

    async def _slow_down(self, entry: Entry) -> None:
        slow = self._board.find(SlowPath, relay=self._relay, mailbox=entry.mailbox)
        if slow is not None:
            self._set(entry, State.INCOMING, "on a slow path")
            await asyncio.sleep(slow.latency + self._rng.uniform(0.0, slow.jitter))

    async def _while_held(self, entry: Entry) -> None:
        while self._board.find(Hold, relay=self._relay, mailbox=entry.mailbox) is not None:
            self._set(entry, State.HOLD, "held until released")
            entry.wake.clear()
            await entry.wake.wait()

    async def _pause(self, entry: Entry, seconds: float) -> None:
        entry.wake.clear()
        try:
            async with asyncio.timeout(seconds):
                await entry.wake.wait()
        except TimeoutError:
            pass

    async def _gather(self, entry: Entry) -> None:
        reorder = self._reorder(entry)
        if reorder is None:
            return
        self._set(entry, State.INCOMING, "gathered to be reordered")
        entry.wake.clear()
        self._window.append(entry)
        if len(self._window) >= reorder.window:
            self._release_window()
        elif self._window_timer is None:
            loop = asyncio.get_running_loop()
            self._window_timer = loop.call_later(reorder.flush_after, self._release_window)
        while entry in self._window:
            await entry.wake.wait()
            entry.wake.clear()
        if entry.after is not None:
            await entry.after.wait()

    def _release_window(self) -> None:
        if self._window_timer is not None:
            self._window_timer.cancel()
            self._window_timer = None
        window, self._window = self._window, []
        for entry in reversed(window):
            entry.after = self._turn
            entry.wake.set()
            self._turn = entry.tried
