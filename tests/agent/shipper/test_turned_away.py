"""An agent that a real collector turns away: it keeps its events and goes on by itself."""

import contextlib
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from agent.shipper.client import CollectorClient, Endpoint
from agent.shipper.failures import MAX_RETRY_AFTER_S, Fate
from agent.shipper.ship import Shipper
from collector.ingest.admission import Room
from collector.log.sqlite import SqliteLog
from collector.web.app import build_app
from collector.web.events import INGEST
from collector.web.server import ServerOptions, serving
from probes.contract.secret import Secret
from tests.agent.fakes import InlineSpool, rng
from tests.collector.ingest.made import check, lines, packed, running
from tests.collector.log.batches import everything
from tests.collector.web.servers import web_services


@contextlib.asynccontextmanager
async def collector(
    directory: Path, room: Room, port: int = 0
) -> AsyncIterator[tuple[int, SqliteLog]]:
    """A collector that has one epoch of this agent already."""
    async with running(directory, room) as (ingest, log):
        await ingest.take("sfo", packed(lines(1, 40)), gzipped=True, received_ns=1)
        app = build_app(web_services(), {INGEST: ingest})
        async with serving(app, ServerOptions(port=port)) as server:
            yield server.port, log


@pytest.mark.parametrize(
    ("room", "said"),
    [
        (Room(new_epochs=1), "found 1 epochs of sfo that began within a day"),
        (Room(epochs=1), "found 1 epochs of sfo, which is all"),
        (Room(bytes_per_hour=5000), "found more than 5000 bytes of sfo within an hour"),
    ],
)
async def test_what_is_turned_away_stays_and_arrives_once_there_is_room(
    tmp_path: Path, room: Room, said: str
) -> None:
    spool = InlineSpool(tmp_path / "spool")
    for number in range(3):
        event = check(at_ns=number)
        await spool.run(lambda store, event=event: store.append(event, 1))  # type: ignore[misc]
    token = Secret("agent-sfo", "token")
    async with contextlib.AsyncExitStack() as stack:
        stack.callback(spool.close)
        async with collector(tmp_path, room) as (port, log):
            client = CollectorClient(Endpoint(f"http://127.0.0.1:{port}", "sfo", lambda: token))
            stack.push_async_callback(client.close)
            counters: Counter[str] = Counter()
            shipper = Shipper("sfo", spool, client, wall_ns=lambda: 5, rng=rng(), counters=counters)
            for _ in range(3):
                failure = await shipper.drain()
                assert failure is not None
                assert said in failure.text
                assert (failure.fate, failure.kind) == (Fate.RETRY, "429")
                assert 0 < failure.retry_after_s <= MAX_RETRY_AFTER_S
            assert [record.seq for record in spool.store.read_after(0, 9)] == [1, 2, 3]
            assert (await log.bounds()).last == 40
        async with collector(tmp_path, Room(), port) as (_, log):
            assert await shipper.drain() is None
            found = [entry.seq for entry in await everything(log) if entry.epoch == spool.epoch]
        assert found == [1, 2, 3]
        assert +counters == Counter(ship_failures=3, events_shipped=3)
