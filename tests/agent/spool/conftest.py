"""Fixtures of the spool's tests."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from agent.spool.schema import OpenSpool, open_spool


@pytest.fixture
def opened(tmp_path: Path) -> Iterator[OpenSpool]:
    """An open spool file."""
    one = open_spool(tmp_path)
    yield one
    one.connection.close()
    one.lock.close()
