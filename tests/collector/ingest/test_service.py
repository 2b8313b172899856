"""A batch goes in whole or not at all, into a log on the disk."""

import asyncio
import gzip
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from collector.ingest.admission import BusyError, Room
from collector.ingest.inflate import BodyError, BodyTooLargeError, PastLimitError
from collector.ingest.metrics import IngestCollector
from collector.ingest.quota import EVENT_BYTES
from collector.ingest.service import Ingest, WrongAgentError
from collector.log.engine import LogError
from probes.contract.events import encode
from probes.contract.wire import MAX_PLAIN_BYTES, Gap, Ingested, RefusalReason
from tests.collector.ingest.made import (
    NOW_NS,
    body,
    check,
    header,
    lines,
    packed,
    raw_body,
    running,
)
from tests.collector.log.batches import everything, identities

MIB = 1 << 20


async def take(ingest: Ingest, data: bytes, *, gzipped: bool = True) -> Ingested:
    return await ingest.take("sfo", data, gzipped=gzipped, received_ns=NOW_NS - 5)


def sample(ingest: Ingest) -> dict[str, float]:
    return {
        "|".join((one.name, *one.labels.values())).removeprefix("mailcanary_collector_ingest_"): (
            one.value
        )
        for family in IngestCollector(ingest).collect()
        for one in family.samples
        if one.value
    }


async def test_events_are_in_the_log_byte_for_byte_when_the_answer_comes(tmp_path: Path) -> None:
    events = lines(1, 3)
    async with running(tmp_path) as (ingest, log):
        answer = await take(ingest, packed(events))
        assert answer == Ingested(
            epoch="e1",
            high_water=3,
            accepted=3,
            duplicates=0,
            received_at_ns=NOW_NS - 5,
            answered_at_ns=NOW_NS,
        )
        found = await everything(log)
    assert [entry.body for entry in found] == events
    assert {(entry.kind, entry.source, entry.epoch) for entry in found} == {("intent", "sfo", "e1")}
    assert [entry.seq for entry in found] == [1, 2, 3]


async def test_plain_or_packed_is_the_same(tmp_path: Path) -> None:
    async with running(tmp_path) as (ingest, log):
        await take(ingest, body(lines(1, 2)), gzipped=False)
        await take(ingest, packed(lines(3, 4), first=3))
        assert [entry.seq for entry in await everything(log)] == [1, 2, 3, 4]


async def test_duplicates_gaps_and_refusals_are_told_and_counted(tmp_path: Path) -> None:
    async with running(tmp_path) as (ingest, log):
        await take(ingest, packed([*lines(1, 2), b"garbage"]))
        again = await take(ingest, packed([*lines(2, 2), b"garbage", *lines(4, 4), b"more"], 2))
        assert (again.high_water, again.accepted, again.duplicates) == (5, 1, 2)
        # The first answer may have been lost: what was refused then is told again.
        assert [one.seq for one in again.refused] == [3, 5]
        late = await take(ingest, packed([encode(check("fra"))], 10))
        assert late.gap == Gap(first_seq=6, last_seq=9)
        assert [one.reason for one in late.refused] == [RefusalReason.WRONG_AGENT]
        assert len(await log.dead_letters()) == 3
        assert (await log.marks())["sfo", "e1"].high_water == 10
        assert sample(ingest) == {
            "batches_total": 3,
            "gaps_total": 1,
            "events_total|accepted": 3,
            "events_total|duplicate": 2,
            "events_total|refused": 3,
            "events_total|missing": 4,
            "refused_events_total|invalid": 2,
            "refused_events_total|wrong-agent": 1,
            "agent_bytes_total|sfo": ingest.bytes_of["sfo"],
        }


async def test_another_agents_batch_is_refused_as_a_whole(tmp_path: Path) -> None:
    async with running(tmp_path) as (ingest, log):
        with pytest.raises(WrongAgentError, match="found fra, allowed is sfo"):
            await take(ingest, packed(lines(1, 1), agent="fra"))
        assert await log.marks() == {}


@pytest.mark.parametrize(
    ("data", "error"),
    [
        (b"", BodyError),
        (b"no gzip", BodyError),
        (gzip.compress(b""), BodyError),
        (gzip.compress(raw_body(header(2), lines(1, 1))), BodyError),
        (gzip.compress(raw_body(header(1), []) + b"\n" * 20_000), BodyTooLargeError),
        (gzip.compress(body([b"x"]) + b"\n" * MAX_PLAIN_BYTES, 1), PastLimitError),
    ],
)
async def test_of_a_bad_batch_nothing_is_taken(
    tmp_path: Path, data: bytes, error: type[BodyError]
) -> None:
    async with running(tmp_path) as (ingest, log):
        with pytest.raises(error):
            await take(ingest, data)
        assert await log.marks() == {}
        assert ingest.admission.memory.free == ingest.admission.memory.total
        assert sample(ingest) == {}


async def test_what_packs_far_better_than_usual_is_taken_with_more_room(tmp_path: Path) -> None:
    event = lines(1, 1)[0][:-1] + b',"x":"' + b"x" * 900_000 + b'"}'
    data = packed([event] * 50)
    assert len(data) * 40 < 50 * len(event) // 4
    async with running(tmp_path, Room(plain_bytes=1 * MIB)) as (ingest, log):
        # It alone is more than all the memory that there is: it waits for all of it.
        answer = await take(ingest, data)
        assert answer.accepted == 50
        assert (await log.bounds()).last == 50


