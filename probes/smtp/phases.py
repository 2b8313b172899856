"""The clock of a submission."""

import asyncio
from collections.abc import Callable

from probes.contract.stages import Stage

LATE_S = 0.5
"""Seconds past its limit at which a stage can only have been held up by this host itself.

A timer ends every stage at its limit. When the loop was blocked or the machine stood still, timer
and reply are both there when it goes on, and the timer wins: that is not the relay's silence.
"""


class Phases:
    """The stage that is going on, its time limit, and the seconds that each stage took.

    One ``asyncio.Timeout`` serves all stages in turn: its deadline is moved at each, which costs a
    timer and neither a task nor a scope.
    """

    def __init__(self, monotonic: Callable[[], float], scope: asyncio.Timeout) -> None:
        self.stage = Stage.RESOLVE
        self.limit: float | None = None
        self.seconds: dict[str, float] = {}
        self._monotonic = monotonic
        self._scope = scope
        self._since = monotonic()

    def begin(self, stage: Stage, limit: float | None) -> None:
        """Begin a stage, where the one before ended; it may take ``limit`` seconds."""
        self.stage = stage
        self.limit_to(limit)

    def end(self) -> None:
        """End the stage that is going on. (It stays :attr:`stage`, to say where things ended.)"""
        now = self._monotonic()
        self.seconds[self.stage.value] = now - self._since
        self._since = now

    def overran(self) -> bool:
        """Whether the stage that was ended took longer than any relay can make it take."""
        took = self.seconds.get(self.stage.value, 0.0)
        return self.limit is not None and took > self.limit + LATE_S

    def limit_to(self, limit: float | None) -> None:
        """Move the deadline to ``limit`` seconds from now."""
        self.limit = limit
        now = asyncio.get_running_loop().time()
        self._scope.reschedule(None if limit is None else now + limit)
