"""Keeps the spool's events going to where they are wanted, and says when they cannot."""

import asyncio

import structlog

from agent.events_file import ReaderGoneError
from agent.outlet import Outlet
from probes.contract.errors import SpoolError

log = structlog.get_logger(__name__)

_AGAIN_S = 5.0
_FLUSH_S = 1.0


class _Told:
    """What the log was told of the handing over: each change once, in both directions."""

    def __init__(self) -> None:
        self._problem: str | None = None

    def fails(self, error: SpoolError) -> None:
        if self._problem != str(error):
            log.error("events cannot be handed over, they stay in the spool", error=str(error))
        self._problem = str(error)

    def works(self) -> None:
        if self._problem is not None:
            log.info("events are handed over again", before=self._problem)
        self._problem = None


async def hand_over(outlet: Outlet, again_s: float = _AGAIN_S) -> None:
    """Hand events over for ever; what fails there is not the spool's trouble, where they stay.

    Raises:
        ReaderGoneError: there is nobody to hand them to, and trying again mends nothing.
    """
    told = _Told()
    while True:
        try:
            await outlet.run(told.works)
        except ReaderGoneError:
            raise
        except SpoolError as error:
            told.fails(error)
        await asyncio.sleep(again_s)


async def flush(outlet: Outlet) -> None:
    """Hand over what is in the spool, as far as that is possible now."""
    try:
        async with asyncio.timeout(_FLUSH_S):
            await outlet.drain()
    except (SpoolError, TimeoutError):
        log.warning("events stay in the spool for the next start")
