"""One life of the agent's process: from its start until it ends in order, or is killed."""

import asyncio
from collections import Counter
from collections.abc import Callable, Coroutine
from contextvars import ContextVar
from typing import Any

_OWNER: ContextVar["Life | None"] = ContextVar("owner", default=None)


class Life:
    """What separates a process that was killed from the world, and from its successor.

    Once killed, nothing that its code still does has an effect: every port asks here first.
    ``points`` names moments worth dying at: how often each is passed before the process dies there.
    """

    def __init__(self, points: dict[str, int], trace: Callable[[str], None]) -> None:
        self.alive = True
        self.killed = asyncio.Event()
        self._points = points
        self._passed: Counter[str] = Counter()
        self._trace = trace
        # In the order of their start: a set's order would differ from run to run.
        self._tasks: dict[asyncio.Task[Any], None] = {}

    def start(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """Run the process's main coroutine; every task that it starts belongs to this life."""
        token = _OWNER.set(self)
        try:
            return asyncio.get_running_loop().create_task(work)
        finally:
            _OWNER.reset(token)

    def adopt(self, task: asyncio.Task[Any]) -> None:
        """A task was started by this life's code."""
        self._tasks[task] = None
        task.add_done_callback(lambda done: self._tasks.pop(done, None))

    def kill(self) -> None:
        """The end, at this instant; :meth:`bury` takes the tasks away."""
        if self.alive:
            self._trace("KILLED")
        self.alive = False
        self.killed.set()

    def passes(self, point: str) -> bool:
        """Whether the process lives on past this point; a dead one passes none."""
        if not self.alive:
            return False
        self._passed[point] += 1
        if self._points.get(point) == self._passed[point]:
            self._trace(f"point {point}")
            self.kill()
        return self.alive

    def must_pass(self, point: str) -> None:
        """As :meth:`passes`, for a coroutine: one that does not live on ends here."""
        if not self.passes(point):
            raise asyncio.CancelledError

    async def bury(self) -> None:
        """Take away what is left of a killed process: no code of it runs after this."""
        for _ in range(100):
            if not self._tasks:
                return
            tasks = list(self._tasks)
            for task in tasks:
                task.cancel()
            await asyncio.sleep(0)
        names = [task.get_coro() for task in self._tasks]
        raise RuntimeError(f"tasks that do not end when they are cancelled: {names}")


def owning_factory(loop: asyncio.AbstractEventLoop, coro: Any, **kwargs: Any) -> asyncio.Task[Any]:
    """A task factory that gives each task to the life whose code starts it."""
    task = asyncio.Task(coro, loop=loop, **kwargs)
    owner = _OWNER.get()
    if owner is not None:
        owner.adopt(task)
    return task
