"""The journal beside the spool's file stays within bounds."""

import contextlib
import sqlite3
from collections.abc import Iterator
from pathlib import Path

from agent.spool.schema import FILE_NAME, JOURNAL_BYTES, OpenSpool

MIB = 1 << 20


@contextlib.contextmanager
def reading(directory: Path) -> Iterator[None]:
    """Somebody reads the spool meanwhile and sees it as it was when they began."""
    reader = sqlite3.connect(directory / FILE_NAME, isolation_level=None)
    try:
        reader.execute("BEGIN")
        reader.execute("SELECT count(*) FROM events").fetchone()
        yield
    finally:
        reader.close()


def write(spool: OpenSpool, directory: Path, mib: int) -> int:
    """Commit so much, half a MiB at a time; the longest that the journal became."""
    longest = 0
    for _ in range(2 * mib):
        spool.connection.execute("BEGIN IMMEDIATE")
        rows = [(1, bytes(8192))] * 64
        spool.connection.executemany("INSERT INTO events (at_ns, body) VALUES (?, ?)", rows)
        spool.connection.execute("DELETE FROM events WHERE seq <= (SELECT max(seq) FROM events)")
        spool.connection.execute("COMMIT")
        longest = max(longest, (directory / f"{FILE_NAME}-wal").stat().st_size)
    return longest


def test_it_stays_short_while_events_come_and_go(opened: OpenSpool, tmp_path: Path) -> None:
    assert write(opened, tmp_path, 40) <= 8 * MIB


def test_readers_that_come_and_go_do_not_make_it_grow(opened: OpenSpool, tmp_path: Path) -> None:
    for _ in range(8):
        with reading(tmp_path):
            write(opened, tmp_path, 4)
        assert write(opened, tmp_path, 4) <= JOURNAL_BYTES


def test_what_it_grew_behind_a_slow_readers_back_is_given_back(
    opened: OpenSpool, tmp_path: Path
) -> None:
    with reading(tmp_path):
        assert write(opened, tmp_path, 40) > 2 * JOURNAL_BYTES
    write(opened, tmp_path, 4)
    assert (tmp_path / f"{FILE_NAME}-wal").stat().st_size <= JOURNAL_BYTES
