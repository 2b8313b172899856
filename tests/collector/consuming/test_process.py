"""A consumer's process: killed, hung, over damage, and the rollup is right in the end."""

import asyncio
import contextlib
import os
import random
import signal
import sqlite3
import sys
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import uvloop
from structlog.testing import capture_logs

from collector.consuming.process import ConsumerProcess, Patience
from collector.log.engine import Retention
from collector.log.sqlite import SqliteLog
from collector.log.store import Limits
from collector.rollup.consumer import RollupConsumer
from collector.rollup.file import FILE_NAME
from tests.collector.consuming.life import (
    Grower,
    assert_counted,
    ended,
    everything,
    read_all,
    until,
)

AT_ONCE = Patience(retry_first_s=0.05, retry_most_s=0.05)


@contextlib.asynccontextmanager
async def beside(
    state: Path, patience: Patience = AT_ONCE, limits: Limits | None = None
) -> AsyncIterator[tuple[SqliteLog, Grower, ConsumerProcess]]:
    """A log with its rollup in a process."""
    log = SqliteLog.open(state / "log", limits)
    grower = Grower(log)
    await grower.begin()
    process = ConsumerProcess(log, state, "rollup", patience=patience)
    process.start()
    try:
        yield log, grower, process
    finally:
        await process.stop()
        await log.close()


async def running_pid(process: ConsumerProcess) -> int:
    """The number of a process that has reported."""
    await until(
        lambda: process.pid is not None and process.status().problem is None
        and process.status().taken > 0,
        "it is at work",
    )  # fmt: skip
    assert process.pid is not None
    return process.pid


async def test_it_reads_what_comes_and_says_how_far_it_is(tmp_path: Path) -> None:
    async with beside(tmp_path) as (log, grower, process):
        await grower.grow(50)
        await read_all(process, log)
        await grower.grow(50)
        await read_all(process, log)
        status = process.status()
        assert (status.name, status.lag_entries, status.lag_s) == ("rollup", 0, 0.0)
        assert (status.taken, status.missed) == (len(await everything(log)), 0)
        assert (status.problem, status.failures, status.restarts) == (None, 0, 0)
        pid = process.pid
        assert pid is not None
        await process.stop()
        assert ended(pid)
        assert process.status().problem is None
        await assert_counted(log, tmp_path)


async def test_killed_at_random_moments_the_rollup_equals_a_recount(tmp_path: Path) -> None:
    drawn = random.Random(7)  # noqa: S311 - when a test kills
    kills = 0
    async with beside(tmp_path) as (log, grower, process):
        while kills < 8:
            await grower.grow(40)
            await asyncio.sleep(drawn.uniform(0.0, 0.4))
            if process.pid is not None:
                os.kill(process.pid, signal.SIGKILL)
                kills += 1
        await read_all(process, log)
        status = process.status()
        assert 1 <= status.restarts <= kills
        assert (status.problem, status.failures) == (None, 0)
        # Counted once, though some of it was read again by the next process.
        await assert_counted(log, tmp_path)


async def test_a_death_is_told_until_the_next_one_works(tmp_path: Path) -> None:
    never = Patience(retry_first_s=1e6, retry_most_s=1e6)
    async with beside(tmp_path, never) as (log, grower, process):
        await grower.grow(5)
        await read_all(process, log)
        with capture_logs() as logged:
            os.kill(await running_pid(process), signal.SIGKILL)
            await until(lambda: process.status().problem is not None, "it is told")
        status = process.status()
        assert (status.problem, status.failures) == ("its process ended (SIGKILL)", 1)
        assert [line["event"] for line in logged] == ["is not at work"]
        before = status.cursor
        await grower.grow(5)
        status = process.status()
        assert (status.cursor, status.lag_entries) == (before, log.view.last_entry - before)
        # The stop does not wait for the next try.


async def test_one_that_is_silent_is_told_then_killed_and_started_again(tmp_path: Path) -> None:
    patience = replace(AT_ONCE, watch_s=0.1, told_s=2.0, silent_s=4.0)
    async with beside(tmp_path, patience) as (log, grower, process):
        await grower.grow(5)
        pid = await running_pid(process)
        os.kill(pid, signal.SIGSTOP)
        await grower.grow(5)
        await until(lambda: "said nothing for" in (process.status().problem or ""), "it is told")
        await until(lambda: process.pid not in (None, pid), "another one was started")
        await read_all(process, log)
        assert process.status().restarts >= 1
        assert ended(pid)
        await assert_counted(log, tmp_path)


def test_news_for_one_that_is_being_stopped_are_no_fault(tmp_path: Path) -> None:
    async def told() -> list[str]:
        async with beside(tmp_path) as (log, grower, process):
            await grower.grow(5)
            await read_all(process, log)
            os.kill(await running_pid(process), signal.SIGSTOP)
            with capture_logs() as logged:
                stopping = asyncio.create_task(process.stop(grace_s=1.0))
                await asyncio.sleep(0)
                while not stopping.done():
                    await grower.grow(1)
                await stopping
            return [line["event"] for line in logged]

    # asyncio's own loop keeps silent about a pipe that is closed.
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        assert runner.run(told()) == ["killed"]


async def test_the_stop_kills_one_that_does_not_end(tmp_path: Path) -> None:
    async with beside(tmp_path) as (_log, grower, process):
        await grower.grow(5)
        pid = await running_pid(process)
        os.kill(pid, signal.SIGSTOP)
        with capture_logs() as logged:
            await process.stop(grace_s=0.2)
        assert ended(pid)
        assert [line["problem"] for line in logged] == ["its process did not end within 0.2 s"]


