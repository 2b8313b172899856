"""A log followed from its files: all of it in order, whatever its writer does meanwhile."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from collector.log.engine import Entry, LogError, Retention
from collector.log.follow import FollowedLog, Stretch, outlook
from collector.log.sqlite import SqliteLog
from collector.log.store import Limits
from tests.collector.log.batches import AT_NS, S, batch

SMALL = Limits(segment_bytes=1 << 17)


@dataclass(slots=True)
class Followed:
    """A log of small segments and one who follows it; what was told of damage."""

    log: SqliteLog
    follower: FollowedLog
    damaged: list[Stretch]


@asynccontextmanager
async def followed(directory: Path, entries: int = 0) -> AsyncIterator[Followed]:
    """A log that has so many entries when it begins to be followed."""
    log = SqliteLog.open(directory, SMALL)
    await write(log, 1, entries)
    damaged: list[Stretch] = []
    follower = FollowedLog(directory, log.log_id, outlook(log.view), damaged.append)
    try:
        yield Followed(log, follower, damaged)
    finally:
        follower.close()
        await log.close()


async def write(log: SqliteLog, first: int, last: int, step: int = 100) -> None:
    for at in range(first, last, step):
        await log.append(batch(at, at + step - 1, padding=400, at_ns=AT_NS + at * S))


async def read_all(follower: FollowedLog, after: int = 0) -> list[Entry]:
    found: list[Entry] = []
    more: Sequence[Entry] = await follower.read(after, 70)
    while more:
        found += more
        more = await follower.read(found[-1].cursor, 70)
    return found


def blank(file: Path) -> None:
    """Leave nothing of a file but its size."""
    file.write_bytes(b"\0" * file.stat().st_size)


async def test_it_gives_what_the_log_gives_over_its_segments(tmp_path: Path) -> None:
    async with followed(tmp_path, 1000) as given:
        log, follower = given.log, given.follower
        assert len(log.view.segments) > 2
        assert await read_all(follower) == await log.read(0, 2000)
        bounds, reach = await log.bounds(), await follower.bounds()
        assert (reach.first, reach.last) == (bounds.first, bounds.last) == (1, 1000)


async def test_what_is_new_wakes_whoever_waits_for_it(tmp_path: Path) -> None:
    async with followed(tmp_path) as given:
        log, follower = given.log, given.follower
        waiting = asyncio.create_task(follower.wait_past(0))
        await write(log, 1, 100)
        await asyncio.sleep(0)
        assert not waiting.done()
        follower.tell(outlook(log.view))
        await waiting
        await follower.wait_past(99)
        assert len(await follower.read(0, 1000)) == 100


async def test_it_reads_on_while_segments_are_begun_sealed_and_dropped(tmp_path: Path) -> None:
    found: list[Entry] = []
    dropped = 0
    async with followed(tmp_path) as given:
        log, follower = given.log, given.follower
        for first in range(1, 3000, 300):
            await write(log, first, first + 299)
            if first > 1500:
                # What the follower was told of is gone before it reads on.
                dropped += await log.trim(Retention(bytes=1 << 18), AT_NS)
            if first % 600 == 1:
                found += await read_all(follower, found[-1].cursor if found else 0)
            follower.tell(outlook(log.view))
        found += await read_all(follower, found[-1].cursor)
        assert dropped > 0
        cursors = [entry.cursor for entry in found]
        assert cursors == sorted(set(cursors))
        assert set(log_cursors := [e.cursor for e in await log.read(0, 5000)]) <= set(cursors)
        assert len(log_cursors) + dropped == 3000


async def test_damage_is_told_repaired_by_the_writer_and_read_past(tmp_path: Path) -> None:
    async with followed(tmp_path, 1000) as given:
        log, follower = given.log, given.follower
        second = log.view.segments[1]
        assert len(await follower.read(0, second.first - 1)) == second.first - 1
        blank(second.file)
        with pytest.raises(LogError, match="found damage"):
            await follower.read(second.first - 1, 10)
        assert given.damaged == [Stretch(second.first, still=second.still, salvaged=False)]
        await log.mend(second)
        # Told twice, it is repaired once.
        await log.mend(second)
        assert len(log.health().damaged) == 1
        follower.tell(outlook(log.view))
        assert await read_all(follower) == await log.read(0, 5000)
        assert len(given.damaged) == 1


async def test_a_file_that_was_repaired_meanwhile_is_read_without_a_word(tmp_path: Path) -> None:
    async with followed(tmp_path, 1000) as given:
        second = given.log.view.segments[1]
        blank(second.file)
        await given.log.mend(second)
        assert await read_all(given.follower) == await given.log.read(0, 5000)
        assert given.damaged == []
