"""Keeps the parts of an agent at work: what fails in one of them costs it seconds, and no other."""

import asyncio
from collections.abc import Awaitable, Callable

import structlog

from agent.events_file import ReaderGoneError
from agent.health import Health
from agent.spool.schema import SpoolDamagedError
from probes.contract.errors import SpoolError

log = structlog.get_logger(__name__)

_AGAIN_S = 5.0

Work = Callable[[], Awaitable[object]]


class Supervisor:
    """Runs works for ever. ``over`` is set, and ``why`` says so, when only a restart may help."""

    def __init__(self, health: Health) -> None:
        self._health = health
        self.over = asyncio.Event()
        self.why: SpoolError | None = None

    async def keep(self, work: Work, name: str) -> None:
        """Run a work for ever; a fault of our own in it is logged and costs five seconds."""
        while True:
            try:
                await work()
            except ReaderGoneError as error:
                self._end(error)
            except SpoolError as error:
                self.spool_failed(error)
            except Exception:
                log.exception("a part of the agent failed and is started again", part=name)
            await asyncio.sleep(_AGAIN_S)

    def spool_failed(self, error: SpoolError) -> None:
        """Note that the spool could not be written."""
        if self._health.spool_problem != str(error):
            log.error("the spool cannot be written", error=str(error))
        self._health.spool_problem = str(error)
        if isinstance(error, SpoolDamagedError):
            self._end(error)

    def _end(self, error: SpoolError) -> None:
        self.why = error
        self.over.set()


def every(seconds: float, work: Work) -> Work:
    """A work that does another now and again, ``seconds`` after its end."""

    async def loop() -> None:
        while True:
            await work()
            await asyncio.sleep(seconds)

    return loop