async def test_it_waits_for_another_that_still_writes_and_says_so(tmp_path: Path) -> None:
    log = SqliteLog.open(tmp_path / "log")
    grower = Grower(log)
    await grower.begin()
    other = RollupConsumer(tmp_path)
    other.open(log.log_id, await log.bounds())
    process = ConsumerProcess(log, tmp_path, "rollup", patience=AT_ONCE)
    process.start()
    try:
        await until(lambda: process.status().problem is not None, "it is told")
        assert f"held by process {os.getpid()}" in (process.status().problem or "")
        other.close()
        await read_all(process, log)
        await until(lambda: process.status().problem is None, "it works again")
        await assert_counted(log, tmp_path)
    finally:
        await process.stop()
        await log.close()


async def test_segments_come_and_go_while_it_reads(tmp_path: Path) -> None:
    async with beside(tmp_path, limits=Limits(segment_bytes=1 << 16)) as (log, grower, process):
        for _ in range(30):
            await grower.grow(40)
        assert len(log.view.segments) > 5
        await read_all(process, log)
        await assert_counted(log, tmp_path)
        before = process.status()
        while await log.trim(Retention(bytes=1 << 18), 1) == 0:
            await grower.grow(40)
        await grower.grow(40)
        await read_all(process, log)
        assert process.status().missed == before.missed == 0


async def test_one_that_stands_still_is_killed_and_one_without_work_is_not(tmp_path: Path) -> None:
    patience = replace(AT_ONCE, watch_s=0.1, stuck_s=2.0)
    async with beside(tmp_path, patience, Limits(segment_bytes=1)) as (log, grower, process):
        await grower.grow(5)
        await read_all(process, log)
        # All that it had not read is gone: there is nothing to do, and that is no standstill.
        while await log.trim(Retention(bytes=0), 1) == 0:
            await grower.grow(1)
        await asyncio.sleep(2 * patience.stuck_s)
        assert process.status().restarts == 0
        connection = sqlite3.connect(tmp_path / FILE_NAME, isolation_level=None)
        connection.execute("BEGIN IMMEDIATE")
        await grower.grow(1)
        await until(lambda: "stood still" in (process.status().problem or ""), "it is told")
        connection.close()
        await read_all(process, log)
        assert process.status().restarts >= 1


async def test_what_retention_dropped_before_it_was_read_is_missed(tmp_path: Path) -> None:
    never = Patience(retry_first_s=3.0, retry_most_s=3.0)
    limits = Limits(segment_bytes=1 << 16)
    async with beside(tmp_path, never, limits) as (log, grower, process):
        await grower.grow(10)
        await read_all(process, log)
        os.kill(await running_pid(process), signal.SIGKILL)
        await until(lambda: process.pid is None, "it has ended")
        cursor = process.status().cursor
        while log.view.segments[0].first <= cursor + 1:
            await grower.grow(40)
            await log.trim(Retention(bytes=1 << 17), 1)
        lost = log.view.segments[0].first - cursor - 1
        await grower.grow(1)
        await read_all(process, log)
        assert process.status().missed == lost > 0


async def test_damage_that_it_finds_is_repaired_and_read_past(tmp_path: Path) -> None:
    log = SqliteLog.open(tmp_path / "log", Limits(segment_bytes=1 << 16))
    grower = Grower(log)
    await grower.begin()
    for _ in range(10):
        await grower.grow(40)
    second = log.view.segments[1]
    second.file.write_bytes(b"\0" * second.file.stat().st_size)
    process = ConsumerProcess(log, tmp_path, "rollup", patience=AT_ONCE)
    process.start()
    try:
        await read_all(process, log)
        await until(lambda: process.status().problem is None, "it works again")
        assert len(log.health().damaged) == 1
        assert process.status().restarts == 0
        await assert_counted(log, tmp_path)
    finally:
        await process.stop()
        await log.close()


NONSENSE = """
import sys
for line in ("tiger", '{"type": "tiger"}', '{"type": "line", "level": "loud"}', "x" * (2 << 20)):
    print(line, flush=True)
print('{"type": "line", "level": "info", "event": "still here", "fields": {}}', flush=True)
sys.stdin.readline()
sys.exit(3)
"""


async def test_nonsense_on_the_pipe_is_told_and_passed_over(tmp_path: Path) -> None:
    log = SqliteLog.open(tmp_path / "log")
    never = Patience(retry_first_s=1e6, retry_most_s=1e6)
    program = (sys.executable, "-c", NONSENSE)
    process = ConsumerProcess(log, tmp_path, "rollup", command=program, patience=never)
    with capture_logs() as logged:
        process.start()
        await until(lambda: process.status().problem is not None, "it has ended")
        await process.stop()
    await log.close()
    events = [line["event"] for line in logged]
    assert events[-2:] == ["still here", "is not at work"]
    assert set(events[:-2]) == {"a message was not understood"}
    assert process.status().problem == "its process ended (exit code 3)"


async def test_one_that_cannot_be_started_is_a_problem_and_tried_again(tmp_path: Path) -> None:
    log = SqliteLog.open(tmp_path / "log")
    process = ConsumerProcess(log, tmp_path, "x", command=("/nonexistent",), patience=AT_ONCE)
    process.start()
    await until(lambda: process.status().failures > 2, "it is tried again")
    assert "could not be started (No such file" in (process.status().problem or "")
    await process.stop()
    await log.close()
