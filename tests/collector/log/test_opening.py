"""Opening a log: after crashes, with damaged files, with files of other versions."""

import contextlib
import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest

from collector.log import files, schema
from collector.log.engine import Appended, LogError, LogFullError
from collector.log.schema import DamagedError
from collector.log.sqlite import SqliteLog, _restart
from collector.log.store import GENERATION, Limits
from probes.contract.wire import Gap
from tests.collector.log.batches import batch, everything
from tests.disks import fill, small_disk

SMALL = Limits(segment_bytes=1)


async def written(directory: Path, limits: Limits, *firsts: int, step: int = 100) -> list[Path]:
    """A closed log with events from each of ``firsts`` on; its segments."""
    log = SqliteLog.open(directory, limits)
    for first in firsts:
        await log.append(batch(first, first + step - 1, padding=600))
    await log.close()
    return [files.segment_file(directory, first) for first in files.list_segments(directory)]


def names(directory: Path) -> list[str]:
    return sorted(file.name for file in directory.iterdir())


def overwrite(file: Path, start: float, end: float = 1.0) -> None:
    """Replace a part of a file, given as shares of its length, by nonsense."""
    size = file.stat().st_size
    with file.open("r+b") as stream:
        stream.seek(int(size * start))
        stream.write(b"\xa5" * int(size * (end - start)))


async def test_what_a_crash_left_of_a_new_segment_is_cleared_away(tmp_path: Path) -> None:
    (last,) = await written(tmp_path, Limits(), 1)
    for name in ("0000000000000101.sqlite3.new", "0000000000000101.sqlite3.new-wal"):
        (tmp_path / name).write_bytes(b"half")
    (tmp_path / "0000000000000007.sqlite3-wal").write_bytes(b"of a segment that is gone")
    log = SqliteLog.open(tmp_path)
    assert (await log.append(batch(101, 101))).accepted == 1
    await log.close()
    assert names(tmp_path) == [last.name, "lock"]


async def test_a_crash_right_after_a_new_segment_was_begun(tmp_path: Path) -> None:
    log = SqliteLog.open(tmp_path / "log")
    await log.append(batch(1, 100))
    # As a crash leaves them: the old segment with its journal beside it, the new one empty.
    crashed = tmp_path / "crashed"
    crashed.mkdir()
    for file in (tmp_path / "log").iterdir():
        (crashed / file.name).write_bytes(file.read_bytes())
    await log.run(lambda store: store.roll())
    new = files.segment_file(tmp_path / "log", 101)
    (crashed / new.name).write_bytes(new.read_bytes())
    await log.close()
    assert files.journal_bytes(files.segment_file(crashed, 1)) > 0
    log = SqliteLog.open(crashed)
    assert [entry.seq for entry in await everything(log)] == list(range(1, 101))
    assert files.journal_bytes(files.segment_file(crashed, 1)) == 0
    assert (await log.append(batch(1, 102))).accepted == 2
    await log.close()


