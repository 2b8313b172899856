"""Fixtures for the lab's tests."""

from collections.abc import AsyncIterator

import pytest

from lab.estate import Estate
from lab.specs import RelaySpec, Retry

QUICK = Retry(first=0.05, factor=1.0, longest=0.05)


def quick_relay(name: str) -> RelaySpec:
    """A relay that gives up a connect soon and tries again soon."""
    return RelaySpec(name=name, connect_timeout=0.2, retry=QUICK)


@pytest.fixture
async def estate() -> AsyncIterator[Estate]:
    """Two relays and two mailboxes."""
    relays = [quick_relay("a"), quick_relay("b")]
    async with Estate(relays, ["acme/inbox", "acme/other"]) as running:
        yield running
