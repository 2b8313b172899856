"""Fixtures of the agent's tests."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.agent.fakes import HandClock, InlineSpool


@pytest.fixture
def clock() -> HandClock:
    """Clocks that are moved by hand."""
    return HandClock()


@pytest.fixture
def inline_spool(tmp_path: Path) -> Iterator[InlineSpool]:
    """A real spool file that is worked on without a thread."""
    spool = InlineSpool(tmp_path / "state")
    yield spool
    spool.close()
