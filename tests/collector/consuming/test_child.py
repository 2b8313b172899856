"""A consumer's process by itself: how it ends, and what it makes of what it is told."""

import asyncio
import os
import random
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import Sequence
from pathlib import Path

import pytest

from collector.consuming.messages import FromProcess, Line, Report, Start, as_line, from_process
from collector.consuming.process import ConsumerProcess, command_of
from collector.log.follow import outlook
from collector.log.sqlite import SqliteLog
from tests.collector.consuming.life import Grower, assert_counted, ended, read_all, until

ROOT = Path(__file__).parents[3]


async def grown(state: Path) -> SqliteLog:
    log = SqliteLog.open(state / "log")
    grower = Grower(log)
    await grower.begin()
    await grower.grow(30)
    return log


async def child(state: Path) -> Process:
    return await asyncio.create_subprocess_exec(
        *command_of("rollup", state), stdin=PIPE, stdout=PIPE, stderr=PIPE, cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )  # fmt: skip


async def answers(process: Process, lines: Sequence[bytes]) -> tuple[list[FromProcess], bytes]:
    """All that it says when it is told so much and no more, and what it complains of."""
    out, errors = await process.communicate(b"".join(lines))
    return [from_process.decode(line) for line in out.splitlines()], errors


async def test_at_the_end_of_its_input_it_finishes_and_says_how_far_it_came(
    tmp_path: Path,
) -> None:
    log = await grown(tmp_path)
    process = await child(tmp_path)
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write(as_line(Start(log.log_id, outlook(log.view))))
    while True:
        message = from_process.decode(await process.stdout.readline())
        if isinstance(message, Report) and message.progress.cursor == log.view.last_entry:
            break
    told, errors = await answers(process, [])
    assert (process.returncode, errors) == (0, b"")
    assert isinstance(told[-1], Report)
    assert told[-1].progress.cursor == log.view.last_entry
    await assert_counted(log, tmp_path)
    await log.close()


async def test_what_it_does_not_understand_it_tells_and_passes_over(tmp_path: Path) -> None:
    log = await grown(tmp_path)
    lines = [b"tiger\n", as_line(Start(log.log_id, outlook(log.view))), b'{"type":"tiger"}\n', b"{"]
    told, errors = await answers(process := await child(tmp_path), lines)
    assert (process.returncode, errors) == (0, b"")
    assert [one.event for one in told if isinstance(one, Line)] == [
        "a message was not understood",
        "a message was not understood",
    ]
    await log.close()


async def test_told_nothing_it_ends(tmp_path: Path) -> None:
    process = await child(tmp_path)
    assert await answers(process, []) == ([], b"")
    assert process.returncode == 0


@pytest.mark.parametrize("seed", [1, 2])
async def test_it_ends_when_its_collector_was_killed_and_the_next_one_goes_on(
    tmp_path: Path, seed: int
) -> None:
    doomed = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "tests.collector.consuming.doomed", str(tmp_path),
        stdout=PIPE, cwd=ROOT,
    )  # fmt: skip
    assert doomed.stdout is not None
    pid = int(await doomed.stdout.readline())
    # A moment in which it is at work.
    await asyncio.sleep(random.Random(seed).uniform(0.0, 0.5))  # noqa: S311 - when a test kills
    assert not ended(pid)
    doomed.kill()
    await doomed.wait()
    log = SqliteLog.open(tmp_path / "log")
    process = ConsumerProcess(log, tmp_path, "rollup")
    process.start()
    await until(lambda: ended(pid), "it has ended")
    await read_all(process, log)
    assert process.status().restarts == 0
    await process.stop()
    await assert_counted(log, tmp_path)
    await log.close()
