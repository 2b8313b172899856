"""All of a collector in one directory, taken while agents send, and a collector from that."""

import asyncio
import json
import os
from pathlib import Path
from typing import Any

import pytest
from aiohttp import ClientSession
from typer.testing import CliRunner, Result

import mailcanary
from collector import backup as whole
from collector.control.principal import Kind
from collector.control.schema import FILE_NAME as CONTROL
from collector.rollup.file import FILE_NAME as ROLLUP
from probes.contract.errors import MailcanaryError
from probes.contract.events import encode
from probes.contract.names import Path as Route
from tests.collector.control.beats import beat
from tests.collector.ingest.made import GZIP, intent, packed
from tests.collector.inside import collector
from tests.collector.web.servers import bearer
from tests.disks import small_disk

URL = "/api/v1/events"


def run(*args: object) -> Result:
    return CliRunner().invoke(mailcanary.app, [str(arg) for arg in args])


ROUTE = Route("sfo", "relay-1", "acme/in")


async def _send(client: ClientSession, token: str, first: int, last: int) -> dict[str, Any]:
    data = packed([encode(intent(number, ROUTE)) for number in range(first, last + 1)], first)
    async with client.post(URL, data=data, headers={**bearer(token), **GZIP}) as response:
        answer: dict[str, Any] = await response.json()
        assert response.status == 200, answer
        assert answer["refused"] == []
        return answer


async def _send_until(
    over: "asyncio.Task[Any]", client: ClientSession, token: str, sent: int
) -> int:
    """Send batch after batch until the other thing is over; the last number that was sent."""
    while not over.done():
        await _send(client, token, sent + 1, sent + 5)
        sent += 5
    return sent


async def _get(client: ClientSession, path: str, headers: dict[str, str]) -> Any:
    async with client.get(path, headers=headers) as response:
        assert response.status == 200
        return await response.json()


async def _counted(parts: Any) -> None:
    """Wait until the rollups have dealt with all that is in the log now."""
    last = (await parts.log.bounds()).last
    async with asyncio.timeout(30):
        while parts.consumers[0].status().cursor < last:  # noqa: ASYNC110 - no one tells
            await asyncio.sleep(0.01)


async def test_a_copy_taken_while_it_runs_is_a_whole_collector(tmp_path: Path) -> None:
    target, other = tmp_path / "backup", tmp_path / "other"
    async with collector(tmp_path) as (parts, client, ann):
        _, secret = await parts.tokens.create(Kind.AGENT, "sfo", who="test")
        sfo = secret.reveal()
        parts.agents.beat("sfo", beat())
        await parts.agents.flush()
        await _send(client, sfo, 1, 50)
        await _counted(parts)
        main = Path(parts.settings.config)
        state, files = tmp_path / "state", whole.config_files(None, main)
        copying = asyncio.create_task(asyncio.to_thread(whole.backup, state, target, files))
        sent = await _send_until(copying, client, sfo, 50)
        done = await copying
        audit = await _get(client, "/api/v1/audit", ann)
    assert (done.log.problems, done.notes, done.rollups) == ([], [], True)
    assert (done.control.tokens, done.control.agents, done.config) == (2, 1, 3)
    assert (target / "config" / "customers.d" / "acme.yaml").read_bytes() == (
        main.parent / "customers.d" / "acme.yaml"
    ).read_bytes()

    made = whole.restore(target, other / "state")
    assert (made.log.problems, made.notes, made.control) == ([], [], done.control)
    async with collector(other) as (parts, client, _):
        kept = [entry.seq for entry in await parts.log.read(0, 10_000) if entry.source == "sfo"]
        assert kept == list(range(1, len(kept) + 1))
        assert 50 <= len(kept) <= sent
        assert (await _get(client, "/api/v1/audit", ann))["entries"][-2:] == audit["entries"][-2:]
        agents = (await _get(client, "/api/v1/agents", ann))["agents"]
        assert {agent["name"]: agent["seen_ns"] is not None for agent in agents} == {
            "lon": False,
            "sfo": True,
        }
        # The agent goes on where it is: what came after the backup is gone, and told.
        answer = await _send(client, sfo, sent + 1, sent + 5)
        gap = {"first_seq": len(kept) + 1, "last_seq": sent} if len(kept) < sent else None
        assert (answer["accepted"], answer["gap"]) == (5, gap)
        await _counted(parts)
        [consumer] = parts.consumers
        status = consumer.status()
        assert (status.missed, status.problem) == (0, None)
        # What the rollups made of an event from before the backup.
        assert await _get(client, f"/api/v1/canaries/{7:032x}", ann)
    # Neither was the copy of the rollups refused, nor were they counted anew.
    assert {file.name for file in (other / "state").glob(f"{ROLLUP}*")} <= {
        ROLLUP, f"{ROLLUP}-wal", f"{ROLLUP}-shm"
    }  # fmt: skip


