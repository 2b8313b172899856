"""How long the event loop has stood still, so that it is not taken for somebody else's silence.

While this host's loop is blocked, or its process is stopped, replies wait unread and timers run
on. So the time for which a timer comes too late is added up, and every limit is given that much
more: whoever is blamed had the whole time.
"""

import asyncio
from types import TracebackType
from typing import Self
from weakref import WeakKeyDictionary

_TICK_S = 0.1
# A timer of a busy loop is always a little late.
_NOISE_S = 0.05

LATE_S = 0.5
"""Seconds of standing still that tell.

What is so much past its limit, and past what that was given for the stalls that were seen,
can only have been held up by this host itself. And whoever hangs up on a host that has stood still
for so long has reason to.
"""


class Stalls:
    """What one loop's standing still adds up to, in seconds; looked at ten times a second.

    Of each stall up to a tenth of a second goes unseen.
    """

    def __init__(self) -> None:
        self._total_s = 0.0
        self._watchers = 0
        self._due = 0.0
        self._timer: asyncio.TimerHandle | None = None

    def watch(self) -> None:
        """Look, until as many have called :meth:`unwatch` as have called this."""
        self._watchers += 1
        if self._watchers == 1:
            self._wait()

    def unwatch(self) -> None:
        """One less wants to know."""
        self._watchers -= 1
        if self._watchers == 0 and self._timer is not None:
            self._total_s = self.total_s()
            self._timer.cancel()
            self._timer = None

    def total_s(self) -> float:
        """Seconds that were lost to stalls so far, those of one that is just over included."""
        if self._timer is None:
            return self._total_s
        late_s = asyncio.get_running_loop().time() - self._due
        return self._total_s + (late_s if late_s > _NOISE_S else 0.0)

    def _wait(self) -> None:
        loop = asyncio.get_running_loop()
        self._due = loop.time() + _TICK_S
        self._timer = loop.call_at(self._due, self._tick)

    def _tick(self) -> None:
        self._total_s = self.total_s()
        self._wait()


_OF_LOOPS: WeakKeyDictionary[asyncio.AbstractEventLoop, Stalls] = WeakKeyDictionary()


def stalls() -> Stalls:
    """The running loop's stalls."""
    return _OF_LOOPS.setdefault(asyncio.get_running_loop(), Stalls())


class Patience:
    """As ``asyncio.timeout(limit)``, but longer by what the loop stands still meanwhile."""

    def __init__(self, limit: float) -> None:
        self._limit = limit
        self._scope = asyncio.timeout(None)
        self._stalls = stalls()
        self._given_s = 0.0
        self._deadline = 0.0
        self._timer: asyncio.TimerHandle | None = None

    async def __aenter__(self) -> Self:
        await self._scope.__aenter__()
        self._given_s = self._stalls.total_s()
        self._until(asyncio.get_running_loop().time() + self._limit)
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._timer is not None:
            self._timer.cancel()
        await self._scope.__aexit__(kind, error, traceback)

    def _until(self, deadline: float) -> None:
        self._deadline = deadline
        self._timer = asyncio.get_running_loop().call_at(deadline, self._ring)

    def _ring(self) -> None:
        total_s = self._stalls.total_s()
        owed_s, self._given_s = total_s - self._given_s, total_s
        if owed_s > 0.0:
            self._until(self._deadline + owed_s)
        else:
            self._scope.reschedule(self._deadline)