async def test_overlapping_batches_of_one_agent_at_the_same_time_count_once(tmp_path: Path) -> None:
    async with running(tmp_path) as (ingest, log):
        answers = await asyncio.gather(
            *(
                take(ingest, packed(lines(first, first + 99), first))
                for first in (1, 1, 51, 101, 51, 101)
            )
        )
        found = identities(await everything(log))
        assert found == [("sfo", "e1", seq) for seq in range(1, 201)] or len(found) < 200
        assert len(set(found)) == len(found)
        marks = await log.marks()
        missing = sum(a.gap.last_seq - a.gap.first_seq + 1 for a in answers if a.gap)
        assert marks["sfo", "e1"].high_water == 200
        assert marks["sfo", "e1"].missing == missing == 200 - len(found)
        assert sum(answer.accepted for answer in answers) == len(found)


async def test_a_log_that_is_closed_takes_nothing_and_the_memory_comes_back(tmp_path: Path) -> None:
    async with running(tmp_path) as (ingest, log):
        await log.close()
        with pytest.raises(LogError):
            await take(ingest, packed(lines(1, 1)))
        assert ingest.admission.memory.free == ingest.admission.memory.total
        assert sample(ingest) == {}


async def test_duplicates_cost_no_quota_and_new_events_do(tmp_path: Path) -> None:
    async with running(tmp_path, Room(bytes_per_hour=10_000)) as (ingest, _):
        size = sum(map(len, lines(1, 2)))
        for _ in range(50):
            await take(ingest, packed(lines(1, 2)))
        assert ingest.bytes_of["sfo"] == size + 2 * EVENT_BYTES
        assert ingest.admission.quota.wait_s("sfo") == 0.0
        await take(ingest, packed([*lines(2, 2), *lines(3, 30)], 2))
        assert ingest.bytes_of["sfo"] == sum(map(len, lines(1, 30))) + 30 * EVENT_BYTES
        assert ingest.admission.quota.wait_s("sfo") > 0
        with pytest.raises(BusyError, match="more than 10000 bytes of sfo"):
            ingest.admission.place("sfo", 1).__enter__()


async def test_what_the_log_did_not_take_costs_nothing_and_begins_no_epoch(tmp_path: Path) -> None:
    async with running(tmp_path, Room(bytes_per_hour=100, new_epochs=2)) as (ingest, log):
        await take(ingest, packed(lines(1, 1)))
        await log.close()
        before_s = ingest.admission.quota.wait_s("sfo")
        for epoch in ("e2", "e3", "e4"):
            with pytest.raises(LogError):
                await take(ingest, packed(lines(1, 1), epoch=epoch))
        assert ingest.admission.quota.wait_s("sfo") <= before_s + 1e-3
        assert ingest.admission.turned_away["epochs"] == 0


async def test_epochs_are_bounded_also_after_a_restart(tmp_path: Path) -> None:
    room = Room(new_epochs=3)
    async with running(tmp_path, room) as (ingest, _):
        for epoch in ("e1", "e2"):
            await take(ingest, packed(lines(1, 1), epoch=epoch))
    async with running(tmp_path, room) as (ingest, log):
        await take(ingest, packed(lines(1, 1), epoch="e3"))
        with pytest.raises(BusyError, match="3 epochs of sfo that began within a day") as caught:
            await take(ingest, packed(lines(1, 1), epoch="e4"))
        assert caught.value.mine
        assert caught.value.retry_after_s == 86_400
        assert len(await log.marks()) == 3
        # Those that it has go on, and so do other agents.
        assert (await take(ingest, packed(lines(2, 2), 2))).accepted == 1
        fra = packed(lines(1, 1, "fra"), agent="fra")
        assert (await ingest.take("fra", fra, gzipped=True, received_ns=1)).accepted == 1
        assert ingest.admission.told() == [
            "agent sfo is turned away: 3 epochs of sfo that began within a day"
        ]


PARTS = st.one_of(
    st.binary(max_size=80),
    st.sampled_from(
        [b"\n", b"\n\n", body(lines(1, 2)), body(lines(1, 1), 5), body([b"x", *lines(1, 1)], 2)]
    ),
)


@settings(
    max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(parts=st.lists(st.tuples(PARTS, st.booleans(), st.binary(max_size=3)), max_size=6))
def test_any_bytes_leave_the_mark_where_the_events_taken_are(
    tmp_path_factory: pytest.TempPathFactory, parts: "list[tuple[bytes, bool, bytes]]"
) -> None:
    async def run() -> None:
        async with running(tmp_path_factory.mktemp("any")) as (ingest, log):
            high = accepted = refused = missing = 0
            for data, gzipped, tail in parts:
                sent = gzip.compress(data, 1) + tail if gzipped else data + tail
                try:
                    answer = await take(ingest, sent, gzipped=gzipped)
                except BodyError:
                    continue
                assert answer.high_water >= high
                high = answer.high_water
                accepted += answer.accepted
                missing += 0 if answer.gap is None else (
                    answer.gap.last_seq - answer.gap.first_seq + 1
                )  # fmt: skip
            refused = len(await log.dead_letters())
            mark = (await log.marks()).get(("sfo", "e1"))
            assert (0 if mark is None else mark.high_water) == high
            assert accepted + refused + missing == high
            assert len(await everything(log)) == accepted

    asyncio.run(run())
