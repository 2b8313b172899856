"""The log is told when events can no longer be handed over, and when they can again."""

import asyncio
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
from structlog.testing import capture_logs
from structlog.typing import EventDict

from agent.hand_over import hand_over
from agent.outlet import Outlet
from agent.spool.store import Record
from agent.spool.writer import SpoolWriter
from probes.contract.errors import SpoolError
from probes.contract.events import Tick

FAILS = "events cannot be handed over, they stay in the spool"
WORKS = "events are handed over again"


@pytest.fixture
def spool(tmp_path: Path) -> Iterator[SpoolWriter]:
    """A running spool."""
    writer = SpoolWriter.open(tmp_path / "state")
    yield writer
    writer.close()


class Disk:
    """Refuses as often as it is told, then takes what comes."""

    def __init__(self) -> None:
        self.seq = 0
        self.problems: list[str] = []
        self.took = threading.Event()

    def resume(self, epoch: str) -> int:  # noqa: ARG002 - there is one epoch
        """Where it stands."""
        return self.seq

    def write(self, epoch: str, records: Sequence[Record]) -> None:  # noqa: ARG002 - as above
        """Refuse or take them."""
        if self.problems:
            raise SpoolError(self.problems.pop(0))
        self.seq = records[-1].seq
        self.took.set()

    def close(self) -> None:
        """Nothing to close."""


async def one_event(spool: SpoolWriter, disk: Disk, *problems: str) -> None:
    """Write an event, which the disk takes after these problems."""
    disk.problems = list(problems)
    disk.took.clear()
    await spool.run(lambda store: store.append(Tick(at_ns=1), 1))
    assert await asyncio.to_thread(disk.took.wait, 30)


async def said(logs: list[EventDict], count: int) -> list[tuple[str, str]]:
    """So many lines of the log, with what was or had been wrong."""
    while len(logs) < count:  # noqa: ASYNC110 - a log wakes nobody
        await asyncio.sleep(0)
    return [(entry["event"], entry.get("error", entry.get("before"))) for entry in logs]


async def test_each_change_is_told_once_and_recovery_too(spool: SpoolWriter) -> None:
    disk = Disk()
    with capture_logs() as logs:
        async with asyncio.timeout(30):
            handing_over = asyncio.create_task(hand_over(Outlet(spool, disk), again_s=0))
            await one_event(spool, disk)
            await one_event(spool, disk, "disk full", "disk full", "read-only")
            told = [(FAILS, "disk full"), (FAILS, "read-only"), (WORKS, "read-only")]
            assert await said(logs, 3) == told
            # The same once more: the log may not keep silent of it.
            await one_event(spool, disk, "disk full")
            assert await said(logs, 5) == [*told, (FAILS, "disk full"), (WORKS, "disk full")]
            handing_over.cancel()
            await asyncio.wait([handing_over])