async def test_a_reader_that_holds_up_an_old_journal_costs_no_entry(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = SqliteLog.open(tmp_path)
    await log.append(batch(1, 100))
    file = log._store.file
    backup = schema.open_reader(file, still=False)
    backup.execute("BEGIN")
    backup.execute("SELECT count(*) FROM chunks").fetchone()
    await log.append(batch(101, 200))
    await log.run(lambda store: store.roll())
    await log.append(batch(201, 300))
    # The collector is started anew while the backup is still at it.
    await log.close()
    open_writer = schema.open_writer

    # It would be waited for five seconds, after which all is the same.
    def impatient(file: Path) -> sqlite3.Connection:
        connection = open_writer(file)
        connection.execute("PRAGMA busy_timeout=0")
        return connection

    monkeypatch.setattr(schema, "open_writer", impatient)
    log = SqliteLog.open(tmp_path)
    assert [entry.seq for entry in await everything(log)] == list(range(1, 301))
    backup.close()
    await log.close()
    monkeypatch.undo()
    log = SqliteLog.open(tmp_path)
    assert files.journal_bytes(file) == 0
    assert [entry.seq for entry in await everything(log)] == list(range(1, 301))
    await log.close()


@pytest.mark.parametrize("limits", [Limits(), SMALL], ids=["first", "later"])
async def test_a_damaged_newest_segment_is_set_aside_and_nothing_lost_is_claimed(
    tmp_path: Path, limits: Limits
) -> None:
    segments = await written(tmp_path, limits, 1, 101, 201)
    overwrite(segments[-1], 0)
    log = SqliteLog.open(tmp_path)
    assert [Path(file).name for file in log.health().damaged] == [segments[-1].name + ".damaged-1"]
    kept = [entry.seq for entry in await everything(log)]
    mark = (await log.marks()).get(("fra", "e1"))
    if limits is SMALL:
        # The marks are those of the segment before: an agent that has not been answered yet sends
        # the rest again, and it is taken.
        assert kept == list(range(1, 201))
        assert mark is not None
        assert mark.high_water == 200
        answer = await log.append(batch(201, 301))
        assert (answer.accepted, answer.gap) == (101, None)
    else:
        assert kept == []
        assert mark is None
        answer = await log.append(batch(301, 301))
        assert answer.gap == Gap(first_seq=1, last_seq=300)
    assert answer.cursor is not None
    assert answer.cursor >= GENERATION
    await log.close()
    again = SqliteLog.open(tmp_path)
    assert (await again.bounds()).last == answer.cursor
    await again.close()


async def test_what_can_be_read_of_a_damaged_newest_segment_stays(tmp_path: Path) -> None:
    (segment,) = await written(tmp_path, Limits(), *range(1, 2001, 100))
    log_id = SqliteLog.open(tmp_path)
    name = log_id.log_id
    before = await everything(log_id)
    await log_id.close()
    overwrite(segment, 0.4, 0.5)
    log = SqliteLog.open(tmp_path)
    assert log.log_id == name
    kept = await everything(log)
    seqs = {entry.seq for entry in kept}
    assert set(kept) < set(before)
    assert len(kept) >= 1000
    missing = {n for _, _, gap in await log.gaps() for n in range(gap.first_seq, gap.last_seq + 1)}
    mark = (await log.marks())["fra", "e1"]
    assert seqs | missing == set(range(1, mark.high_water + 1))
    assert not seqs & missing
    assert mark.missing == len(missing) > 0
    answer = await log.append(batch(1, 2100))
    assert answer.accepted == 2100 - mark.high_water
    await log.close()


async def test_a_damaged_finished_segment_is_found_when_it_is_read(tmp_path: Path) -> None:
    segments = await written(tmp_path, SMALL, 1, 101, 201, 301)
    overwrite(segments[1], 0)
    # The head is nonsense, so opening sees it; its neighbours tell what it held.
    log = SqliteLog.open(tmp_path)
    assert [e.seq for e in await everything(log)] == [*range(1, 101), *range(201, 401)]
    assert await log.gaps() == [("fra", "e1", Gap(first_seq=101, last_seq=200))]
    mark = (await log.marks())["fra", "e1"]
    assert (mark.high_water, mark.missing) == (400, 100)
    assert (await log.append(batch(150, 401))).accepted == 1
    await log.close()


@pytest.mark.parametrize("index", [0, 1], ids=["oldest", "middle"])
async def test_damage_inside_a_finished_segment_costs_what_is_damaged(
    tmp_path: Path, index: int
) -> None:
    log = SqliteLog.open(tmp_path)
    for part in range(3):
        for first in range(part * 2000 + 1, part * 2000 + 2001, 100):
            await log.append(batch(first, first + 99, padding=600))
        await log.run(lambda store: store.roll())
    segment = log._store.view.segments[index].file
    overwrite(segment, 0.6, 0.65)
    seqs = {entry.seq for entry in await everything(log)}
    missing = {n for _, _, gap in await log.gaps() for n in range(gap.first_seq, gap.last_seq + 1)}
    assert seqs | missing == set(range(1, 6001))
    assert not seqs & missing
    assert 0 < len(missing) < 1000
    assert len(log.health().damaged) == 1
    await log.close()
    # Whatever was recorded is so after a restart too, and is not recorded again.
    log = SqliteLog.open(tmp_path)
    assert {entry.seq for entry in await everything(log)} == seqs
    assert (await log.marks())["fra", "e1"].missing == len(missing)
    await log.close()


async def test_a_bit_that_is_wrong_in_what_grows_costs_its_row_and_holds_up_nobody(
    tmp_path: Path,
) -> None:
    (file,) = await written(tmp_path, Limits(), *range(1, 901, 100))
    with contextlib.closing(sqlite3.connect(file)) as connection, connection:
        (content,) = connection.execute("SELECT content FROM chunks WHERE cursor=401").fetchone()
        connection.execute(
            "UPDATE chunks SET content=? WHERE cursor=401",
            (content[:-1] + bytes([content[-1] ^ 1]),),
        )
    # SQLite has no checksums, so opening sees nothing of it.
    log = SqliteLog.open(tmp_path)
    seqs = {entry.seq for entry in await everything(log)}
    assert seqs == {*range(1, 401), *range(501, 901)}
    assert await log.gaps() == [("fra", "e1", Gap(first_seq=401, last_seq=500))]
    assert len(log.health().damaged) == 1
    assert (await log.append(batch(901, 902))).accepted == 2
    assert [entry.seq for entry in await everything(log)][-2:] == [901, 902]
    assert len(log.health().damaged) == 1
    await log.close()


async def test_a_full_disk_during_a_repair_leaves_the_segment_with_its_journal(
    tmp_path: Path,
) -> None:
    with small_disk(tmp_path / "disk", "4m") as disk:
        log = SqliteLog.open(disk / "log")
        await log.append(batch(1, 100))
        file = log._store.file
        journal = files.journal_bytes(file)
        assert journal > 0
        # The events are in the journal; what is behind the file's head is not.
        overwrite(file, 0.5)
        filler = fill(disk)
        for _ in range(3):
            with pytest.raises(LogFullError):
                await log.run(_restart)
            assert files.list_damaged(disk / "log") == []
            assert files.journal_bytes(file) == journal
        filler.unlink()
        with pytest.raises(LogError, match="a new one was begun"):
            await log.append(batch(101, 101))
        assert len(files.list_damaged(disk / "log")) == 1
        assert (await log.append(batch(101, 101))).accepted == 1
        assert [entry.seq for entry in await everything(log)] == list(range(1, 102))
        await log.close()


async def test_damage_that_a_write_finds_begins_a_new_segment(tmp_path: Path) -> None:
    log = SqliteLog.open(tmp_path)
    await log.append(batch(1, 100))
    file = log._store.file
    # Everything into the file, so that the next write has to read it.
    log._store._active.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    overwrite(file, 0)
    log._store._active.execute("PRAGMA shrink_memory")
    results: list[Appended | None] = []
    for _ in range(3):
        try:
            results.append(await log.append(batch(101, 110)))
        except LogError:
            results.append(None)
    assert results[-1] is not None
    assert results[-1].high_water == 110
    assert None in results
    assert log._store.head.log_id == log.log_id
    assert len(log.health().damaged) == 1
    await log.close()


@pytest.mark.parametrize("which", [0, -1], ids=["finished", "newest"])
async def test_a_newer_version_s_log_is_refused(tmp_path: Path, which: int) -> None:
    segments = await written(tmp_path, SMALL, 1, 101)
    connection = sqlite3.connect(segments[which])
    connection.execute("PRAGMA user_version=99")
    connection.close()
    before = segments[which].read_bytes()
    with pytest.raises(LogError, match="found schema version 99, allowed is 2"):
        SqliteLog.open(tmp_path)
    assert segments[which].read_bytes() == before
    assert files.list_damaged(tmp_path) == []


def _fail(connection: sqlite3.Connection) -> None:
    connection.execute("CREATE TABLE half (x)")
    raise sqlite3.OperationalError("no")


def test_a_migration_is_all_or_nothing(tmp_path: Path) -> None:
    connection = sqlite3.connect(tmp_path / "old", isolation_level=None)
    steps: dict[int, Callable[[sqlite3.Connection], None]] = {
        0: lambda connection: _ignore(connection.execute("CREATE TABLE one (x)")),
        1: _fail,
    }
    with pytest.raises(sqlite3.OperationalError, match="no"):
        schema.check_version(connection, tmp_path / "old", steps, version=2)
    tables = "SELECT name FROM sqlite_master ORDER BY name"
    assert connection.execute("PRAGMA user_version").fetchone() == (1,)
    assert connection.execute(tables).fetchall() == [("one",)]
    steps[1] = lambda connection: _ignore(connection.execute("CREATE TABLE two (x)"))
    assert schema.check_version(connection, tmp_path / "old", steps, version=2)
    assert connection.execute(tables).fetchall() == [("one",), ("two",)]
    assert not schema.check_version(connection, tmp_path / "old", steps, version=2)
    connection.close()


def _ignore(_: object) -> None:
    return None


def test_a_file_without_a_version_is_damaged(tmp_path: Path) -> None:
    connection = sqlite3.connect(tmp_path / "none")
    with pytest.raises(DamagedError, match="no schema version"):
        schema.check_version(connection, tmp_path / "none")
    connection.close()


async def test_a_directory_that_cannot_be_one_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(LogError, match="allowed is a directory with room"):
        SqliteLog.open(tmp_path / "file")
