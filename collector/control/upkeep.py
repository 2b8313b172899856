"""What has to be done now and then: agents' standings looked at, and what is known written down."""

import asyncio
import contextlib

import structlog

from collector.control.agents import AgentRegistry
from collector.control.schema import ControlError
from collector.control.tokens import Tokens

log = structlog.get_logger(__name__)


async def keep_up(
    agents: AgentRegistry, tokens: Tokens, stop: asyncio.Event, *, every_s: float = 10.0
) -> None:
    """Do it every ``every_s`` seconds until ``stop``, and once more then.

    A control file that cannot be written is logged and tried again; nothing here depends on it.
    """
    while True:
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(stop.wait(), every_s)
        agents.changes()
        try:
            await agents.flush()
            await tokens.write_uses()
        except ControlError as error:
            log.warning("what is known of agents and tokens could not be kept", error=str(error))
        if stop.is_set():
            return
