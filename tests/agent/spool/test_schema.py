"""Opening the spool: locks, damage, versions, and disks that cannot be used."""

import contextlib
import os
import sqlite3
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from agent.spool.schema import (
    FILE_NAME,
    SCHEMA_VERSION,
    OpenSpool,
    SpoolFullError,
    is_damage,
    open_spool,
)
from agent.spool.store import Store
from probes.contract.errors import SpoolError
from probes.contract.events import Tick
from tests.disks import fill, small_disk

NOBODY = 65534


def close(opened: OpenSpool) -> None:
    """Close a spool that was opened."""
    opened.connection.close()
    opened.lock.close()


def filled(directory: Path, events: int) -> str:
    """A spool with that many events; its epoch."""
    opened = open_spool(directory)
    store = Store(opened.connection, opened.epoch)
    store.begin()
    for number in range(events):
        store.append(Tick(at_ns=number), number)
    store.commit()
    close(opened)
    return opened.epoch


def test_a_new_spool_has_an_epoch_and_keeps_it(tmp_path: Path) -> None:
    first = open_spool(tmp_path / "deep" / "state")
    close(first)
    again = open_spool(tmp_path / "deep" / "state")
    close(again)
    assert again.epoch == first.epoch
    assert first.epoch.isalnum()
    assert first.quarantined is None
    assert again.quarantined is None


def test_every_spool_has_an_epoch_of_its_own(tmp_path: Path) -> None:
    assert len({filled(tmp_path / str(number), 0) for number in range(20)}) == 20


def test_others_cannot_look_into_the_state_directory(tmp_path: Path) -> None:
    close(open_spool(tmp_path / "state"))
    assert (tmp_path / "state").stat().st_mode & 0o077 == 0


def test_commits_wait_for_the_disk(tmp_path: Path) -> None:
    opened = open_spool(tmp_path)
    assert opened.connection.execute("PRAGMA synchronous").fetchone() == (2,)
    assert opened.connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    close(opened)


HOLDER = """
import sys
from pathlib import Path
from agent.spool.schema import open_spool
opened = open_spool(Path(sys.argv[1]))
print("held", flush=True)
sys.stdin.read()
"""


@contextlib.contextmanager
def held_by_another(directory: Path) -> Iterator["subprocess.Popen[str]"]:
    """A process that has the spool open."""
    with subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(directory)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        yield holder


def test_a_spool_that_another_process_holds_is_refused_by_its_number(tmp_path: Path) -> None:
    with held_by_another(tmp_path) as holder:
        with pytest.raises(SpoolError, match=f"lock held by process {holder.pid}, allowed is one"):
            open_spool(tmp_path)
        holder.communicate()
    close(open_spool(tmp_path))


def test_the_lock_of_a_killed_process_is_free(tmp_path: Path) -> None:
    with held_by_another(tmp_path) as holder:
        holder.kill()
    close(open_spool(tmp_path))


def test_what_is_no_database_is_moved_aside_and_a_new_epoch_begins(tmp_path: Path) -> None:
    epoch = filled(tmp_path, 3)
    file = tmp_path / FILE_NAME
    file.write_bytes(b"this is no database, nor was it ever one" * 100)
    (tmp_path / f"{FILE_NAME}-wal").write_bytes(b"journal")
    (tmp_path / f"{FILE_NAME}-shm").write_bytes(b"shared")
    opened = open_spool(tmp_path)
    close(opened)
    assert opened.epoch != epoch
    assert opened.quarantined == tmp_path / f"{FILE_NAME}.damaged-1"
    assert opened.quarantined.read_bytes().startswith(b"this is no database")
    assert opened.quarantined.with_name(f"{opened.quarantined.name}-wal").exists()
    assert opened.quarantined.with_name(f"{opened.quarantined.name}-shm").exists()
    again = open_spool(tmp_path)
    close(again)
    assert (again.epoch, again.quarantined) == (opened.epoch, None)


