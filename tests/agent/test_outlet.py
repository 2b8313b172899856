"""Moving events out of the spool: in order, each once, whatever is cut off or cancelled."""

import asyncio
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TypeVar

import pytest

from agent.events_file import EventsFile
from agent.outlet import Outlet
from agent.spool.store import Depth, Record, Store
from agent.spool.writer import CanWait, Operation, SpoolWriter
from probes.contract.errors import SpoolError
from probes.contract.events import Tick

T = TypeVar("T")


@pytest.fixture
def spool(tmp_path: Path) -> Iterator[SpoolWriter]:
    """A running spool."""
    writer = SpoolWriter.open(tmp_path / "state")
    yield writer
    writer.close()


class Taker:
    """Takes events, and does as it is told."""

    def __init__(self) -> None:
        self.seqs: list[int] = []
        self.begun = 0
        self.problem: SpoolError | None = None
        self.gate = threading.Event()
        self.gate.set()
        self.entered = threading.Event()

    def resume(self, epoch: str) -> int:  # noqa: ARG002 - there is one epoch
        """Where it stands."""
        return self.seqs[-1] if self.seqs else 0

    def write(self, epoch: str, records: Sequence[Record]) -> None:  # noqa: ARG002 - as above
        """Take them when the gate is open."""
        self.begun += 1
        self.entered.set()
        self.gate.wait()
        if self.problem is not None:
            raise self.problem
        self.seqs += [record.seq for record in records]

    def close(self) -> None:
        """Nothing to close."""


class Patient:
    """A spool that notes which of its operations could wait for company."""

    def __init__(self, spool: SpoolWriter) -> None:
        self._spool = spool
        self.epoch = spool.epoch
        self.could_wait: list[bool] = []

    async def run(self, operation: Operation[T]) -> T:
        """As the spool's own."""
        self.could_wait.append(isinstance(operation, CanWait))
        return await self._spool.run(operation)


async def write(spool: SpoolWriter, count: int) -> None:
    """Put events into the spool."""

    def append(store: Store) -> None:
        for number in range(count):
            store.append(Tick(at_ns=number), number)

    await spool.run(append)


async def depth(spool: SpoolWriter) -> Depth:
    """What lies in the spool."""
    return await spool.run(lambda store: store.depth())


async def test_all_events_go_out_in_order_and_leave_the_spool(spool: SpoolWriter) -> None:
    taker = Taker()
    await write(spool, 2500)
    await Outlet(spool, taker).drain()
    assert taker.seqs == list(range(1, 2501))
    assert taker.begun == 3
    now = await depth(spool)
    assert (now.rows, now.shipped, now.dropped) == (0, 2500, 0)


async def test_it_waits_for_company_unless_it_is_behind(spool: SpoolWriter) -> None:
    await write(spool, 2500)
    patient = Patient(spool)
    await Outlet(patient, Taker()).drain()
    assert patient.could_wait == [True, False, False, True]


async def test_an_empty_spool_writes_nothing(spool: SpoolWriter) -> None:
    taker = Taker()
    await Outlet(spool, taker).drain()
    assert taker.begun == 0


async def test_a_new_outlet_goes_on_where_the_file_stands(
    spool: SpoolWriter, tmp_path: Path
) -> None:
    await write(spool, 10)
    file = EventsFile(tmp_path / "events.jsonl")
    records = await spool.run(lambda store: store.read_after(0, 6))
    file.write(spool.epoch, records)  # killed before the spool was told
    await Outlet(spool, file).drain()
    assert file.resume(spool.epoch) == 10
    assert len((tmp_path / "events.jsonl").read_text().splitlines()) == 10
    file.close()


async def test_a_new_file_gets_what_the_spool_still_has(spool: SpoolWriter, tmp_path: Path) -> None:
    await write(spool, 5)
    await Outlet(spool, Taker()).drain()
    await write(spool, 3)
    file = EventsFile(tmp_path / "new.jsonl")
    await Outlet(spool, file).drain()
    assert file.resume(spool.epoch) == 8
    assert len((tmp_path / "new.jsonl").read_text().splitlines()) == 3
    file.close()


async def test_a_failed_write_is_done_again_from_where_the_other_side_stands(
    spool: SpoolWriter,
) -> None:
    taker = Taker()
    outlet = Outlet(spool, taker)
    await write(spool, 4)
    await outlet.drain()
    await write(spool, 4)
    taker.problem = SpoolError("full")
    for _ in range(3):
        with pytest.raises(SpoolError, match="full"):
            await outlet.drain()
    taker.problem = None
    await outlet.drain()
    assert taker.seqs == list(range(1, 9))


async def cut_off(outlet: Outlet, taker: Taker) -> None:
    """A write is begun, and whoever asked for it is cancelled while it hangs."""
    taker.gate.clear()
    first = asyncio.create_task(outlet.drain())
    await asyncio.to_thread(taker.entered.wait)
    first.cancel()
    with pytest.raises(asyncio.CancelledError):
        await first


async def test_a_write_whose_caller_was_cancelled_is_waited_for_and_not_repeated(
    spool: SpoolWriter,
) -> None:
    taker = Taker()
    outlet = Outlet(spool, taker)
    await write(spool, 7)
    await cut_off(outlet, taker)
    second = asyncio.create_task(outlet.drain())
    await write(spool, 2)
    assert taker.begun == 1
    taker.gate.set()
    await second
    assert taker.seqs == list(range(1, 10))


async def test_a_cancelled_write_that_fails_is_reported_to_the_next(spool: SpoolWriter) -> None:
    taker = Taker()
    taker.problem = SpoolError("full")
    outlet = Outlet(spool, taker)
    await write(spool, 1)
    await cut_off(outlet, taker)
    taker.gate.set()
    with pytest.raises(SpoolError, match="full"):
        await outlet.drain()
    taker.problem = None
    await outlet.drain()
    assert taker.seqs == [1]


async def test_a_spool_that_cannot_be_asked_loses_nothing(tmp_path: Path) -> None:
    spool = SpoolWriter.open(tmp_path / "state")
    taker = Taker()
    outlet = Outlet(spool, taker)
    await write(spool, 3)
    spool.close()
    with pytest.raises(SpoolError, match="closed"):
        await outlet.drain()
    again = SpoolWriter.open(tmp_path / "state")
    await Outlet(again, taker).drain()
    assert taker.seqs == [1, 2, 3]
    again.close()


async def test_dropped_events_are_a_gap_and_no_stop(spool: SpoolWriter) -> None:
    taker = Taker()
    outlet = Outlet(spool, taker)
    await write(spool, 10)
    await spool.run(lambda store: store.trim(max_bytes=1 << 40, min_at_ns=4))
    await outlet.drain()
    assert taker.seqs == list(range(5, 11))
