"""The spool's thread: shared commits, faults of single operations, full disks, and kill -9."""

import asyncio
import os
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from agent.spool.schema import FILE_NAME
from agent.spool.store import Record, Store
from agent.spool.writer import Operation, SpoolWriter, explain
from probes.contract.errors import SpoolError
from probes.contract.events import Tick
from tests.agent.fakes import PATH, HandClock, flight

WRITERS = Path(__file__).with_name("writers.py")
ROOT = Path(__file__).parents[3]


@pytest.fixture
def spool(tmp_path: Path) -> Iterator[SpoolWriter]:
    """A running spool."""
    writer = SpoolWriter.open(tmp_path)
    yield writer
    writer.close()


def tick(store: Store) -> int:
    """Write one event; its sequence number."""
    return store.append(Tick(at_ns=1), 1)


def read(store: Store) -> list[Record]:
    """All events."""
    return store.read_after(0, 1_000_000)


class Gate:
    """Holds up the spool's thread, so that what is handed over meanwhile waits for one commit."""

    def __init__(self) -> None:
        self.entered = asyncio.Event()
        self._loop = asyncio.get_running_loop()
        self._open = threading.Event()

    def __call__(self, _store: Store) -> None:
        self._loop.call_soon_threadsafe(self.entered.set)
        self._open.wait()

    def open(self) -> None:
        """Let the thread go on."""
        self._open.set()


async def together(spool: SpoolWriter, *operations: Operation[Any]) -> list[Any]:
    """Hand the operations over while the thread is busy; their results and errors."""
    gate = Gate()
    first = asyncio.create_task(spool.run(gate))
    await gate.entered.wait()
    tasks = [asyncio.create_task(spool.run(one)) for one in operations]
    await asyncio.sleep(0)
    gate.open()
    await first
    return list(await asyncio.gather(*tasks, return_exceptions=True))


def commits(spool: SpoolWriter) -> list[str]:
    """The statements that begin and end transactions, as they are carried out from now on."""
    seen: list[str] = []
    spool._opened.connection.set_trace_callback(
        lambda sql: seen.append(sql) if sql in ("COMMIT", "ROLLBACK") else None
    )
    return seen


async def test_an_operations_result_comes_back(spool: SpoolWriter) -> None:
    assert await spool.run(tick) == 1
    assert await spool.run(tick) == 2
    assert len(await spool.run(read)) == 2


async def test_writes_that_wait_share_a_commit(spool: SpoolWriter) -> None:
    seen = commits(spool)
    results = await together(spool, *([tick] * 300))
    assert results == list(range(1, 301))
    assert seen == ["COMMIT", "COMMIT"]


async def test_a_commit_is_bounded(spool: SpoolWriter) -> None:
    seen = commits(spool)
    results = await together(spool, *([tick] * 1200))
    assert results == list(range(1, 1201))
    assert seen == ["COMMIT"] * 4


def broken(_store: Store) -> None:
    """An operation with a fault."""
    raise ValueError("a fault of its own")


def half_done(store: Store) -> None:
    """An operation that fails after it has written."""
    tick(store)
    tick(store)
    raise ValueError("too late")


async def test_one_operations_fault_undoes_no_other(spool: SpoolWriter) -> None:
    results = await together(spool, tick, broken, tick, half_done, tick)
    assert [results[0], results[2], results[4]] == [1, 2, 3]
    assert isinstance(results[1], ValueError)
    assert isinstance(results[3], ValueError)
    assert [record.seq for record in await spool.run(read)] == [1, 2, 3]


async def test_a_fault_that_sqlite_finds_is_its_operations_too(spool: SpoolWriter) -> None:
    draft = flight(1, sent=HandClock().now(), path=PATH)

    def begin(store: Store) -> None:
        store.begin_flight(draft, "")

    results = await together(spool, begin, tick, begin)
    assert results[1] == 2
    assert isinstance(results[2], sqlite3.IntegrityError)
    assert [record.seq for record in await spool.run(read)] == [1, 2]


async def test_a_lone_fault_is_raised_and_the_thread_lives_on(spool: SpoolWriter) -> None:
    with pytest.raises(ValueError, match="a fault of its own"):
        await spool.run(broken)
    assert await spool.run(tick) == 1


