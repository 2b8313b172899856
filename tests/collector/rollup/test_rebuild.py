"""Rebuilt from the log to the same numbers; what the log no longer tells is kept."""

import asyncio
import sqlite3
from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import given, settings

from collector.log.engine import Bounds, Entry
from collector.rollup.consumer import RollupConsumer
from collector.rollup.file import FILE_NAME, LOCK_NAME, RollupError
from collector.rollup.rebuild import rebuild
from probes.contract.events import Event
from tests.collector.memory_log import MemoryLog
from tests.collector.rollup.histories import (
    arrival,
    config,
    egress,
    expiry,
    histories,
    intent,
    listed,
    log_of,
    queue_look,
    submission,
    tick,
)
from tests.collector.rollup.recount import (
    directory,
    dump,
    dump_looks,
    dump_queued,
    roll_up,
    rolled_up,
)


def again(where: Path, entries: Sequence[Entry]) -> int:
    """Rebuild from a log that holds those entries."""
    counted: list[int] = []
    count = asyncio.run(rebuild(MemoryLog(entries), where, counted.append))
    assert sum(counted) == count
    left = {file.name for file in where.iterdir() if "damaged" not in file.name}
    assert left == {FILE_NAME, LOCK_NAME}
    return count


@settings(max_examples=50)
@given(histories())
def test_a_rebuilt_rollup_has_the_same_numbers(entries: list[Entry]) -> None:
    with directory() as where:
        roll_up(where, [entries], [False])
        before = dump(where), dump_looks(where)
        assert again(where, entries) == len(entries)
        assert (dump(where), dump_looks(where)) == before


def story(first: int, at_s: float) -> list[tuple[float, Event]]:
    """Two canaries, the second of which is lost."""
    sent = [intent(first, at_s=at_s), intent(first + 1, at_s=at_s + 1)]
    return [
        *((at_s + 2, one) for one in sent),
        *((at_s + 3, submission(one)) for one in sent),
        (at_s + 4, arrival(sent[0])),
        (at_s + 1900, expiry(sent[1])),
    ]


def _when(item: tuple[float, Event]) -> float:
    return item[0]


def test_what_the_log_no_longer_tells_is_kept(tmp_path: Path) -> None:
    hours = [event for hour in range(30) for event in story(1 + 2 * hour, 3600.0 * hour)]
    late = arrival(intent(2, at_s=1.0), 90_000, 90_001)
    told: list[tuple[float, Event]] = [(0.0, config("r1", "aws")), *hours, (108_000.0, late)]
    told.sort(key=_when)
    entries = rolled_up(tmp_path, told)
    before = dump(tmp_path)
    for dropped in (1, 3, 50, 100, len(entries) - 1):
        again(tmp_path, entries[dropped:])
        assert dump(tmp_path) == before
    again(tmp_path, entries[100:])
    # The log still corrects a canary that was sent before its beginning.
    more = log_of([tick(110_000), arrival(intent(4, at_s=3601.0), 100_000, 100_001)])
    shifted = [
        entry._replace(cursor=len(entries) + n, ingested_at_ns=entries[-1].ingested_at_ns + n)
        for n, entry in enumerate(more, 1)
    ]
    roll_up(tmp_path, [shifted], [False])
    corrected = dump(tmp_path)
    assert corrected != before
    again(tmp_path, [*entries[100:], *shifted])
    assert dump(tmp_path) == corrected


def test_a_damaged_file_is_moved_aside_and_what_the_log_has_is_counted(tmp_path: Path) -> None:
    entries = log_of([event for hour in range(3) for event in story(1 + 2 * hour, 3600.0 * hour)])
    (tmp_path / FILE_NAME).write_bytes(b"no database at all, " * 1000)
    assert again(tmp_path, entries[1:]) == len(entries) - 1
    assert (tmp_path / f"{FILE_NAME}.damaged-1").exists()
    assert dump(tmp_path)


def test_of_an_emptied_log_nothing_is_rebuilt(tmp_path: Path) -> None:
    class Emptied(MemoryLog):
        async def bounds(self) -> Bounds:
            return Bounds(8, 7, 0, 1, 0, None)

    with pytest.raises(RollupError, match="the log is empty"):
        asyncio.run(rebuild(Emptied(), tmp_path, lambda _count: None))
    assert list(tmp_path.iterdir()) == []


def test_a_failure_leaves_the_old_file(tmp_path: Path) -> None:
    entries = rolled_up(tmp_path, story(1, 0.0))
    before = dump(tmp_path)
    log = MemoryLog(entries)
    log.broken = True
    with pytest.raises(OSError, match="broken"):
        asyncio.run(rebuild(log, tmp_path, lambda _count: None))
    assert dump(tmp_path) == before
    assert {file.name for file in tmp_path.iterdir()} == {FILE_NAME, LOCK_NAME}


def test_an_old_file_that_is_newer_is_told_and_left(tmp_path: Path) -> None:
    connection = sqlite3.connect(tmp_path / FILE_NAME)
    connection.execute("PRAGMA user_version=3")
    connection.close()
    with pytest.raises(RollupError, match="found schema version 3, allowed is 2"):
        asyncio.run(rebuild(MemoryLog(log_of(story(1, 0.0))), tmp_path, lambda _count: None))
    connection = sqlite3.connect(tmp_path / FILE_NAME)
    assert connection.execute("PRAGMA user_version").fetchone() == (3,)
    connection.close()
    assert {file.name for file in tmp_path.iterdir()} == {FILE_NAME, LOCK_NAME}


async def test_it_does_not_begin_while_another_process_writes(tmp_path: Path) -> None:
    log = MemoryLog(log_of([intent(1)]))
    consumer = RollupConsumer(tmp_path)
    consumer.open(log.log_id, await log.bounds())
    with pytest.raises(RollupError, match="allowed is one process at a time"):
        await rebuild(log, tmp_path, lambda _: None)
    consumer.close()
    assert await rebuild(log, tmp_path, lambda _: None) == 1


@pytest.mark.parametrize("dropped", [0, 1, 4])
def test_looks_and_canaries_in_queues_are_there_again(tmp_path: Path, dropped: int) -> None:
    sent = intent(1)
    entries = log_of(
        [
            config("r1", "aws"),
            sent,
            submission(sent, queue_id="Q1"),
            (20.0, egress(20)),
            (40.0, queue_look(30, listed(sent, "Q1"))),
        ]
    )
    roll_up(tmp_path, [entries], [False])
    looks, seen = dump_looks(tmp_path), dump_queued(tmp_path)
    assert len(looks) == 2
    assert set(seen) == {sent.canary}
    again(tmp_path, entries[dropped:])
    assert (dump_looks(tmp_path), dump_queued(tmp_path)) == (looks, seen)
