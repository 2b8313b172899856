"""A disk that is full or read-only: nothing half written, and it works again by itself."""

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from collector.log.engine import LogError, LogFullError, Retention
from collector.log.sqlite import SqliteLog
from collector.log.store import Limits
from collector.log.verify import verify
from tests.collector.log.batches import AT_NS, S, batch, everything
from tests.disks import fill, small_disk


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 8 MiB."""
    with small_disk(tmp_path / "disk", "8m") as directory:
        yield directory


def remount(disk: Path, option: str) -> None:
    subprocess.run(["mount", "-o", f"remount,{option}", str(disk)], check=True)


async def until_full(log: SqliteLog, first: int, step: int = 50) -> int:
    """Append until there is no more room; the last event that was taken."""
    last = first - 1
    for _ in range(1000):
        try:
            last = (await log.append(batch(last + 1, last + step, padding=500))).high_water
        except LogFullError:
            return last
    raise AssertionError("the disk never filled up")


@pytest.mark.parametrize("limits", [Limits(), Limits(segment_bytes=200_000)], ids=["one", "many"])
async def test_a_disk_that_fills_up_damages_nothing(disk: Path, limits: Limits) -> None:
    log = SqliteLog.open(disk / "log", limits)
    last = await until_full(log, 1)
    filler = fill(disk)
    for _ in range(3):
        with pytest.raises(LogFullError, match="allowed is a d"):
            await log.append(batch(last + 1, last + 50, padding=500))
    problem = log.health().problem
    assert problem is not None
    assert "full" in problem
    assert (await log.marks())["fra", "e1"].high_water == last
    assert [entry.seq for entry in await everything(log)] == list(range(1, last + 1))
    filler.unlink()
    if limits.segment_bytes < 1 << 20:
        assert await log.trim(Retention(bytes=4 << 20), AT_NS) > 0
    else:
        remount(disk, "size=24m")
    answer = await log.append(batch(last + 1, last + 50, padding=500))
    assert (answer.accepted, answer.high_water, answer.gap) == (50, last + 50, None)
    assert log.health().problem is None
    await log.close()
    assert verify(disk / "log").problems == []


async def test_retention_makes_room_on_a_full_disk(disk: Path) -> None:
    log = SqliteLog.open(disk / "log", Limits(segment_bytes=200_000))
    last = await until_full(log, 1)
    fill(disk)
    gone = await log.trim(Retention(bytes=2 << 20), AT_NS + S)
    assert gone > 0
    assert (await log.append(batch(last + 1, last + 50))).accepted == 50
    await log.close()


async def test_a_log_on_a_full_disk_cannot_be_begun_but_later_can(disk: Path) -> None:
    filler = fill(disk)
    with pytest.raises(LogFullError):
        SqliteLog.open(disk / "log")
    filler.unlink()
    log = SqliteLog.open(disk / "log")
    assert (await log.append(batch(1, 1))).accepted == 1
    await log.close()
    assert verify(disk / "log").problems == []


async def test_a_read_only_disk_is_told_and_still_read(disk: Path) -> None:
    log = SqliteLog.open(disk / "log", Limits(segment_bytes=200_000))
    for first in range(1, 1001, 100):
        await log.append(batch(first, first + 99, padding=500))
    await log.close()
    remount(disk, "ro")
    with pytest.raises(LogError):
        SqliteLog.open(disk / "log")
    assert verify(disk / "log").problems == []
    remount(disk, "rw")
    log = SqliteLog.open(disk / "log")
    assert (await log.append(batch(1, 1001))).accepted == 1
    await log.close()
