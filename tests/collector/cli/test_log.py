"""``mailcanary log``: what is printed, what the exit codes are, where the errors go."""

import asyncio
import json
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

import mailcanary
from collector.log import files
from collector.log.sqlite import SqliteLog
from collector.log.store import Limits
from probes.contract.errors import MailcanaryError
from tests.collector.log.batches import batch


def run(*args: object) -> Result:
    return CliRunner().invoke(mailcanary.app, ["log", *(str(arg) for arg in args)])


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """A log of 30 events with a gap of two in three segments."""

    async def fill() -> None:
        log = SqliteLog.open(tmp_path / "log", Limits(segment_bytes=1))
        for first in (1, 11, 23):
            await log.append(batch(first, first + 9))
        await log.close()

    asyncio.run(fill())
    return tmp_path / "log"


def test_verify(place: Path) -> None:
    shown = run("verify", place)
    assert shown.exit_code == 0
    assert shown.stdout == (
        "3 segments, 30 events and 0 dead letters of 1 sources, 2 events known to be missing\n"
    )
    found = json.loads(run("verify", place, "--json").stdout)
    assert (found["entries"], found["missing"], found["problems"]) == (30, 2, [])
    files.segment_file(place, 11).unlink()
    shown = run("verify", place)
    assert shown.exit_code == 1
    assert "meta.first: found 21, allowed is 11" in shown.stderr
    assert run("verify", place, "--json").exit_code == 1


def test_export_and_import(place: Path, tmp_path: Path) -> None:
    shown = run("export", place)
    assert shown.exit_code == 0
    assert len(shown.stdout.splitlines()) == 30
    assert "30 events, up to cursor 30" in shown.stderr
    file = tmp_path / "export.jsonl"
    assert run("export", place, "--to", file).exit_code == 0
    assert file.read_text() == shown.stdout
    done = json.loads(run("import", tmp_path / "new", file, "--json").stdout)
    assert (done["accepted"], done["duplicates"], done["missing"]) == (30, 0, 2)
    again = run("import", tmp_path / "new", file)
    assert again.stdout.startswith("0 events imported, 30 were there already")
    assert run("export", tmp_path / "new").stdout == shown.stdout


@pytest.mark.parametrize(
    ("options", "count"),
    [
        (["--after", "25"], 5),
        (["--until", "25"], 25),
        (["--after", "2023-11-14T22:13:20Z"], 30),
        (["--after", "2023-11-14T22:13:21Z"], 0),
        (["--until", "2023-11-14T23:13:20+01:00"], 30),
        (["--kinds", "arrival"], 0),
        (["--kinds", "arrival, tick"], 30),
    ],
)
def test_a_part_is_exported(place: Path, options: list[str], count: int) -> None:
    assert len(run("export", place, *options).stdout.splitlines()) == count


@pytest.mark.parametrize("time", ["yesterday", "2023-11-14T22:13:20", "-5"])
def test_a_bound_that_is_none(place: Path, time: str) -> None:
    shown = run("export", place, f"--after={time}")
    assert shown.exit_code == 2
    assert "--after" in shown.stderr


def test_nothing_of_a_wrong_file_is_imported(place: Path, tmp_path: Path) -> None:
    file = tmp_path / "export.jsonl"
    run("export", place, "--to", file)
    lines = file.read_text().splitlines(keepends=True)
    lines[3] = "x\n"
    file.write_text("".join(lines))
    shown = run("import", tmp_path / "new", file)
    assert isinstance(shown.exception, MailcanaryError)
    assert shown.exception.exit_code == 2
    assert f"{file}:4: found JSON is malformed" in str(shown.exception)
    assert not (tmp_path / "new").exists()
    done = json.loads(run("import", tmp_path / "new", file, "--skip-bad", "--json").stdout)
    assert (done["accepted"], done["bad"], done["missing"]) == (29, 1, 3)


def test_backup_and_restore(place: Path, tmp_path: Path) -> None:
    done = json.loads(run("backup", place, tmp_path / "copy", "--json").stdout)
    assert (done["segments"], done["entries"], done["problems"]) == (3, 30, [])
    assert run("verify", tmp_path / "copy").exit_code == 0
    shown = run("restore", tmp_path / "copy", tmp_path / "new")
    assert shown.exit_code == 0
    assert shown.stdout.startswith("3 segments, 30 events")
    assert run("export", tmp_path / "new").stdout == run("export", place).stdout
    assert isinstance(run("backup", place, tmp_path / "copy").exception, MailcanaryError)


def test_an_import_beside_a_running_collector_is_refused(place: Path, tmp_path: Path) -> None:
    file = tmp_path / "export.jsonl"
    run("export", place, "--to", file)

    async def running() -> Result:
        log = SqliteLog.open(place)
        shown = await asyncio.to_thread(run, "import", place, file)
        await log.close()
        return shown

    assert "found the lock held by process" in str(asyncio.run(running()).exception)


def test_where_there_is_no_log(tmp_path: Path) -> None:
    for args in (["verify"], ["export"]):
        shown = run(*args, tmp_path / "none")
        assert isinstance(shown.exception, MailcanaryError)
        assert str(tmp_path / "none") in str(shown.exception)
