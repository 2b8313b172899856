"""The rollup's file: newer, damaged, another log's, ahead of its log, full."""

import os
import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest

from collector.log.engine import Bounds
from collector.rollup.consumer import RollupConsumer
from collector.rollup.file import (
    FILE_NAME,
    LOCK_NAME,
    RollupDamagedError,
    RollupError,
    RollupFullError,
    open_to_read,
)
from tests.collector.rollup.histories import (
    LOG_ID,
    arrival,
    bounds_of,
    intent,
    log_of,
    submission,
)
from tests.collector.rollup.recount import directory, dump, roll_up

SENT = intent(1)
ENTRIES = log_of([SENT, submission(SENT), arrival(SENT)])
BOUNDS = bounds_of(ENTRIES)


def test_a_newer_file_is_refused_and_left_alone(tmp_path: Path) -> None:
    connection = sqlite3.connect(tmp_path / FILE_NAME)
    connection.execute("PRAGMA user_version=3")
    connection.close()
    before = (tmp_path / FILE_NAME).read_bytes()
    with pytest.raises(RollupError, match="found schema version 3, allowed is 2"):
        RollupConsumer(tmp_path).open(LOG_ID, BOUNDS)
    with pytest.raises(RollupError, match="found schema version 3"):
        open_to_read(tmp_path / FILE_NAME)
    assert (tmp_path / FILE_NAME).read_bytes()[100:] == before[100:]


def test_a_file_of_before_the_checks_is_taken_up(tmp_path: Path) -> None:
    consumer = RollupConsumer(tmp_path)
    consumer.open(LOG_ID, BOUNDS)
    consumer.take(ENTRIES[:2])
    consumer.close()
    connection = sqlite3.connect(tmp_path / FILE_NAME)
    connection.executescript("DROP TABLE looks; DROP TABLE queued; PRAGMA user_version=1")
    connection.close()
    consumer = RollupConsumer(tmp_path)
    assert consumer.open(LOG_ID, BOUNDS) == 2
    consumer.take(ENTRIES[2:])
    consumer.close()
    with directory() as other:
        roll_up(other, [ENTRIES], [False])
        assert dump(tmp_path) == dump(other)


def test_two_never_write_to_one_file_and_who_has_it_is_told(tmp_path: Path) -> None:
    one, other = RollupConsumer(tmp_path), RollupConsumer(tmp_path)
    one.open(LOG_ID, BOUNDS)
    # Opened again after a failure it is still its own.
    one.open(LOG_ID, BOUNDS)
    with pytest.raises(RollupError, match=f"held by process {os.getpid()}, allowed is one"):
        other.open(LOG_ID, BOUNDS)
    one.take(ENTRIES)
    one.close()
    assert other.open(LOG_ID, BOUNDS) == ENTRIES[-1].cursor
    other.close()


@pytest.fixture
def usual_umask() -> Iterator[None]:
    """The one of most systems, under which others may read what is made."""
    before = os.umask(0o022)
    yield
    os.umask(before)


@pytest.mark.usefixtures("usual_umask")
def test_what_it_keeps_is_for_its_owner_alone_whatever_the_umask(tmp_path: Path) -> None:
    def modes() -> dict[str, int]:
        return {file.name: file.stat().st_mode & 0o777 for file in state.iterdir()}

    state = tmp_path / "state"
    state.mkdir()
    consumer = RollupConsumer(state)
    consumer.open(LOG_ID, BOUNDS)
    consumer.take(ENTRIES)
    names = {FILE_NAME, f"{FILE_NAME}-wal", f"{FILE_NAME}-shm", LOCK_NAME}
    assert modes() == dict.fromkeys(names, 0o600)
    consumer.close()
    # Those of before are closed, too.
    for file in state.iterdir():
        file.chmod(0o644)
    consumer.open(LOG_ID, BOUNDS)
    assert modes() == dict.fromkeys(names, 0o600)
    consumer.close()