def test_a_damaged_page_is_found_at_the_start(tmp_path: Path) -> None:
    filled(tmp_path, 5000)
    file = tmp_path / FILE_NAME
    data = bytearray(file.read_bytes())
    middle = len(data) // 2 // 4096 * 4096
    data[middle : middle + 4096] = os.urandom(4096)
    file.write_bytes(data)
    opened = open_spool(tmp_path)
    close(opened)
    assert opened.quarantined is not None
    assert opened.quarantined.stat().st_size == len(data)


def test_a_second_damaged_file_overwrites_no_first(tmp_path: Path) -> None:
    names = []
    for _ in range(3):
        (tmp_path / FILE_NAME).write_bytes(b"no database" * 1000)
        opened = open_spool(tmp_path)
        close(opened)
        assert opened.quarantined is not None
        names.append(opened.quarantined.name)
    assert names == [f"{FILE_NAME}.damaged-{number}" for number in (1, 2, 3)]


def test_a_file_without_an_epoch_is_damaged(tmp_path: Path) -> None:
    filled(tmp_path, 1)
    with sqlite3.connect(tmp_path / FILE_NAME) as connection:
        connection.execute("DELETE FROM meta WHERE key = 'epoch'")
    connection.close()
    opened = open_spool(tmp_path)
    close(opened)
    assert opened.quarantined is not None


def test_a_newer_versions_file_is_refused_and_left_alone(tmp_path: Path) -> None:
    filled(tmp_path, 2)
    connection = sqlite3.connect(tmp_path / FILE_NAME)
    connection.execute(f"PRAGMA user_version={SCHEMA_VERSION + 1}")
    connection.close()
    with pytest.raises(SpoolError, match=f"schema version {SCHEMA_VERSION + 1}, allowed is"):
        open_spool(tmp_path)
    connection = sqlite3.connect(tmp_path / FILE_NAME)
    assert connection.execute("SELECT count(*) FROM events").fetchone() == (2,)
    connection.close()
    # The refusal holds no lock.
    with pytest.raises(SpoolError, match="schema version"):
        open_spool(tmp_path)


def test_a_state_directory_that_is_a_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "state").write_text("a file")
    with pytest.raises(SpoolError, match="allowed is a directory that the agent may write to"):
        open_spool(tmp_path / "state")


@pytest.fixture
def unprivileged() -> Iterator[Path]:
    """A directory that this process, root or not, may not write to while the test runs."""
    directory = Path(tempfile.mkdtemp(prefix="mailcanary-readonly-"))
    directory.chmod(0o555)
    if os.geteuid() == 0:
        os.seteuid(NOBODY)
        try:
            yield directory
        finally:
            os.seteuid(0)
    else:
        yield directory
    directory.chmod(0o755)
    directory.rmdir()


def test_a_directory_that_cannot_be_written_to_is_refused(unprivileged: Path) -> None:
    with pytest.raises(SpoolError, match="found Permission denied, allowed is a directory that"):
        open_spool(unprivileged)
    with pytest.raises(SpoolError, match="found Permission denied"):
        open_spool(unprivileged / "state")


@pytest.fixture
def tiny_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 256 KiB."""
    with small_disk(tmp_path / "disk", "256k") as directory:
        yield directory


def test_a_full_disk_is_told_from_other_troubles(tiny_disk: Path) -> None:
    filler = fill(tiny_disk)
    with pytest.raises(SpoolFullError, match="allowed is a d"):
        open_spool(tiny_disk / "state")
    filler.unlink()
    close(open_spool(tiny_disk / "state"))


def test_a_disk_that_fills_up_damages_nothing(tiny_disk: Path) -> None:
    opened = open_spool(tiny_disk)
    store = Store(opened.connection, opened.epoch)
    kept = 0

    def write(events: int) -> None:
        store.begin()
        for number in range(events):
            store.append(Tick(at_ns=number), number)
        store.commit()

    problem: sqlite3.Error | None = None
    while problem is None:
        try:
            write(50)
            kept += 50
        except sqlite3.Error as error:
            store.rollback()
            problem = error
    assert not is_damage(problem)
    close(opened)
    again = open_spool(tiny_disk)
    assert again.quarantined is None
    rows = again.connection.execute("SELECT count(*), max(seq) FROM events").fetchone()
    assert rows == (kept, kept)
    close(again)
