"""Servers that the tests of the IMAP probe talk to."""

from collections.abc import AsyncIterator

import pytest

from tests.probes.imap.scripted import ScriptedServer


@pytest.fixture
async def server() -> AsyncIterator[ScriptedServer]:
    """A scripted server that answers well until a test scripts it otherwise."""
    async with ScriptedServer().running() as running:
        yield running
