"""Backup of a log that is being written to, and restore."""

import asyncio
from pathlib import Path

import pytest

from collector.log import files
from collector.log.backup import backup, restore
from collector.log.engine import LogError, Retention
from collector.log.sqlite import SqliteLog
from collector.log.store import GENERATION, Limits
from collector.log.verify import verify
from tests.collector.log.batches import AT_NS, S, batch, everything


async def test_a_backup_of_a_log_that_is_written_to_is_its_state_at_one_moment(
    tmp_path: Path,
) -> None:
    log = SqliteLog.open(tmp_path / "log", Limits(segment_bytes=200_000))
    stop = asyncio.Event()
    marks = {"fra": 0, "sfo": 0}

    async def agent(source: str) -> None:
        while not stop.is_set():
            first = marks[source] + 1
            answer = await log.append(batch(first, first + 49, source=source, padding=300))
            marks[source] = answer.high_water

    writers = [asyncio.create_task(agent(source)) for source in marks]
    for number in range(5):
        await log.wait_past((await log.bounds()).last + 500)
        before = dict(marks)
        target = tmp_path / f"backup-{number}"
        done = await asyncio.to_thread(backup, tmp_path / "log", target)
        after = dict(marks)
        assert done.report.problems == []
        copied = SqliteLog.open(target)
        entries = await everything(copied)
        for source in marks:
            seqs = [entry.seq for entry in entries if entry.source == source]
            assert seqs == list(range(1, len(seqs) + 1))
            # All that was answered before it began; at most what was under way when it ended.
            assert before[source] <= len(seqs) <= after[source] + 50
        assert copied.log_id == log.log_id
        await copied.close()
    stop.set()
    await asyncio.gather(*writers)
    await log.close()


async def test_a_backup_while_retention_drops_the_oldest_has_no_hole(tmp_path: Path) -> None:
    log = SqliteLog.open(tmp_path / "log", Limits(segment_bytes=1))
    for hour in range(60):
        await log.append(batch(hour + 1, hour + 1, at_ns=AT_NS + hour * 3600 * S))

    async def trim() -> None:
        for hour in range(50):
            await log.trim(Retention(age_s=1.0), AT_NS + hour * 3600 * S)

    copying = asyncio.to_thread(backup, tmp_path / "log", tmp_path / "copy")
    done, _ = await asyncio.gather(copying, trim())
    assert done.report.problems == []
    copy = SqliteLog.open(tmp_path / "copy")
    seqs = [entry.seq for entry in await everything(copy)]
    assert seqs == list(range(seqs[0], 61))
    await copy.close()
    await log.close()


async def test_a_restored_log_is_the_same_and_uses_no_cursor_again(tmp_path: Path) -> None:
    log = SqliteLog.open(tmp_path / "log", Limits(segment_bytes=1))
    await log.append(batch(1, 10))
    await log.append(batch(12, 20, refused=[15]))
    backup(tmp_path / "log", tmp_path / "copy")
    # What comes after the backup is missing from it, though consumers have seen it.
    seen = (await log.append(batch(21, 50))).cursor
    assert seen is not None
    before = (await everything(log))[:18]
    gaps, letters, log_id = await log.gaps(), await log.dead_letters(), log.log_id
    await log.close()

    done = restore(tmp_path / "copy", tmp_path / "new" / "log")
    assert (done.report.entries, done.report.dead_letters) == (18, 1)
    new = SqliteLog.open(tmp_path / "new" / "log")
    assert new.log_id == log_id
    assert await everything(new) == before
    assert (await new.gaps(), await new.dead_letters()) == (gaps, letters)
    waiting = asyncio.create_task(new.wait_past(seen))
    # The agent goes on where it is: what the backup lacks is a gap.
    answer = await new.append(batch(51, 51))
    assert answer.gap is not None
    assert (answer.gap.first_seq, answer.gap.last_seq) == (21, 50)
    assert answer.cursor == GENERATION
    await waiting
    assert [entry.seq for entry in await new.read(seen, 10)] == [51]
    await new.close()
    assert verify(tmp_path / "new" / "log").problems == []


async def test_nothing_is_overwritten(tmp_path: Path) -> None:
    log = SqliteLog.open(tmp_path / "log")
    await log.append(batch(1, 10))
    await log.close()
    backup(tmp_path / "log", tmp_path / "copy")
    for target in (tmp_path / "copy", tmp_path / "log"):
        with pytest.raises(LogError, match="allowed is a directory that is new or empty"):
            backup(tmp_path / "log", target)
        with pytest.raises(LogError, match="allowed is a directory that is new or empty"):
            restore(tmp_path / "copy", target)
    with pytest.raises(LogError, match="found no segment"):
        backup(tmp_path, tmp_path / "other")
    assert not files.list_leftovers(tmp_path / "copy")


async def test_a_damaged_backup_is_not_restored(tmp_path: Path) -> None:
    log = SqliteLog.open(tmp_path / "log", Limits(segment_bytes=1))
    for first in range(1, 50, 10):
        await log.append(batch(first, first + 9))
    await log.close()
    backup(tmp_path / "log", tmp_path / "copy")
    files.segment_file(tmp_path / "copy", 21).unlink()
    with pytest.raises(LogError, match=r"meta.first: found 31, allowed is 21"):
        restore(tmp_path / "copy", tmp_path / "new")
    assert not (tmp_path / "new").exists()
