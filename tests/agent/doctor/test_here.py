"""State directory, disk and clock."""

import os
from pathlib import Path

import pytest

from agent.doctor.here import (
    LITTLE_BYTES,
    TOO_LITTLE_BYTES,
    judge_clock,
    judge_room,
    state_directory,
)
from agent.doctor.kernel_clock import KernelClock, kernel_clock, timesyncd_says_so
from agent.doctor.model import Findings, Item, Status


def _state(place: Path) -> dict[str, Item]:
    found = Findings("here")
    state_directory(found, place)
    return {item.name: item for item in found.items}


def test_a_directory_that_is_there(tmp_path: Path) -> None:
    items = _state(tmp_path)
    assert items["state directory"].status is Status.OK
    assert "free at" in items["disk"].seen
    assert list(tmp_path.iterdir()) == []


def test_a_directory_that_can_be_made(tmp_path: Path) -> None:
    item = _state(tmp_path / "a" / "b")["state directory"]
    assert item.status is Status.OK
    assert f"can make it in {tmp_path}" in item.seen
    assert list(tmp_path.iterdir()) == []


def test_a_file_in_its_place(tmp_path: Path) -> None:
    file = tmp_path / "state"
    file.write_text("")
    for place in (file, file / "deeper"):
        item = _state(place)["state directory"]
        assert item.status is Status.FAIL
        assert "not a directory" in item.seen
        assert "install -d" in item.advice


def test_a_place_where_nobody_can_make_anything() -> None:
    item = _state(Path("/proc/mailcanary"))["state directory"]
    assert item.status is Status.FAIL
    assert "in /proc)" in item.seen


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_directory_that_may_not_be_written(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    for place in (tmp_path, tmp_path / "state"):
        item = _state(place)["state directory"]
        assert item.status is Status.FAIL
        assert "permission denied" in item.seen
    tmp_path.chmod(0o700)


@pytest.mark.parametrize(
    ("free", "status"),
    [
        (LITTLE_BYTES, Status.OK),
        (LITTLE_BYTES - 1, Status.WARN),
        (TOO_LITTLE_BYTES, Status.WARN),
        (TOO_LITTLE_BYTES - 1, Status.FAIL),
        (0, Status.FAIL),
    ],
)
def test_room(free: int, status: Status) -> None:
    found = Findings("here")
    judge_room(found, "/var", free)
    assert found.items[0].status is status


@pytest.mark.parametrize(
    ("clock", "timesyncd", "status", "said"),
    [
        (KernelClock(synchronised=True, max_error_s=0.012), False, Status.OK, "at most 12 ms"),
        (KernelClock(synchronised=False, max_error_s=16.0), True, Status.OK, "systemd-timesyncd"),
        (KernelClock(synchronised=False, max_error_s=16.0), False, Status.WARN, "nobody keeps"),
        (None, False, Status.SKIPPED, "cannot be told"),
        (None, True, Status.OK, "systemd-timesyncd"),
    ],
)
def test_the_clock(clock: KernelClock | None, timesyncd: bool, status: Status, said: str) -> None:
    found = Findings("here")
    judge_clock(found, clock, timesyncd=timesyncd)
    assert found.items[0].status is status
    assert said in found.items[0].seen


def test_the_kernel_is_asked_without_harm() -> None:
    clock = kernel_clock()
    assert clock is None or clock.max_error_s >= 0


def test_timesyncd(tmp_path: Path) -> None:
    mark = tmp_path / "synchronized"
    assert not timesyncd_says_so(mark)
    mark.touch()
    assert timesyncd_says_so(mark)
