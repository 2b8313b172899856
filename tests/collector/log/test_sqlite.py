"""The embedded engine keeps the contract, with segments as small as they can be and as usual."""

import asyncio
import sqlite3
from pathlib import Path

import pytest

from collector.log import files, rows
from collector.log.engine import Log, LogError, Retention
from collector.log.pending import Pending
from collector.log.sqlite import SqliteLog
from collector.log.store import Limits, Store
from collector.log.verify import verify
from tests.collector.log.batches import AT_NS, S, batch, everything, settle
from tests.collector.log.contract import LogContract, Make

SMALL = Limits(segment_bytes=1)
"""A segment for every commit."""


class TestSqlite(LogContract):
    @pytest.fixture(params=[Limits(), SMALL], ids=["usual", "small"])
    def make(self, tmp_path: Path, request: pytest.FixtureRequest) -> Make:
        async def make() -> Log:
            return SqliteLog.open(tmp_path / "log", request.param)

        return make


async def test_segments_are_closed_by_size_and_named_by_their_first_cursor(tmp_path: Path) -> None:
    log = SqliteLog.open(tmp_path, Limits(segment_bytes=1 << 20))
    for first in range(1, 6001, 500):
        await log.append(batch(first, first + 499, padding=1000))
    firsts = files.list_segments(tmp_path)
    assert len(firsts) > 3
    cursors = [entry.cursor for entry in await everything(log)]
    assert cursors == list(range(1, 6001))
    for first in firsts[:-1]:
        with sqlite3.connect(files.segment_file(tmp_path, first)) as connection:
            assert connection.execute("SELECT min(cursor) FROM chunks").fetchone() == (first,)
        connection.close()
        assert files.segment_file(tmp_path, first).stat().st_size < 3 << 20
    await log.close()


async def test_segments_are_closed_by_age_as_the_batches_tell_it(tmp_path: Path) -> None:
    log = SqliteLog.open(tmp_path, Limits(segment_s=60))
    for second in range(0, 300, 10):
        await log.append(batch(second // 10 + 1, second // 10 + 1, at_ns=AT_NS + second * S))
    assert (await log.bounds()).segments == 5
    await log.close()


async def test_a_clock_set_back_begins_no_segments(tmp_path: Path) -> None:
    log = SqliteLog.open(tmp_path, Limits(segment_s=60))
    for number in range(1, 20):
        await log.append(batch(number, number, at_ns=AT_NS - number * 3600 * S))
    assert (await log.bounds()).segments == 1
    await log.close()


async def test_retention_by_size(tmp_path: Path) -> None:
    log = SqliteLog.open(tmp_path, Limits(segment_bytes=1 << 20))
    for first in range(1, 10_001, 500):
        await log.append(batch(first, first + 499, padding=1000))
    before = await log.bounds()
    assert before.bytes > 8 << 20
    gone = await log.trim(Retention(bytes=5 << 20), AT_NS)
    after = await log.bounds()
    assert after.bytes <= 5 << 20
    assert len(await everything(log)) == 10_000 - gone
    assert log.health().trimmed == gone > 0
    await log.close()


async def test_a_reader_in_the_middle_holds_up_no_writer(tmp_path: Path) -> None:
    log = SqliteLog.open(tmp_path, SMALL)
    await log.append(batch(1, 10))
    segment = log._store.view.segments[-1]
    slow = sqlite3.connect(f"{segment.file.as_uri()}?mode=ro", uri=True, isolation_level=None)
    slow.execute("BEGIN")
    assert slow.execute("SELECT count(*) FROM chunks").fetchone() == (1,)
    for first in range(11, 101, 10):
        await log.append(batch(first, first + 9))
    assert [e.seq for e in await everything(log)] == list(range(1, 101))
    await settle(log)
    assert [one.first for one in log._store.view.segments[:-1] if not one.still] == [1]
    slow.execute("ROLLBACK")
    slow.close()
    await settle(log)
    assert all(segment.still for segment in log._store.view.segments[:-1])
    await log.close()


async def test_callers_that_wait_share_a_commit(tmp_path: Path) -> None:
    log = SqliteLog.open(tmp_path)
    await asyncio.gather(*(log.append(batch(1, 5, source=f"a{n}")) for n in range(200)))
    assert log.health().commits < 100
    assert log.health().appended == 1000
    await log.close()


async def test_a_log_has_one_owner(tmp_path: Path) -> None:
    log = SqliteLog.open(tmp_path)
    with pytest.raises(LogError, match="found the lock held by process"):
        SqliteLog.open(tmp_path)
    await log.close()
    await SqliteLog.open(tmp_path).close()


async def test_reading_goes_on_while_segments_are_dropped(tmp_path: Path) -> None:
    log = SqliteLog.open(tmp_path, SMALL)
    for hour in range(50):
        await log.append(batch(hour + 1, hour + 1, at_ns=AT_NS + hour * 3600 * S))

    async def trim() -> None:
        for hour in range(40):
            await log.trim(Retention(age_s=1.0), AT_NS + hour * 3600 * S)

    async def read() -> None:
        for _ in range(40):
            seqs = [entry.seq for entry in await everything(log, limit=3)]
            assert seqs == sorted(set(seqs))
            assert seqs[-1] == 50

    await asyncio.gather(trim(), read(), read())
    await log.close()


async def test_a_commit_that_failed_and_yet_came_to_the_disk_is_known(tmp_path: Path) -> None:
    log = SqliteLog.open(tmp_path)
    await log.append(batch(1, 3))

    def half_told(store: Store) -> None:
        pending = Pending(store.origins, store.next_cursor, store.view.last_entry)
        pending.add(batch(4, 6))
        with store._transaction() as connection:
            rows.insert(connection, pending.chunks, (), ())
            rows.save_origins(connection, pending.touched.values())
            # SQLite's own COMMIT after this one fails, as one does whose answer was lost.
            connection.execute("COMMIT")

    with pytest.raises(LogError):
        await log.run(half_told)
    again = await log.append(batch(4, 7))
    assert (again.accepted, again.duplicates, again.high_water) == (1, 3, 7)
    assert [entry.seq for entry in await everything(log)] == list(range(1, 8))
    await log.close()
    assert verify(tmp_path).problems == []
