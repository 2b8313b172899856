"""The journal: moved beside the commits, never without end, and no harm where it cannot be."""

import contextlib
import os
import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest

from collector.log import files, journal, schema
from collector.log.journal import Journal
from collector.log.opening import open_store
from collector.log.sqlite import SqliteLog
from collector.log.store import Limits, Store
from collector.log.verify import verify
from tests.collector.log.batches import batch, everything, settle
from tests.disks import fill, small_disk

LIMIT = 1 << 20
LIMITS = Limits(journal_bytes=LIMIT)


class Later:
    """Takes journals that are to be moved, and moves them when it is told to."""

    def __init__(self, store: Store) -> None:
        self.journals: list[Journal] = []
        store.put = self.journals.append

    def work(self) -> None:
        while self.journals:
            self.journals.pop().work()


def write(store: Store, first: int, last: int) -> None:
    """As many commits; each takes some 100 KiB of the journal."""
    for seq in range(first, last + 1):
        store.commit([batch(seq, seq, padding=20_000)])


def problem(one: Journal) -> str | None:
    return one.problem


@contextlib.contextmanager
def reading(file: Path) -> Iterator[sqlite3.Connection]:
    """A reader that holds on to what was there when it came."""
    connection = schema.open_reader(file, still=False)
    try:
        connection.execute("BEGIN")
        connection.execute("SELECT count(*) FROM chunks").fetchone()
        yield connection
    finally:
        connection.close()


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    store = open_store(tmp_path, LIMITS)
    yield store
    store.close()
    assert verify(tmp_path).problems == []


def test_a_commit_moves_nothing_and_says_when_there_is_something_to_move(store: Store) -> None:
    later = Later(store)
    size = store.file.stat().st_size
    write(store, 1, 1)
    assert later.journals == []
    write(store, 2, 6)
    assert len(later.journals) == 1
    assert store.file.stat().st_size == size
    assert store.journals()[0].left > LIMIT // 4
    later.work()
    assert store.file.stat().st_size > size
    assert store.journals()[0].left == 0


def test_no_commit_moves_the_journal_however_long_it_is(tmp_path: Path) -> None:
    store = open_store(tmp_path, Limits(journal_bytes=64 * LIMIT))
    Later(store)
    size = store.file.stat().st_size
    for first in range(1, 701, 100):
        store.commit([batch(first, first + 99, padding=20_000)])
    assert files.journal_bytes(store.file) > 10 * LIMIT
    assert store.file.stat().st_size == size
    store.close()


def test_the_journal_s_length_is_about_what_it_is(store: Store) -> None:
    Later(store)
    write(store, 1, 8)
    store.commit([batch(seq, seq, source=f"a{seq}") for seq in range(1, 100)])
    store.commit([batch(9, 400)])
    found = files.journal_bytes(store.file)
    assert 0.5 * found < store.journals()[0].length < 2 * found
    store.journals()[0].work()
    assert abs(store.journals()[0].length - found) < 100


def test_a_journal_that_is_moved_is_written_over(store: Store) -> None:
    later = Later(store)
    for seq in range(1, 100):
        write(store, seq, seq)
        later.work()
    assert files.journal_bytes(store.file) < LIMIT // 2
    assert store.journals()[0].length < LIMIT


def test_the_writer_moves_the_last_bit_where_commits_come_faster_than_a_move(
    tmp_path: Path,
) -> None:
    store = open_store(tmp_path, Limits(journal_bytes=4 * LIMIT))
    later = Later(store)
    for seq in range(1, 100):
        # Whoever moves the journal never sees the newest commit, as if it had come meanwhile.
        with reading(store.file):
            write(store, 2 * seq - 1, 2 * seq - 1)
            later.work()
        write(store, 2 * seq, 2 * seq)
    assert files.journal_bytes(store.file) < 5 * LIMIT
    assert len(store.view.segments) == 1
    assert problem(store.journals()[0]) is None
    store.close()


def test_the_writer_moves_everything_where_nobody_else_does(store: Store) -> None:
    Later(store)
    write(store, 1, 100)
    assert files.journal_bytes(store.file) < 3 * LIMIT
    assert len(store.view.segments) == 1


