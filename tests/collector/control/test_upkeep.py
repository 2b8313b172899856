"""What is known is kept when the collector ends, at the latest."""

import asyncio
from pathlib import Path

from collector.control.agents import AgentRegistry
from collector.control.principal import Kind
from collector.control.tokens import Tokens
from collector.control.upkeep import keep_up
from tests.collector.control.beats import beat
from tests.collector.control.stores import NOW_NS, HandClock, control_store


async def test_what_is_known_is_kept_at_the_end(tmp_path: Path) -> None:
    clock = HandClock()
    async with control_store(tmp_path) as store:
        agents = AgentRegistry(store, 10.0, clock.wall_ns)
        tokens = Tokens(store, clock.wall_ns, clock.monotonic)
        _, text = await tokens.create(Kind.AGENT, "sfo", who="test")
        await tokens.verify(text.reveal())
        agents.beat("sfo", beat())
        stop = asyncio.Event()
        stop.set()
        await keep_up(agents, tokens, stop)
        again = AgentRegistry(store, 10.0, clock.wall_ns)
        await again.load()
        assert [view.name for view in again.all()] == ["sfo"]
        assert (await tokens.listing())[0].last_used_ns == NOW_NS


async def test_a_file_that_cannot_be_written_ends_nothing(tmp_path: Path) -> None:
    async with control_store(tmp_path) as store:
        agents = AgentRegistry(store, 10.0, HandClock().wall_ns)
        tokens = Tokens(store)
        stop = asyncio.Event()
        stop.set()
    await keep_up(agents, tokens, stop)
