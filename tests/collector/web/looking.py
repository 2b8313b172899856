"""A server of what an agent on relay-a sees: a canary of each customer's in its queue."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from aiohttp import ClientSession

from collector.rollup.reader import RollupReader
from collector.web.series import ROLLUP
from probes.contract.stages import Reason
from tests.collector.memory_log import MemoryLog
from tests.collector.rollup.histories import (
    ACME,
    ZENITH,
    config,
    egress,
    intent,
    listed,
    queue_look,
    submission,
    tick,
)
from tests.collector.rollup.recount import rolled_up
from tests.collector.web.servers import started

if TYPE_CHECKING:
    from probes.contract.events import Event


@asynccontextmanager
async def looking(directory: Path) -> AsyncIterator[ClientSession]:
    """Port 25 of one host does not answer; of three looks one is stale at the end."""
    sent = [intent(1, ACME), intent(2, ZENITH)]
    handed = [submission(one, queue_id=f"Q{number}") for number, one in enumerate(sent, 1)]
    look = queue_look(60, *(listed(one, f"Q{number}") for number, one in enumerate(sent, 1)))
    looks: list[tuple[float, Event]] = [
        (1.0, egress(0, host="mx2.bigmail.example")),
        (61.0, egress(60, ok=False, reason=Reason.TIMEOUT)),
        (61.0, look),
        (120.0, tick(120)),
    ]
    log = MemoryLog(rolled_up(directory, [config("r1", "aws"), *sent, *handed, *looks]))
    async with started({ROLLUP: RollupReader(directory, log)}) as client:
        yield client
