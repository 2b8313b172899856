"""The arithmetic of the accuracy benchmark, and its small programs."""

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from benchmarks.accuracy import Observed, compare, figures, outside, plain
from benchmarks.inotify import MovedTo, names
from benchmarks.readers import canaries
from benchmarks.truth import Moved, canary_of, find, record

SECOND = 1_000_000_000
ID = "0123456789abcdef0123456789abcdef"
FOLDED = f"Subject: x\r\nMailcanary: v=1;\r\n id={ID}; a=bench\r\n\r\nid=no;".encode()


@pytest.mark.parametrize(
    ("lo", "hi", "delay", "early", "missed"),
    [
        (1.0, 2.0, 1.5, 0.0, 0.0),
        (1.0, 2.0, 2.25, 0.0, 0.25),
        (1.0, 2.0, 2.25, 0.5, 0.0),
        (1.0, 2.0, 0.75, 0.0, 0.25),
        (1.0, 2.0, 0.75, 0.5, 0.25),
    ],
)
def test_how_far_the_truth_lies_outside(
    lo: float, hi: float, delay: float, early: float, missed: float
) -> None:
    assert outside(lo, hi, delay, early) == missed


def test_errors_are_against_the_truth() -> None:
    truth: dict[str, dict[str, Any]] = {
        "a": {"wall_ns": 11 * SECOND, "boot_ns": 1 * SECOND, "moved_ns": None},
        "b": {"wall_ns": 12 * SECOND, "boot_ns": 2 * SECOND, "moved_ns": 12 * SECOND - 1000},
    }
    arrivals = [
        {"canary": "a", "sent_ns": 10 * SECOND, "delay": {"lo": 0.5, "hi": 1.0625}},
        {"canary": "b", "sent_ns": 10 * SECOND, "delay": {"lo": 2.5, "hi": 2.75}},
        {"canary": "unknown", "sent_ns": 0, "delay": {"lo": 0, "hi": 1}},
    ]
    seen = plain(
        truth,
        [
            {"canary": "a", "boot_ns": 3 * SECOND, "commands": 2},
            {"canary": "b", "boot_ns": 3 * SECOND, "commands": 8},
        ],
    )
    result = compare(truth, arrivals, seen, Observed([5.0]))
    assert seen == Observed([2.0, 1.0], 3.0)
    assert result.agent.errors == [0.0625, 0.75]
    assert result.relative == [0.0625 / 0.03, 0.75 / 0.06]
    assert result.held == 1
    assert result.outside == [0.5]
    assert [figure.name for figure in figures(10, result)] == [
        "accuracy.10_per_s.error_p50_beside_idle",
        "accuracy.10_per_s.error_p99_beside_idle",
        "accuracy.10_per_s.error_p50_beside_poll",
        "accuracy.10_per_s.error_p99_beside_poll",
        "accuracy.10_per_s.error_p99_of_aim",
        "accuracy.10_per_s.interval_true",
        "accuracy.10_per_s.commands",
        "accuracy.10_per_s.delay_p50",
        "accuracy.10_per_s.truth_uncertainty_p99",
    ]


def test_the_plain_readers_find_canaries() -> None:
    lines: list[bytes | bytearray] = [
        b"1 FETCH (UID 7 BODY[HEADER.FIELDS (MAILCANARY)] {70}",
        bytearray(f"Mailcanary: v=1; id={ID}; a=bench\r\n\r\n".encode()),
        b")",
        b"2 FETCH (UID 8 BODY[HEADER.FIELDS (MAILCANARY)] {2}",
        bytearray(b"\r\n"),
        b")",
        b"Fetch completed.",
    ]
    assert canaries(lines) == [(7, ID)]


@pytest.fixture
def maildir(tmp_path: Path) -> Path:
    for part in ("tmp", "new", "cur"):
        (tmp_path / part).mkdir()
    return tmp_path


@pytest.fixture
def moves(maildir: Path) -> Iterator[MovedTo]:
    with contextlib.closing(MovedTo(maildir / "new")) as moves:
        yield moves


def test_a_move_is_seen_and_the_mail_named(maildir: Path, moves: MovedTo) -> None:
    for name in ("one", "a longer name"):
        (maildir / "tmp" / name).write_bytes(FOLDED)
        (maildir / "tmp" / name).rename(maildir / "new" / name)
    (maildir / "new" / "made here, not moved").touch()
    assert list(names(moves.read())) == ["one", "a longer name"]


def test_a_directory_that_is_not_there(tmp_path: Path) -> None:
    before = len(list(Path("/proc/self/fd").iterdir()))
    with pytest.raises(FileNotFoundError):
        MovedTo(tmp_path / "missing")
    assert len(list(Path("/proc/self/fd").iterdir())) == before


def test_the_truth_of_a_mail_wherever_it_lies_by_now(maildir: Path) -> None:
    moved = Moved("mail", 5, 6)
    assert record(maildir, moved) is None
    (maildir / "new" / "mail").write_bytes(FOLDED)
    line = record(maildir, moved)
    assert line is not None
    assert ID in line.decode()
    (maildir / "new" / "mail").rename(maildir / "cur" / "mail:2,S")
    assert find(maildir, "mail") == maildir / "cur" / "mail:2,S"
    assert record(maildir, moved) == (
        f'{{"canary":"{ID}","wall_ns":5,"boot_ns":6,"moved_ns":null}}\n'.encode()
    )


def test_only_the_header_field_is_read() -> None:
    assert canary_of(FOLDED) == ID
    assert canary_of(b"Subject: id=0\r\n\r\n") is None
