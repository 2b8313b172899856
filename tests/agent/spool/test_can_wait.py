"""Operations that can wait share a commit; none of them waits for ever."""

import asyncio
import threading
from pathlib import Path

from agent.spool.store import Store
from agent.spool.writer import CanWait, SpoolWriter


class Ran:
    """Notes the order in which operations ran."""

    def __init__(self) -> None:
        self.order: list[str] = []

    def note(self, name: str) -> "CanWait[None]":
        """An operation that can wait, and notes that it ran."""
        return CanWait(lambda store: self._add(store, name))

    def _add(self, store: Store, name: str) -> None:
        del store
        self.order.append(name)


async def test_it_runs_by_itself_when_nothing_else_comes(tmp_path: Path) -> None:
    writer, ran = SpoolWriter.open(tmp_path), Ran()
    try:
        await writer.run(ran.note("alone"))
    finally:
        writer.close()
    assert ran.order == ["alone"]


async def test_it_joins_an_operation_that_cannot_wait(tmp_path: Path) -> None:
    writer, ran = SpoolWriter.open(tmp_path), Ran()
    blocked, go = threading.Event(), threading.Event()

    def hold(store: Store) -> None:
        del store
        blocked.set()
        go.wait()

    try:
        holding = asyncio.create_task(writer.run(hold))
        await asyncio.to_thread(blocked.wait)
        waiting = [asyncio.create_task(writer.run(ran.note(name))) for name in "ab"]
        await asyncio.sleep(0)
        hurried = asyncio.create_task(writer.run(lambda store: store.shipped()))
        await asyncio.sleep(0)
        go.set()
        await asyncio.gather(holding, *waiting, hurried)
    finally:
        go.set()
        writer.close()
    assert ran.order == ["a", "b"]


async def test_closing_carries_out_what_waits(tmp_path: Path) -> None:
    writer, ran = SpoolWriter.open(tmp_path), Ran()
    waiting = asyncio.create_task(writer.run(ran.note("last")))
    await asyncio.sleep(0)
    writer.close()
    await waiting
    assert ran.order == ["last"]


async def test_a_loop_that_ended_keeps_nobody_elses_waiting(tmp_path: Path) -> None:
    writer, ran = SpoolWriter.open(tmp_path), Ran()

    async def leave() -> None:
        asyncio.ensure_future(writer.run(ran.note("left")))  # noqa: RUF006 - cancelled with its loop
        await asyncio.sleep(0)

    try:
        await asyncio.to_thread(asyncio.run, leave())
        async with asyncio.timeout(10):
            await writer.run(ran.note("waited for"))
    finally:
        writer.close()
    assert ran.order == ["left", "waited for"]
