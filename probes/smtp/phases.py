"""The clock of a submission."""

import asyncio
from collections.abc import Callable
from types import TracebackType
from typing import Self

from probes.contract.stages import Stage
from probes.stalls import LATE_S, stalls


class Phases:
    """The stage that is going on, its time limit, and the seconds that each stage took.

    A context that raises TimeoutError when a stage overruns, as :func:`asyncio.timeout` would. One
    timer serves all stages in turn: most begin and end before it runs out, so it is set anew only
    then, or for a limit that ends sooner; until then the deadline is a number. A limit is longer by
    what the loop stands still meanwhile: the reply may be there, and nobody had time to read it.
    """

    def __init__(self, monotonic: Callable[[], float]) -> None:
        self.stage = Stage.RESOLVE
        self.limit: float | None = None
        self.seconds: dict[str, float] = {}
        self._monotonic = monotonic
        self._since = monotonic()
        self._loop = asyncio.get_running_loop()
        self._deadline: float | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._timer_at = 0.0
        self._overrun = False
        self._task: asyncio.Task[object] | None = None
        self._cancelling = 0
        self._stalls = stalls()
        self._given_s = self._stood_before_s = self._stalls.total_s()
        self.stood_s = 0.0
        """Seconds of the stage that was ended last for which the loop stood still."""

    async def __aenter__(self) -> Self:
        self._task = asyncio.current_task()
        if self._task is None:
            raise RuntimeError("a submission needs a task of its own")
        self._cancelling = self._task.cancelling()
        self._stalls.watch()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        task, self._task = self._task, None
        self._deadline = None
        self._stalls.unwatch()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if not self._overrun or task is None:
            return
        # As asyncio.Timeout: somebody else's cancellation goes on as one.
        if task.uncancel() <= self._cancelling and kind is asyncio.CancelledError:
            raise TimeoutError from error

    def begin(self, stage: Stage, limit: float | None) -> None:
        """Begin a stage, where the one before ended; it may take ``limit`` seconds."""
        self.stage = stage
        self.limit_to(limit)

    def end(self) -> None:
        """End the stage that is going on. (It stays :attr:`stage`, to say where things ended.)"""
        now = self._monotonic()
        self.seconds[self.stage.value] = now - self._since
        self._since = now
        self.stood_s = self.standing_s()
        self._stood_before_s += self.stood_s

    def standing_s(self) -> float:
        """Seconds of the stage that is going on for which the loop has stood still."""
        return self._stalls.total_s() - self._stood_before_s

    def overran(self) -> bool:
        """Whether the stage that was ended took longer than any relay can make it take."""
        took = self.seconds.get(self.stage.value, 0.0) - self.stood_s
        return self.limit is not None and took > self.limit + LATE_S

    def limit_to(self, limit: float | None) -> None:
        """Move the deadline to ``limit`` seconds from now."""
        self.limit = limit
        if limit is None:
            self._deadline = None
            return
        # What was lost when the stage before ended: asking for it again would tell the same.
        self._given_s = self._stood_before_s
        self._deadline = deadline = self._loop.time() + limit
        if self._timer is None or deadline < self._timer_at:
            self._set_timer(deadline)

    def _set_timer(self, at: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = self._loop.call_at(at, self._ring)
        self._timer_at = at

    def _ring(self) -> None:
        self._timer = None
        if self._deadline is None or self._task is None:
            return
        # Loops round their timers, so one may ring a moment before its time.
        if self._deadline > self._timer_at:
            self._set_timer(self._deadline)
            return
        total_s = self._stalls.total_s()
        owed_s, self._given_s = total_s - self._given_s, total_s
        if owed_s > 0.0:
            self._deadline += owed_s
            self._set_timer(self._deadline)
            return
        self._overrun = True
        self._task.cancel()