@pytest.fixture
async def stopped(tmp_path: Path) -> Path:
    """A directory with the state of a collector that was stopped, and its configuration."""
    async with collector(tmp_path):
        pass
    return tmp_path


def test_by_command_and_for_its_owner_alone(stopped: Path) -> None:
    settings = stopped / "etc" / "collector.yaml"
    settings.write_text(f"version: 1\nstate: {stopped / 'state'}\n")
    backup, state = stopped / "b" / "today", stopped / "new"
    shown = run("backup", backup, "--settings", settings)
    assert shown.exit_code == 0, shown.stderr
    assert shown.stdout.startswith(f"{backup}: 1 segments with ")
    assert "1 tokens, 1 audit entries, 0 agents, 1 revisions, rollups, 4 files" in shown.stdout
    assert backup.stat().st_mode & 0o777 == 0o700
    assert {file.name for file in (backup / "config").iterdir()} == {
        "collector.yaml", "customers.d", "mailcanary.yaml"
    }  # fmt: skip
    for name in (CONTROL, ROLLUP, "config/collector.yaml"):
        assert (backup / name).stat().st_mode & 0o777 == 0o600
    shown = run("restore", backup, "--state", state, "--json")
    assert shown.exit_code == 0, shown.stderr
    told = json.loads(shown.stdout)
    assert (told["control"]["tokens"], told["rollups"], told["problems"]) == (1, True, [])
    assert state.stat().st_mode & 0o777 == 0o700
    assert (state / CONTROL).stat().st_mode & 0o777 == 0o600


def test_without_its_files_that_is_said(stopped: Path) -> None:
    shown = run("backup", stopped / "b", "--state", stopped / "state")
    assert shown.exit_code == 0
    assert "no --settings and no --config" in shown.stderr
    assert not (stopped / "b" / "config").exists()
    main = stopped / "etc" / "other.yaml"
    shown = run("backup", stopped / "c", "--state", stopped / "state", "--config", main)
    assert shown.exit_code == 1
    assert f"{main}: found no such file or directory: left out" in shown.stderr


def test_what_root_restores_is_the_owners(stopped: Path) -> None:
    if os.geteuid() != 0:
        pytest.skip("only root gives files away")
    state = stopped / "new"
    state.mkdir()
    os.chown(state, 1234, 1234)
    whole.backup(stopped / "state", stopped / "b")
    whole.restore(stopped / "b", state)
    assert {file.stat().st_uid for file in state.rglob("*")} == {1234}


def test_damaged_rollups_are_left_out_and_a_damaged_control_file_is_no_backup(
    stopped: Path,
) -> None:
    state = stopped / "state"
    (state / ROLLUP).write_bytes(b"no database, but long enough to be one" * 200)
    done = whole.backup(state, stopped / "b")
    assert (done.rollups, len(done.notes)) == (False, 1)
    assert whole.restore(stopped / "b", stopped / "new").rollups is False
    (state / CONTROL).write_bytes(b"no database, but long enough to be one" * 200)
    with pytest.raises(MailcanaryError, match="allowed is a sound control file"):
        whole.backup(state, stopped / "c")
    assert not list(stopped.glob("c*"))


def test_what_is_no_backup_or_in_the_way_is_refused(stopped: Path) -> None:
    state = stopped / "state"
    with pytest.raises(MailcanaryError, match="none: found no log"):
        whole.backup(stopped / "none", stopped / "x" / "b")
    assert not (stopped / "x").exists()
    with pytest.raises(MailcanaryError, match="found no backup"):
        whole.restore(stopped / "etc", stopped / "new")
    with pytest.raises(MailcanaryError, match="new or empty"):
        whole.backup(state, stopped / "etc")
    whole.backup(state, stopped / "b")
    with pytest.raises(MailcanaryError, match="new or empty"):
        whole.restore(stopped / "b", state)
    [segment] = (stopped / "b" / "log").glob("*.sqlite3")
    segment.write_bytes(segment.read_bytes()[:5000])
    with pytest.raises(MailcanaryError):
        whole.restore(stopped / "b", stopped / "new")
    assert not list((stopped / "new").iterdir())


def test_on_a_full_disk_nothing_is_left(stopped: Path) -> None:
    with small_disk(stopped / "disk", "40k") as disk:
        with pytest.raises(MailcanaryError):
            whole.backup(stopped / "state", disk / "b")
        assert list(disk.iterdir()) == []