async def test_a_full_disk_fails_all_and_writes_nothing_until_there_is_room(
    spool: SpoolWriter,
) -> None:
    connection = spool._opened.connection

    def limit(pages: int) -> None:
        connection.execute(f"PRAGMA max_page_count={pages}")

    pages = connection.execute("PRAGMA page_count").fetchone()[0]
    limit(pages + 5)
    written = 0
    failure: SpoolError | None = None
    while failure is None:
        results = await asyncio.gather(
            *(spool.run(tick) for _ in range(50)), return_exceptions=True
        )
        failed = [result for result in results if isinstance(result, SpoolError)]
        written += len(results) - len(failed)
        failure = failed[0] if failed else None
    assert str(failure) == "spool: could not write (database or disk is full)"
    limit(pages + 1000)
    assert await spool.run(tick) == written + 1
    assert [record.seq for record in await spool.run(read)] == list(range(1, written + 2))


async def test_a_caller_that_is_cancelled_has_handed_over_all_the_same(spool: SpoolWriter) -> None:
    gate = Gate()
    first = asyncio.create_task(spool.run(gate))
    await gate.entered.wait()
    task = asyncio.create_task(spool.run(tick))
    await asyncio.sleep(0)
    task.cancel()
    gate.open()
    await first
    with pytest.raises(asyncio.CancelledError):
        await task
    assert len(await spool.run(read)) == 1


async def test_closing_carries_out_what_was_handed_over(tmp_path: Path) -> None:
    spool = SpoolWriter.open(tmp_path)
    tasks = [asyncio.create_task(spool.run(tick)) for _ in range(100)]
    await asyncio.sleep(0)
    spool.close()
    spool.close()
    assert sorted(await asyncio.gather(*tasks)) == list(range(1, 101))
    with pytest.raises(SpoolError, match="closed"):
        await spool.run(tick)
    again = SpoolWriter.open(tmp_path)
    assert len(await again.run(read)) == 100
    again.close()


def test_a_loop_that_is_gone_does_not_stop_the_thread(spool: SpoolWriter) -> None:
    async def leave() -> None:
        gate = Gate()
        tasks = [asyncio.create_task(spool.run(operation)) for operation in (gate, tick, tick)]
        await gate.entered.wait()
        for task in tasks:
            task.cancel()
        opened.append(gate)

    opened: list[Gate] = []
    asyncio.run(leave())
    opened[0].open()
    assert asyncio.run(spool.run(tick)) == 3


async def test_a_damaged_file_is_said_to_be_damaged(tmp_path: Path) -> None:
    spool = SpoolWriter.open(tmp_path)
    await spool.run(lambda store: [tick(store) for _ in range(20_000)])
    spool.close()
    spool = SpoolWriter.open(tmp_path)
    file = tmp_path / FILE_NAME
    size = file.stat().st_size
    with file.open("r+b") as stream:
        for page in range(4096, size, 4096):
            stream.seek(page)
            stream.write(os.urandom(4096))
    spool._opened.connection.execute("PRAGMA shrink_memory")  # what it has read it would not miss
    with pytest.raises(SpoolError, match=r"the file is damaged .* a restart moves it aside"):
        await spool.run(read)
    spool.close()
    again = SpoolWriter.open(tmp_path)
    assert again.quarantined is not None
    assert await again.run(tick) == 1
    again.close()


def test_errors_of_the_disk_and_of_the_file_are_told_apart() -> None:
    full = sqlite3.OperationalError("database or disk is full")
    full.sqlite_errorcode = sqlite3.SQLITE_FULL
    assert "could not write" in str(explain(full))
    torn = sqlite3.DatabaseError("database disk image is malformed")
    torn.sqlite_errorcode = sqlite3.SQLITE_CORRUPT | (11 << 8)
    assert "damaged" in str(explain(torn))


@pytest.mark.slow
def test_killed_at_any_moment_it_keeps_every_acknowledged_write(tmp_path: Path) -> None:
    acknowledged: dict[str, int] = {}
    for life in range(15):
        with subprocess.Popen(
            [sys.executable, str(WRITERS), str(tmp_path)], stdout=subprocess.PIPE, cwd=ROOT,
            env={**os.environ, "PYTHONPATH": str(ROOT)}, text=True,
        ) as process:  # fmt: skip
            assert process.stdout is not None
            for _ in range(1 + life * 17):
                process.stdout.readline()
            process.kill()
            rest = process.stdout.read()
        for line in rest.splitlines(keepends=True):
            if line.endswith("\n"):
                epoch, seq = line.split()
                acknowledged[epoch] = max(acknowledged.get(epoch, 0), int(seq))
        spool = SpoolWriter.open(tmp_path)
        records = asyncio.run(spool.run(read))
        spool.close()
        assert spool.quarantined is None
        assert [record.seq for record in records] == list(range(1, len(records) + 1))
        assert len(records) >= acknowledged.get(spool.epoch, 0)
        assert set(acknowledged) <= {spool.epoch}
    assert acknowledged
