"""A server of the rollup of three canaries, for whoever asks over HTTP."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from aiohttp import ClientSession

from collector.rollup.reader import RollupReader
from collector.web.series import ROLLUP
from tests.collector.memory_log import MemoryLog
from tests.collector.rollup.histories import (
    ACME,
    ZENITH,
    accepted,
    arrival,
    config,
    expiry,
    intent,
    tick,
)
from tests.collector.rollup.recount import rolled_up
from tests.collector.web.servers import started


@asynccontextmanager
async def serving(directory: Path, dropped: int = 0) -> AsyncIterator[ClientSession]:
    """Two canaries of acme, one of them lost, and one of zenith."""
    sent = [intent(1, ACME), intent(2, ACME, 1), intent(3, ZENITH, 2)]
    events = [config("r1", "aws"), *accepted(*sent), arrival(sent[0]), arrival(sent[2])]
    log = MemoryLog(rolled_up(directory, [*events, expiry(sent[1]), tick(30)]))
    log.drop(dropped)
    async with started({ROLLUP: RollupReader(directory, log)}) as client:
        yield client
