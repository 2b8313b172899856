"""Keeps the spool's events going to where they are wanted, and says when they cannot."""

import asyncio

import structlog

from agent.events_file import ReaderGoneError
from agent.outlet import Outlet
from probes.contract.errors import SpoolError

log = structlog.get_logger(__name__)

_AGAIN_S = 5.0
_FLUSH_S = 1.0


async def hand_over(outlet: Outlet) -> None:
    """Hand events over for ever; what fails there is not the spool's trouble, where they stay.

    Raises:
        ReaderGoneError: there is nobody to hand them to, and trying again mends nothing.
    """
    told: str | None = None
    while True:
        try:
            await outlet.run()
        except ReaderGoneError:
            raise
        except SpoolError as error:
            if told != str(error):
                log.error(  # noqa: TRY400 - a full disk is no bug of ours: no traceback
                    "events cannot be handed over, they stay in the spool", error=str(error)
                )
            told = str(error)
        await asyncio.sleep(_AGAIN_S)


async def flush(outlet: Outlet) -> None:
    """Hand over what is in the spool, as far as that is possible now."""
    try:
        async with asyncio.timeout(_FLUSH_S):
            await outlet.drain()
    except (SpoolError, TimeoutError):
        log.warning("events stay in the spool for the next start")
