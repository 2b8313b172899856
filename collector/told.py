"""What a service is told by signals, from its first moment on: to stop, to read all again."""

import asyncio
import contextlib
import os
import signal
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

import structlog

log = structlog.get_logger(__name__)

Reload = Callable[[], Awaitable[Any]]


class Told:
    """What a service was told: ``stop`` is set once it is to stop."""

    def __init__(self) -> None:
        self.stop = asyncio.Event()
        self.serving = asyncio.Event()
        self._reload: Reload | None = None

    def serves(self, reload: Reload) -> None:
        """It has started; what it was told meanwhile to read again it reads now, by ``reload``."""
        self._reload = reload
        self.serving.set()

    async def reload(self) -> None:
        """Read everything again; while it starts, once it serves."""
        await self.serving.wait()
        if self._reload is not None:
            await self._reload()


async def heeding(work: Callable[[Told], Awaitable[None]]) -> None:
    """Do a service's work, which calls :meth:`Told.serves` and ends when :attr:`Told.stop` is set.

    SIGTERM and SIGINT stop it in order, also while it starts; a second one ends the process at
    once. SIGHUP reads everything again.

    Raises:
        MailcanaryError: what the work raised.
    """
    told = Told()
    with _signals(told):
        at_work = asyncio.ensure_future(work(told))
        stopped = asyncio.ensure_future(told.stop.wait())
        try:
            await asyncio.wait({at_work, stopped}, return_when=asyncio.FIRST_COMPLETED)
            if not told.serving.is_set() and not at_work.done():
                # What was opened is closed again.
                at_work.cancel()
                with contextlib.suppress(asyncio.CancelledError):
                    await at_work
            else:
                await at_work
        finally:
            for task in (at_work, stopped):
                task.cancel()
            await asyncio.gather(at_work, stopped, return_exceptions=True)


@contextlib.contextmanager
def _signals(told: Told) -> Iterator[None]:
    loop = asyncio.get_running_loop()
    reloading: set[asyncio.Future[Any]] = set()

    def on_stop(number: int) -> None:
        if told.stop.is_set():
            os._exit(128 + number)
        log.info("stopping", signal=signal.Signals(number).name)
        told.stop.set()

    def on_reload() -> None:
        task = asyncio.ensure_future(told.reload())
        reloading.add(task)
        task.add_done_callback(reloading.discard)

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, on_stop, number)
    loop.add_signal_handler(signal.SIGHUP, on_reload)
    # One that came before the loop did was kept by the kernel until now.
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGHUP})
    try:
        yield
    finally:
        for task in reloading:
            task.cancel()
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            loop.remove_signal_handler(number)