def test_a_damaged_file_is_moved_aside_and_counted_again(tmp_path: Path) -> None:
    roll_up(tmp_path, [ENTRIES], [False])
    before = dump(tmp_path)
    (tmp_path / FILE_NAME).write_bytes(b"x" * 8192)
    told: list[str] = []
    consumer = RollupConsumer(tmp_path, told.append)
    assert consumer.open(LOG_ID, BOUNDS) == 0
    consumer.take(ENTRIES)
    consumer.close()
    assert dump(tmp_path) == before
    assert "damaged-1" in told[0]
    assert (tmp_path / f"{FILE_NAME}.damaged-1").read_bytes() == b"x" * 8192


@pytest.mark.parametrize(
    "damage",
    [
        "UPDATE cells SET cell = x'ff'",
        "UPDATE streams SET state = x'ff'",
        "UPDATE streams SET state = x'c1'",
        "UPDATE streams SET state = x'93010203'",
    ],
)
def test_damage_found_while_counting_is_told_and_mended_by_opening_again(
    tmp_path: Path, damage: str
) -> None:
    second = intent(2)
    entries = log_of([SENT, submission(SENT), arrival(SENT), second, arrival(second)])
    bounds = bounds_of(entries)
    roll_up(tmp_path, [entries[:4]], [False])
    connection = sqlite3.connect(tmp_path / FILE_NAME)
    connection.execute(damage)
    connection.commit()
    connection.close()
    consumer = RollupConsumer(tmp_path)
    assert consumer.open(LOG_ID, bounds) == 4
    with pytest.raises(RollupDamagedError, match="damaged"):
        consumer.take(entries[4:])
    assert consumer.open(LOG_ID, bounds) == 0
    consumer.take(entries)
    consumer.close()
    roll_up(other := tmp_path / "other", [entries], [False])
    assert dump(tmp_path) == dump(other)


@pytest.fixture(autouse=True)
def _other(tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()


def test_a_file_of_another_log_or_ahead_of_its_own_is_moved_aside(tmp_path: Path) -> None:
    for number, (log_id, last) in enumerate([("another", 3), ("another", 1)], 1):
        consumer = RollupConsumer(tmp_path)
        consumer.open(LOG_ID if number == 1 else "another", BOUNDS)
        consumer.take(ENTRIES)
        consumer.close()
        assert consumer.open(log_id, Bounds(1, last, 0, 1, 0, None)) == 0
        consumer.close()
        assert (tmp_path / f"{FILE_NAME}.of-another-log-{number}").exists()


def test_a_full_disk_is_told_and_nothing_of_the_batch_is_written(tmp_path: Path) -> None:
    consumer = RollupConsumer(tmp_path)
    consumer.open(LOG_ID, BOUNDS)
    consumer.take(ENTRIES[:1])
    assert consumer._connection is not None
    pages = consumer._connection.execute("PRAGMA page_count").fetchone()[0]
    # SQLite's own bound on the file's size gives the same error as a full disk.
    consumer._connection.execute(f"PRAGMA max_page_count={pages}")
    many = [intent(number) for number in range(2, 2000)]
    more = [entry._replace(cursor=entry.cursor + 1) for entry in log_of(many)]
    wide = Bounds(1, len(more) + 1, 0, 1, 0, None)
    with pytest.raises(RollupFullError, match="full"):
        consumer.take(more)
    assert consumer.open(LOG_ID, wide) == 1
    consumer.take(more)
    consumer.close()
    everything = [ENTRIES[0], *more]
    roll_up(tmp_path / "other", [everything], [False])
    assert dump(tmp_path) == dump(tmp_path / "other")


def test_one_that_is_not_open_takes_nothing(tmp_path: Path) -> None:
    with pytest.raises(RollupError, match="not open"):
        RollupConsumer(tmp_path).take(ENTRIES)


def test_a_reader_cannot_write(tmp_path: Path) -> None:
    roll_up(tmp_path, [ENTRIES], [False])
    connection = open_to_read(tmp_path / FILE_NAME)
    with pytest.raises(sqlite3.OperationalError, match="readonly"):
        connection.execute("DELETE FROM cells")
    connection.close()
    with pytest.raises(RollupError, match="could not be read"):
        open_to_read(tmp_path / "nothing")
