"""An asyncio event loop in which time passes only by jumping to the next thing that is due."""

import asyncio
import selectors
from collections.abc import Callable
from concurrent.futures import Executor
from functools import partial
from typing import TypeVar, TypeVarTuple

T = TypeVar("T")
Ts = TypeVarTuple("Ts")


class StandstillError(RuntimeError):
    """Nothing is ready, nothing is due: the simulated program waits for something for ever."""


class _Jumping(selectors.SelectSelector):
    """Waits by moving the loop's clock; no file descriptor is ever ready."""

    def __init__(self) -> None:
        super().__init__()
        self.now_s = 0.0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        if timeout is None:
            raise StandstillError("the simulation stands still")
        self.now_s += timeout
        return []


class VirtualLoop(asyncio.SelectorEventLoop):
    """A loop with its own time, in seconds from 0.

    ``pick_s`` draws how long work in another thread takes until it begins and until its end is
    known. Such work goes on when its caller is cancelled, as in a thread.
    """

    def __init__(self) -> None:
        self._jumping = _Jumping()
        super().__init__(self._jumping)
        self.pick_s: Callable[[], float] = lambda: 0.0

    def time(self) -> float:
        """The virtual time."""
        return self._jumping.now_s

    def stall(self, seconds: float) -> None:
        """Let time pass in which nothing can run: the whole machine is suspended."""
        self._jumping.now_s += seconds

    def run_in_executor(
        self,
        executor: Executor | None,  # noqa: ARG002 - this loop is every executor
        func: Callable[[*Ts], T],
        *args: *Ts,
    ) -> asyncio.Future[T]:
        """Run ``func`` a little later, and tell its result later still."""
        future: asyncio.Future[T] = self.create_future()

        def tell(settle: Callable[[], None]) -> None:
            if not future.done():
                settle()

        def work() -> None:
            try:
                result = func(*args)
            except Exception as error:  # noqa: BLE001 - whatever it raised is its caller's
                self.call_later(self.pick_s(), tell, partial(future.set_exception, error))
            else:
                self.call_later(self.pick_s(), tell, partial(future.set_result, result))

        self.call_later(self.pick_s(), work)
        return future
