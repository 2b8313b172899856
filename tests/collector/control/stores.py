"""Control files for tests, and clocks moved by hand."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from collector.control.store import ControlStore

NOW_NS = 1_800_000_000_000_000_000


class HandClock:
    """A wall clock in nanoseconds and a monotonic one in seconds."""

    def __init__(self) -> None:
        self.ns = NOW_NS

    def wall_ns(self) -> int:
        """The wall clock."""
        return self.ns

    def monotonic(self) -> float:
        """The monotonic clock."""
        return self.ns / 1e9

    def advance(self, seconds: float) -> None:
        """Let time pass."""
        self.ns += round(seconds * 1e9)


@asynccontextmanager
async def control_store(directory: Path) -> AsyncIterator[ControlStore]:
    """The control file of a collector that runs."""
    store = ControlStore.open(directory)
    try:
        yield store
    finally:
        store.close()
