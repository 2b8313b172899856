"""The control file copied while it is written to."""

import asyncio
import sqlite3
from pathlib import Path

import pytest

from collector.control.backup import Counts, copy_control
from collector.control.principal import Kind
from collector.control.schema import FILE_NAME, SCHEMA_VERSION, ControlError
from collector.control.tokens import Tokens
from tests.collector.control.stores import control_store


def _out(directory: Path) -> Path:
    out = directory / "out"
    out.mkdir()
    return out


async def test_a_copy_beside_a_writer_is_whole_and_its_owners_alone(tmp_path: Path) -> None:
    out = _out(tmp_path)
    async with control_store(tmp_path / "state") as store:
        tokens = Tokens(store)
        made = [await tokens.create(Kind.AGENT, "sfo", who="test") for _ in range(3)]
        writing = asyncio.gather(
            *(tokens.create(Kind.OPERATOR, "ann", who="test") for _ in range(20))
        )
        found = await asyncio.to_thread(copy_control, tmp_path / "state", out)
        await writing
    # A token and its entry in the audit trail are one transaction.
    assert 3 <= found.tokens == found.audit <= 23
    assert [file.name for file in out.iterdir()] == [FILE_NAME]
    assert (out / FILE_NAME).stat().st_mode & 0o777 == 0o600
    async with control_store(out) as store:
        for _, text in made:
            who = await Tokens(store).verify(text.reveal())
            assert who is not None
            assert (who.kind, who.name) == (Kind.AGENT, "sfo")


async def test_a_copy_of_a_copy_is_the_same(tmp_path: Path) -> None:
    out = _out(tmp_path)
    async with control_store(tmp_path / "state"):
        pass
    again = tmp_path / "again"
    again.mkdir()
    empty = Counts(tokens=0, audit=0, agents=0, revisions=0)
    assert copy_control(tmp_path / "state", out) == copy_control(out, again) == empty


async def test_what_is_no_sound_control_file_leaves_nothing_behind(tmp_path: Path) -> None:
    out, state = _out(tmp_path), tmp_path / "state"
    with pytest.raises(ControlError, match=r"found no control.sqlite3"):
        copy_control(state, out)
    async with control_store(state):
        pass
    file = state / FILE_NAME
    whole = file.read_bytes()
    file.write_bytes(whole[:4096] + b"\xff" * 4096 + whole[8192:])
    with pytest.raises(ControlError, match=r"allowed is a sound control file"):
        copy_control(state, out)
    file.write_bytes(b"no database, but long enough to be one, by and large" * 100)
    with pytest.raises(ControlError, match="not a database"):
        copy_control(state, out)
    file.write_bytes(whole)
    with sqlite3.connect(file) as connection:
        connection.execute(f"PRAGMA user_version={SCHEMA_VERSION + 1}")
    connection.close()
    with pytest.raises(ControlError, match=f"found schema version {SCHEMA_VERSION + 1}"):
        copy_control(state, out)
    assert list(out.iterdir()) == []
