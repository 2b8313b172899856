"""``verify`` sees what is wrong with a log: one change at a time to one that is whole."""

import sqlite3
from pathlib import Path

import pytest

from collector.log import files
from collector.log.sqlite import SqliteLog
from collector.log.store import Limits
from collector.log.verify import verify
from tests.collector.log.batches import batch


@pytest.fixture
async def whole(tmp_path: Path) -> Path:
    """A log of three segments, the middle one with a gap and a dead letter."""
    log = SqliteLog.open(tmp_path, Limits(segment_bytes=1))
    await log.append(batch(1, 10))
    await log.append(batch(15, 20, refused=[17]))
    await log.append(batch(21, 30))
    await log.close()
    return tmp_path


def middle(directory: Path) -> Path:
    return files.segment_file(directory, files.list_segments(directory)[1])


def test_a_whole_log_is(whole: Path) -> None:
    report = verify(whole)
    assert report.problems == []
    assert report.notes == []
    assert (report.segments, report.entries, report.dead_letters) == (3, 25, 1)
    assert (report.missing, report.sources) == (4, 1)


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ("DELETE FROM chunks WHERE first_seq=15", "fra/e1 seq 15 to 16: found nothing"),
        ("DELETE FROM chunks WHERE first_seq=15", "cursor 11 to 12: found nothing"),
        ("DELETE FROM dead", "fra/e1 seq 17 to 17: found nothing"),
        ("DELETE FROM gaps", "fra/e1 seq 11 to 14: found nothing"),
        ("UPDATE chunks SET first_seq=16 WHERE first_seq=15", "fra/e1 seq 17: found twice"),
        ("UPDATE chunks SET cursor=12 WHERE cursor=11", "cursor 13: found twice"),
        ("UPDATE chunks SET events=1 WHERE first_seq=15", "found 1 events, 2 kinds and 2 bodies"),
        (
            "UPDATE chunks SET content=CAST(replace(content,'{','[') AS BLOB)",
            "allowed is an event of kind tick",
        ),
        ("UPDATE chunks SET origin=7 WHERE first_seq=15", "origins[7]: found nothing"),
        ("UPDATE origins SET high_water=25", "fra/e1 seq 21 to 25: found nothing"),
        ("UPDATE origins SET high_water=19", "found numbers outside the marks"),
        ("UPDATE origins SET high_water=19", "origins[fra/e1].base: found 20, allowed is 19"),
        ("UPDATE origins SET base=9", "origins[fra/e1].base: found 9, allowed is 10"),
        ("DELETE FROM origins", "origins[fra/e1]: found nothing"),
        ("UPDATE meta SET value='x' WHERE key='log_id'", "meta.log_id: found x"),
        ("UPDATE meta SET value='12' WHERE key='first'", "meta.first: found 12"),
        ("UPDATE meta SET value='9' WHERE key='entries_before'", "meta.entries_before: found 9"),
        ("DELETE FROM meta WHERE key='first'", "allowed is a segment that can be read"),
        ("DROP TABLE dead", "allowed is a segment that can be read"),
        ("PRAGMA user_version=3", "user_version: found 3, allowed is 2"),
    ],
)
def test_each_fault_is_told(whole: Path, change: str, told: str) -> None:
    file = middle(whole)
    connection = sqlite3.connect(file, isolation_level=None)
    connection.execute(change)
    connection.close()
    problems = [str(problem) for problem in verify(whole).problems]
    assert any(told in problem and str(whole) in problem for problem in problems), problems


def test_a_segment_that_is_gone_is_missed(whole: Path) -> None:
    middle(whole).unlink()
    problems = " ".join(str(problem) for problem in verify(whole).problems)
    assert "meta.first: found 17, allowed is 11" in problems


def test_what_lies_about_is_noted(whole: Path) -> None:
    (whole / "0000000000000011.sqlite3.damaged-1").write_bytes(b"")
    (whole / "0000000000000099.sqlite3.new").write_bytes(b"")
    report = verify(whole)
    assert report.problems == []
    assert len(report.notes) == 2
