"""Shipping: in order, nothing skipped, forgotten only when it is safe, whatever the answers are."""

import asyncio
import gzip
import random
from collections import Counter
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from structlog.testing import capture_logs

from agent.shipper.failures import Failure, Fate, ShipError, of_status
from agent.shipper.ship import BATCH_EVENTS, STOPPED_S, Shipper
from probes.contract.errors import SpoolError
from probes.contract.events import Tick
from probes.contract.wire import BatchHeader, Gap, Ingested, Refusal, RefusalReason
from tests.agent.fakes import InlineSpool, rng
from tests.simulation.loop import VirtualLoop

Answer = Callable[[BatchHeader], Ingested]


class Shelf:
    """A collector's log without a collector; ``plan`` says how the next exchanges go."""

    def __init__(self) -> None:
        self.stored: list[tuple[int, bytes]] = []
        self.headers: list[BatchHeader] = []
        self.plan: list[str] = []
        self.too_many = BATCH_EVENTS
        self.poison: int | None = None

    @property
    def mark(self) -> int:
        return self.stored[-1][0] if self.stored else 0

    async def post_events(self, body: bytes) -> Ingested:
        head, *lines = gzip.decompress(body).split(b"\n")[:-1]
        header = msgspec.json.decode(head, type=BatchHeader)
        self.headers.append(header)
        assert header.count == len(lines)
        numbers = range(header.first_seq, header.first_seq + header.count)
        step = self.plan.pop(0) if self.plan else "ok"
        if step == "refused":
            raise ShipError(of_status(503, "", None, 0.0))
        if step == "stop":
            raise ShipError(of_status(401, "", None, 0.0))
        if step.startswith("no batch "):
            status, detail = step.split()[2:]
            raise ShipError(of_status(int(status), detail.strip("-"), None, 0.0))
        if header.count > self.too_many or (self.poison in numbers):
            raise ShipError(of_status(413, "too large", None, 0.0))
        mark = self.mark
        self.stored += [(n, line) for n, line in zip(numbers, lines, strict=True) if n > mark]
        if step == "answer lost":
            raise ShipError(Failure(Fate.RETRY, "timeout", "no answer"))
        if step == "nonsense":
            return _ingested(header, 0)
        return _ingested(header, max(self.mark, header.first_seq + header.count - 1))


def _ingested(header: BatchHeader, mark: int) -> Ingested:
    return Ingested(
        epoch=header.epoch, high_water=mark, accepted=header.count, duplicates=0,
        received_at_ns=0, answered_at_ns=0,
    )  # fmt: skip


@pytest.fixture
async def spool(tmp_path: Path) -> AsyncIterator[InlineSpool]:
    found = InlineSpool(tmp_path)
    yield found
    found.close()


def _shipper(spool: InlineSpool, shelf: Shelf) -> Shipper:
    return Shipper("sfo", spool, shelf, wall_ns=lambda: 5, rng=rng(), counters=Counter())


async def _write(spool: InlineSpool, count: int) -> None:
    for number in range(count):
        await spool.run(lambda store, at=number: store.append(Tick(at_ns=at), at))  # type: ignore[misc]


def _left(spool: InlineSpool) -> list[int]:
    return [record.seq for record in spool.store.read_after(0, 1_000_000)]


async def test_events_arrive_in_order_and_leave_the_spool(spool: InlineSpool) -> None:
    shelf = Shelf()
    await _write(spool, 7)
    wanted = [(record.seq, record.body) for record in spool.store.read_after(0, 100)]
    shipper = _shipper(spool, shelf)
    assert await shipper.drain() is None
    assert shelf.stored == wanted
    assert _left(spool) == []
    assert shelf.headers[0] == BatchHeader(
        version=1, agent="sfo", epoch=spool.epoch, first_seq=1, count=7, sent_at_ns=5
    )
    assert (shipper.status.state, shipper.status.shipped_seq) == ("ok", 7)


