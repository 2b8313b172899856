"""The control file: transactions that are shared, and what is refused."""

import asyncio
import os
import sqlite3
import stat
from pathlib import Path

import pytest

from collector.control.schema import (
    FILE_NAME,
    MIGRATIONS,
    SCHEMA_VERSION,
    ControlError,
    open_control,
)
from collector.control.store import operate
from tests.collector.control.stores import control_store


def _marks(connection: sqlite3.Connection) -> dict[str, int]:
    return dict(connection.execute("SELECT key, value FROM marks").fetchall())


def _count(connection: sqlite3.Connection) -> int:
    return int(connection.execute("SELECT count(*) FROM marks").fetchone()[0])


def _insert(connection: sqlite3.Connection, key: str) -> None:
    connection.execute("INSERT INTO marks VALUES (?, 1)", (key,))


async def test_what_was_written_is_there_after_a_restart(tmp_path: Path) -> None:
    async with control_store(tmp_path) as store:
        await store.run(lambda connection: _insert(connection, "a"))
    async with control_store(tmp_path) as store:
        assert await store.read(_marks) == {"a": 1}


async def test_one_operation_that_fails_undoes_itself_and_no_other(tmp_path: Path) -> None:
    def fails(connection: sqlite3.Connection) -> None:
        _insert(connection, "half")
        raise LookupError("no")

    async with control_store(tmp_path) as store:
        results = await asyncio.gather(
            store.run(lambda connection: _insert(connection, "a")),
            store.run(fails),
            store.run(lambda connection: _insert(connection, "a")),
            store.run(lambda connection: _insert(connection, "b")),
            return_exceptions=True,
        )
        assert [type(result) for result in results] == [
            type(None),
            LookupError,
            sqlite3.IntegrityError,
            type(None),
        ]
        assert await store.read(_marks) == {"a": 1, "b": 1}


async def test_what_was_handed_over_is_done_though_its_caller_went(tmp_path: Path) -> None:
    async with control_store(tmp_path) as store:
        task = asyncio.create_task(store.run(lambda connection: _insert(connection, "a")))
        await asyncio.sleep(0)
        task.cancel()
        await store.read(_count)
    assert operate(tmp_path, _marks) == {"a": 1}


async def test_another_process_may_write_meanwhile(tmp_path: Path) -> None:
    async with control_store(tmp_path) as store:
        await asyncio.to_thread(operate, tmp_path, lambda connection: _insert(connection, "cli"))
        assert await store.read(_marks) == {"cli": 1}


async def test_a_closed_store_says_so(tmp_path: Path) -> None:
    async with control_store(tmp_path) as store:
        pass
    with pytest.raises(ControlError, match="closed"):
        await store.run(_count)


def test_the_file_is_its_owners_alone(tmp_path: Path) -> None:
    directory = tmp_path / "state"
    open_control(directory).close()
    assert stat.S_IMODE((directory / FILE_NAME).stat().st_mode) == 0o600
    assert stat.S_IMODE(directory.stat().st_mode) == 0o700


@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives files away")
def test_root_makes_it_for_whoever_owns_the_directory(tmp_path: Path) -> None:
    os.chown(tmp_path, 12345, 12345)
    connection = open_control(tmp_path)
    connection.execute("INSERT INTO marks VALUES ('a', 1)")
    owners = {file.name: file.stat().st_uid for file in tmp_path.iterdir()}
    connection.close()
    assert owners == {FILE_NAME: 12345, f"{FILE_NAME}-wal": 12345, f"{FILE_NAME}-shm": 12345}


def test_a_newer_file_is_refused_and_left_alone(tmp_path: Path) -> None:
    connection = open_control(tmp_path)
    connection.execute(f"PRAGMA user_version={SCHEMA_VERSION + 1:d}")
    connection.close()
    with pytest.raises(ControlError, match=f"found schema version {SCHEMA_VERSION + 1}"):
        open_control(tmp_path)


def test_a_damaged_file_is_refused_and_left_where_it_is(tmp_path: Path) -> None:
    (tmp_path / FILE_NAME).write_bytes(b"no database at all" * 100)
    with pytest.raises(ControlError, match="a sound control file"):
        open_control(tmp_path)
    assert (tmp_path / FILE_NAME).read_bytes().startswith(b"no database")


def test_a_directory_that_is_none(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(ControlError, match="a directory that this user can write"):
        open_control(tmp_path / "file" / "state")


def test_a_migration_that_fails_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    open_control(tmp_path).close()
    broken = (*MIGRATIONS, "CREATE TABLE extra (a);\nCREATE TABLE extra (a);\n")
    monkeypatch.setattr("collector.control.schema.MIGRATIONS", broken)
    monkeypatch.setattr("collector.control.schema.SCHEMA_VERSION", len(broken))
    with pytest.raises(ControlError, match="already exists"):
        open_control(tmp_path)
    monkeypatch.undo()
    tables = operate(
        tmp_path, lambda connection: connection.execute("SELECT name FROM sqlite_master").fetchall()
    )
    assert ("extra",) not in tables
