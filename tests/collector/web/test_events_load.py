"""Events in quantities that nobody should send: memory stays bounded and good ones get through."""

import asyncio
from pathlib import Path

import msgspec
import pytest
from aiohttp import ClientSession

from collector.ingest.admission import Room
from probes.contract.wire import MAX_BATCH_EVENTS, Ingested
from tests.collector.ingest.made import GZIP, lines, packed
from tests.collector.web.posting import URL, serving, slow, until_inside
from tests.collector.web.servers import bearer

GARBAGE = 1_000_000
MIB = 1 << 20


def resident() -> int:
    """What this process, server and client in one, has in memory now, in bytes."""
    pages = Path("/proc/self/statm").read_text(encoding="ascii").split()[1]
    return int(pages) * 4096


async def post(client: ClientSession, agent: str, data: bytes) -> tuple[int, bytes]:
    headers = {**bearer(f"agent-{agent}"), **GZIP}
    async with client.post(URL, data=data, headers=headers) as response:
        return response.status, await response.read()


@pytest.mark.slow
@pytest.mark.timeout(300)
async def test_a_million_garbage_events_are_dead_letters_and_no_more(tmp_path: Path) -> None:
    garbage = [b"garbage %d" % number for number in range(MAX_BATCH_EVENTS)]
    async with serving(tmp_path) as (client, ingest, log):
        before = resident()
        peak = 0
        for first in range(1, GARBAGE, MAX_BATCH_EVENTS):
            status, answer = await post(client, "sfo", packed(garbage, first))
            assert status == 200
            taken = msgspec.json.decode(answer, type=Ingested)
            assert (taken.high_water, taken.accepted) == (first + MAX_BATCH_EVENTS - 1, 0)
            assert len(taken.refused) == MAX_BATCH_EVENTS
            peak = max(peak, resident())
            if first % 200_000 == 1:
                # Others are served all the while.
                seq = first // 200_000 + 1
                status, _ = await post(client, "fra", packed(lines(seq, seq, "fra"), seq, "fra"))
                assert status == 200
        assert peak - before < 200 * MIB
        assert (await log.bounds()).dead_letters == GARBAGE
        assert ingest.refused.total() == GARBAGE
        status, answer = await post(client, "sfo", packed(lines(1, 5), GARBAGE + 1))
        assert (status, msgspec.json.decode(answer, type=Ingested).accepted) == (200, 5)
        assert (await log.bounds()).last == GARBAGE + 10


async def test_two_hundred_slow_requests_fill_the_room_and_not_the_memory(tmp_path: Path) -> None:
    room = Room(places=20)
    async with serving(tmp_path, room) as (client, ingest, _):
        before = resident()
        held = [
            await slow(client, f"agent-a{number}", bytes(200_000), 8 << 20)
            for number in range(room.places)
        ]
        await until_inside(ingest, 8)  # of 8 MiB each: there is no room for a ninth
        late = [
            await slow(client, f"agent-b{number}", bytes(10_000), 8 << 20) for number in range(180)
        ]
        answers = await asyncio.gather(*(reader.readline() for reader, _ in late))
        assert {answer.split()[1] for answer in answers} == {b"503"}
        assert resident() - before < 100 * MIB
        status, _ = await post(client, "sfo", packed(lines(1, 1)))
        assert status == 503
        for _, writer in (*held, *late):
            writer.close()
        await until_inside(ingest, 0)
        status, _ = await post(client, "sfo", packed(lines(1, 1)))
        assert status == 200


async def test_bombs_from_many_agents_wait_for_memory_and_go_off_nowhere(tmp_path: Path) -> None:
    large = {}
    for agent in ("a1", "a2", "a3", "a4"):
        event = lines(1, 1, agent)[0][:-1] + b',"x":"' + b"x" * 900_000 + b'"}'
        large[agent] = packed([event] * 60, agent=agent)
    bomb = packed([b" " * 900_000] * 80, agent="b")
    async with serving(tmp_path) as (client, ingest, log):
        before = resident()
        peak = [before]

        async def watch() -> None:
            while True:
                peak[0] = max(peak[0], resident())
                await asyncio.sleep(0.002)

        watcher = asyncio.create_task(watch())
        answers = await asyncio.gather(
            *(post(client, agent, data) for agent, data in large.items()),
            *(post(client, "b", bomb) for _ in range(2)),
        )
        watcher.cancel()
        assert sorted(status for status, _ in answers) == [200] * 4 + [413] * 2
        # Four times 54 MiB, each in three copies, would be far more.
        assert peak[0] - before < 450 * MIB
        assert ingest.admission.memory.free == ingest.admission.memory.total
        assert (await log.bounds()).last == 240