async def test_what_is_not_confirmed_stays(spool: InlineSpool) -> None:
    shelf = Shelf()
    shelf.plan = ["refused", "answer lost", "nonsense"]
    await _write(spool, 3)
    shipper = _shipper(spool, shelf)
    for _ in range(3):
        failure = await shipper.drain()
        assert failure is not None
        assert failure.fate is Fate.RETRY
        assert _left(spool) == [1, 2, 3]
        assert shipper.status.state == "retrying"
    assert await shipper.drain() is None
    assert [number for number, _ in shelf.stored] == [1, 2, 3]
    assert _left(spool) == []


async def test_a_wrong_token_stops_and_is_not_asked_again_every_second(spool: InlineSpool) -> None:
    shelf = Shelf()
    shelf.plan = ["stop"]
    await _write(spool, 1)
    shipper = _shipper(spool, shelf)
    failure = await shipper.drain()
    assert failure is not None
    assert shipper._wait_s(failure) == STOPPED_S
    assert shipper.status.state == "stopped"
    assert _left(spool) == [1]


def test_a_beat_that_is_heard_ends_the_wait_for_a_person(tmp_path: Path) -> None:
    spool, shelf = InlineSpool(tmp_path), Shelf()
    shelf.plan = ["stop"]
    stored: list[tuple[int, int]] = []

    async def run() -> None:
        await _write(spool, 1)
        shipper = _shipper(spool, shelf)
        shipping = asyncio.create_task(shipper.run())
        await asyncio.sleep(STOPPED_S - 10)
        stored.append((len(shelf.headers), len(shelf.stored)))
        shipper.try_again()
        await asyncio.sleep(1)
        stored.append((len(shelf.headers), len(shelf.stored)))
        shipping.cancel()

    loop = VirtualLoop()
    with asyncio.Runner(loop_factory=lambda: loop) as runner:
        runner.run(run())
    spool.close()
    # Asked once and left alone; asked again as soon as it is worth it.
    assert stored == [(1, 0), (2, 1)]


def test_how_it_goes_is_known_meanwhile_and_told_when_it_changes(tmp_path: Path) -> None:
    spool, shelf = InlineSpool(tmp_path), Shelf()
    shelf.plan = ["refused"] * 3 + ["answer lost"] * 2 + ["stop"]
    seen: list[tuple[str, bool]] = []

    async def run() -> None:
        await _write(spool, 1)
        shipper = _shipper(spool, shelf)
        status = shipper.status
        shipping = asyncio.create_task(shipper.run())
        while status.state != "ok":
            await asyncio.sleep(0.01)
            look = (status.state, status.retry_ns is not None)
            if not seen or seen[-1] != look:
                seen.append(look)
        shipping.cancel()
        assert status.failed_ns == {"503": 5, "timeout": 5, "401": 5}
        assert (status.success_ns, status.kind, status.detail) == (5, None, None)

    with capture_logs() as told, asyncio.Runner(loop_factory=VirtualLoop) as runner:
        runner.run(run())
    spool.close()
    assert set(seen) == {("retrying", True), ("stopped", True), ("ok", False)}
    lines = [(line["state"], line["kind"]) for line in told if line["event"] == "shipping"]
    assert lines == [
        ("retrying", "503"), ("retrying", "timeout"), ("stopped", "401"), ("ok", None)
    ]  # fmt: skip


async def test_what_is_too_much_goes_in_parts_and_grows_again(spool: InlineSpool) -> None:
    shelf = Shelf()
    shelf.too_many = 10
    await _write(spool, 64)
    shipper = _shipper(spool, shelf)
    assert await shipper.drain() is None
    assert [number for number, _ in shelf.stored] == list(range(1, 65))
    assert _left(spool) == []
    shelf.too_many = BATCH_EVENTS
    await _write(spool, 40)
    assert await shipper.drain() is None
    assert max(header.count for header in shelf.headers[-3:]) > 10


