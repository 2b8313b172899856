"""``mailcanary rebuild rollups`` on a log in files, and where it refuses."""

import asyncio
import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from collector.cli.rebuild import rebuild
from collector.log.engine import Batch, Item
from collector.log.sqlite import SqliteLog
from collector.rollup.file import FILE_NAME
from tests.collector.rollup.histories import arrival, intent, log_of, submission
from tests.collector.rollup.recount import dump, roll_up

SENT = intent(1)
ENTRIES = log_of([SENT, submission(SENT), arrival(SENT)])


async def fill(log: SqliteLog) -> None:
    items = [Item(entry.seq, entry.kind, entry.body) for entry in ENTRIES]
    at_ns = ENTRIES[-1].ingested_at_ns
    await log.append(Batch("sfo", "epoch", 1, len(items), items, [], at_ns))


async def test_it_counts_the_log_and_says_so(tmp_path: Path) -> None:
    (tmp_path / "by-hand").mkdir()
    roll_up(tmp_path / "by-hand", [ENTRIES], [False])
    log = SqliteLog.open(tmp_path / "log")
    await fill(log)
    await log.close()
    result = await _run(["rollups", "--state", str(tmp_path), "--json"])
    assert result == (0, json.dumps({"entries": 3}) + "\n", "")
    assert dump(tmp_path) == dump(tmp_path / "by-hand")


async def test_it_refuses_while_a_collector_runs(tmp_path: Path) -> None:
    log = SqliteLog.open(tmp_path / "log")
    try:
        code, out, err = await _run(["rollups", "--state", str(tmp_path)])
    finally:
        await log.close()
    assert (code, out) == (1, "")
    assert "lock" in err
    assert not (tmp_path / FILE_NAME).exists()


@pytest.mark.parametrize("missing", ["", "nowhere"])
def test_it_makes_no_log_where_there_is_none(tmp_path: Path, missing: str) -> None:
    result = CliRunner().invoke(rebuild, ["rollups", "--state", str(tmp_path / missing)])
    assert result.exit_code == 1
    assert "found no log" in result.stderr
    assert list(tmp_path.iterdir()) == []


async def _run(arguments: list[str]) -> tuple[int, str, str]:
    # The command runs an event loop of its own, so not in this one's thread.
    result = await asyncio.to_thread(CliRunner().invoke, rebuild, arguments)
    return result.exit_code, result.stdout, result.stderr