def test_a_reader_that_stays_is_told_and_left_with_its_segment(tmp_path: Path) -> None:
    store = open_store(tmp_path, LIMITS)
    later = Later(store)
    write(store, 1, 1)
    first = store.file
    with reading(first):
        seq = 1
        while store.file == first:
            seq += 1
            write(store, seq, seq)
            later.work()
            assert files.journal_bytes(first) < 5 * LIMIT
        found = store.journals()
        assert [one.file for one in found] == [first, store.file]
        told = problem(found[0])
        assert told is not None
        assert told.startswith(f"{first}: found ")
        assert "MiB in its journal that a reader holds on to" in told
        write(store, seq + 1, seq + 20)
        later.work()
        # The next segment's journal is held by nobody.
        assert store.journals()[1].length < LIMIT
    store.tidy()
    later.work()
    store.tidy()
    assert [one.problem for one in store.journals()] == [None]
    assert files.journal_bytes(first) == 0
    assert store.view.segments[0].still
    store.close()
    assert verify(tmp_path).problems == []


async def test_health_tells_of_a_reader_that_stays(tmp_path: Path) -> None:
    log = SqliteLog.open(tmp_path, LIMITS)
    await log.append(batch(1, 1))
    with reading(log.view.segments[0].file):
        for seq in range(2, 40):
            await log.append(batch(seq, seq, padding=20_000))
        await settle(log)
        found = log.health()
        assert found.journal_problem is not None
        assert found.journal_bytes > 2 * LIMIT
        assert found.problem is None
    await settle(log)
    await log.append(batch(40, 40))
    await settle(log)
    assert log.health().journal_problem is None
    assert log.health().journal_bytes < LIMIT
    await log.close()


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    with small_disk(tmp_path / "disk", "8m") as directory:
        yield directory


def fill_but_for_the_journal(store: Store) -> Path:
    """Leave no room but in the journal, which has been as long as it is going to be."""
    put, store.put = store.put, lambda _: None
    write(store, 1, 8)
    store.journals()[0].work()
    store.put = put
    file = fill(store.directory.parent)
    write(store, 9, 12)
    return file


def test_a_full_disk_during_a_move_loses_nothing_and_is_got_over(disk: Path) -> None:
    store = open_store(disk / "log", LIMITS)
    later = Later(store)
    filler = fill_but_for_the_journal(store)
    now_s = 100.0
    held = Journal(store.file, LIMIT, lambda: now_s)
    held.wrote(40)
    held.work()
    assert "full, allowed is a disk with room" in (problem(held) or "")
    # Commits go on in the journal as long as that has room.
    write(store, 13, 13)
    filler.unlink()
    later.journals.clear()
    held.tidy(later.journals.append)
    assert later.journals == []
    now_s += 1.0
    held.tidy(later.journals.append)
    assert later.journals == [held]
    later.work()
    assert problem(held) is None
    assert held.left == 0
    held.close()
    store.close()
    assert verify(disk / "log").problems == []


async def test_a_full_disk_is_told_by_health_until_there_is_room(
    disk: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(journal, "_RETRY_S", 0.0)
    log = SqliteLog.open(disk / "log", LIMITS)
    filler = await log.run(fill_but_for_the_journal)
    await settle(log)
    assert "full" in (log.health().journal_problem or "")
    # What was committed is read all the same, and the writer is none the worse.
    assert [entry.seq for entry in await everything(log)] == list(range(1, 13))
    filler.unlink()
    await settle(log)
    assert log.health().journal_problem is None
    assert (await log.append(batch(1, 14))).accepted == 2
    await log.close()
    assert verify(disk / "log").problems == []


def test_what_a_kill_left_of_the_journal_is_moved_first(tmp_path: Path) -> None:
    store = open_store(tmp_path / "log", LIMITS)
    Later(store)
    write(store, 1, 15)
    left = tmp_path / "left"
    left.mkdir()
    for file in (tmp_path / "log").iterdir():
        (left / file.name).write_bytes(file.read_bytes())
    store.close()
    assert files.journal_bytes(files.segment_file(left, 1)) > LIMIT
    store = open_store(left, LIMITS)
    assert store.journals()[0].length > LIMIT
    store.tidy()
    assert store.journals()[0].left == 0
    assert store.marks()["fra", "e1"].high_water == 15
    store.close()


def test_a_torn_journal_ends_with_the_last_whole_commit(tmp_path: Path) -> None:
    store = open_store(tmp_path / "log", LIMITS)
    Later(store)
    write(store, 1, 5)
    whole = files.journal_bytes(store.file)
    write(store, 6, 6)
    torn = tmp_path / "torn"
    torn.mkdir()
    for file in (tmp_path / "log").iterdir():
        (torn / file.name).write_bytes(file.read_bytes())
    store.close()
    wal = files.segment_file(torn, 1).with_name(files.segment_file(torn, 1).name + "-wal")
    os.truncate(wal, whole + 30_000)
    store = open_store(torn, LIMITS)
    assert store.marks()["fra", "e1"].high_water == 5
    write(store, 6, 7)
    store.close()
    assert verify(torn).problems == []
    assert verify(torn).entries == 7