async def test_one_event_that_nobody_takes_costs_that_one(spool: InlineSpool) -> None:
    shelf = Shelf()
    shelf.poison = 5
    await _write(spool, 9)
    shipper = _shipper(spool, shelf)
    assert await shipper.drain() is None
    assert [number for number, _ in shelf.stored] == [1, 2, 3, 4, 6, 7, 8, 9]
    assert shipper._counters["events_dropped_413"] == 1
    assert _left(spool) == []


@pytest.mark.parametrize("says", ["400 -", "413 -", "422 -", "400 damaged", "422 version"])
async def test_who_takes_nothing_at_all_costs_no_event(spool: InlineSpool, says: str) -> None:
    """A proxy that is set up wrongly, or one that damages what passes through it."""
    shelf = Shelf()
    shelf.plan = [f"no batch {says}"] * 6
    await _write(spool, 4)
    shipper = _shipper(spool, shelf)
    for _ in range(4):
        assert await shipper.drain() is not None
    assert shipper.status.state == "retrying"
    assert _left(spool) == [1, 2, 3, 4]
    assert await shipper.drain() is None
    assert [number for number, _ in shelf.stored] == [1, 2, 3, 4]


async def test_refused_events_and_gaps_are_told_and_hold_nothing_up(spool: InlineSpool) -> None:
    class Picky(Shelf):
        async def post_events(self, body: bytes) -> Ingested:
            answer = await super().post_events(body)
            refusal = Refusal(seq=2, reason=RefusalReason.NOT_ASSIGNED, detail="x")
            return msgspec.structs.replace(
                answer, refused=[refusal], gap=Gap(first_seq=1, last_seq=1)
            )

    await _write(spool, 3)
    shipper = _shipper(spool, Picky())
    assert await shipper.drain() is None
    assert shipper._counters["events_refused"] == 1
    assert _left(spool) == []


async def test_numbers_that_are_missing_end_a_batch(spool: InlineSpool) -> None:
    await _write(spool, 6)
    await spool.run(lambda store: store._db.execute("DELETE FROM events WHERE seq = 3"))
    shelf = Shelf()
    assert await _shipper(spool, shelf).drain() is None
    assert [(header.first_seq, header.count) for header in shelf.headers] == [(1, 2), (4, 3)]


async def test_a_spool_that_cannot_be_read_loses_nothing(spool: InlineSpool) -> None:
    await _write(spool, 2)
    shelf = Shelf()
    shipper = _shipper(spool, shelf)
    spool.problem = "full"
    with pytest.raises(SpoolError):
        await shipper.drain()
    spool.problem = None
    assert await shipper.drain() is None
    assert [number for number, _ in shelf.stored] == [1, 2]


@given(
    steps=st.lists(
        st.sampled_from(["ok", "refused", "answer lost", "nonsense", "stop", "write", "restart"]),
        max_size=30,
    ),
    seed=st.integers(0, 1000),
)
@settings(max_examples=100, deadline=None)
async def test_whatever_happens_each_event_is_stored_once_and_in_order(
    tmp_path_factory: pytest.TempPathFactory, steps: list[str], seed: int
) -> None:
    spool = InlineSpool(tmp_path_factory.mktemp("spool"))
    shelf, drawn = Shelf(), random.Random(seed)  # noqa: S311 - which faults a test injects
    shelf.too_many = drawn.choice([1, 3, BATCH_EVENTS])
    shipper = _shipper(spool, shelf)
    written = 0
    for step in steps:
        if step == "write":
            count = drawn.randrange(1, 8)
            await _write(spool, count)
            written += count
        elif step == "restart":
            shipper = _shipper(spool, shelf)
        else:
            shelf.plan = [step]
            await shipper.drain()
    shelf.plan = []
    assert await shipper.drain() is None
    assert [number for number, _ in shelf.stored] == list(range(1, written + 1))
    assert _left(spool) == []
    spool.close()
