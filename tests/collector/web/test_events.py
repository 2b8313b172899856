"""``POST /api/v1/events`` on the wire: what is taken, what is refused, and in which words."""

import contextlib
import gzip
import io
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from aiohttp import ClientResponse, ClientSession

from collector.control.agents import AgentRegistry
from collector.ingest.admission import Room
from collector.ingest.metrics import IngestCollector
from collector.web.agents import AGENTS
from collector.web.events import INGEST, finding
from collector.web.handling import BodyTime
from probes.contract.wire import (
    MAX_COMPRESSED_BYTES,
    MAX_PLAIN_BYTES,
    PROBLEM_TYPE,
    Beat,
    Ingested,
    ProblemDetails,
)
from tests.collector.control.stores import control_store
from tests.collector.ingest.made import (
    GZIP,
    HEAD,
    NOW_NS,
    body,
    header,
    lines,
    packed,
    raw_body,
    running,
)
from tests.collector.web.posting import DESCRIBED, SFO, URL, serving, slow, until_inside
from tests.collector.web.servers import bearer, started, web_services
from tests.disks import fill, small_disk


async def post(client: ClientSession, data: Any, **headers: str) -> ClientResponse:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return await client.post(URL, data=data, headers={**SFO, **GZIP, **named})


async def problem(response: ClientResponse, status: int) -> ProblemDetails:
    """The problem that an answer tells of; it has that status."""
    found = msgspec.json.decode(await response.read(), type=ProblemDetails)
    assert response.status == found.status == status
    assert response.content_type == PROBLEM_TYPE
    assert PROBLEM_TYPE in DESCRIBED[str(status)]["content"]
    return found


async def test_a_batch_is_answered_when_it_is_in_the_log(tmp_path: Path) -> None:
    async with serving(tmp_path) as (client, _, log):
        response = await post(client, packed([*lines(1, 2), b"garbage"]))
        assert response.status == 200
        answer = msgspec.json.decode(await response.read(), type=Ingested)
        assert (answer.high_water, answer.accepted, len(answer.refused)) == (3, 2, 1)
        assert (await log.bounds()).last == 2
        plain = await client.post(URL, data=body(lines(4, 4), 4), headers={**SFO, **HEAD})
        assert plain.status == 200


@pytest.mark.parametrize("encoding", ["gzip", "GZIP", "identity"])
async def test_encodings_that_are_allowed(tmp_path: Path, encoding: str) -> None:
    data = body(lines(1, 1)) if encoding == "identity" else packed(lines(1, 1))
    async with serving(tmp_path) as (client, _, _):
        assert (await post(client, data, Content_Encoding=encoding)).status == 200


@pytest.mark.parametrize("encoding", ["br", "deflate", "gzip, gzip", "identity, gzip", "zstd", ""])
async def test_other_encodings_are_refused(tmp_path: Path, encoding: str) -> None:
    async with serving(tmp_path) as (client, _, _):
        response = await post(client, packed(lines(1, 1)), Content_Encoding=encoding)
        assert "allowed is gzip, identity" in str((await problem(response, 415)).detail)
        assert response.headers["Accept-Encoding"] == "gzip, identity"


async def test_an_encoding_that_is_said_twice_is_refused(tmp_path: Path) -> None:
    async with serving(tmp_path) as (client, _, _):
        headers = [*SFO.items(), *HEAD.items()]
        headers += [("Content-Encoding", "identity"), ("Content-Encoding", "gzip")]
        await problem(await client.post(URL, data=packed(lines(1, 1)), headers=headers), 415)


@pytest.mark.parametrize("kind", ["application/json", "text/plain", "application/octet-stream"])
async def test_other_media_types_are_refused(tmp_path: Path, kind: str) -> None:
    async with serving(tmp_path) as (client, _, _):
        response = await post(client, packed(lines(1, 1)), Content_Type=kind)
        assert f"found {kind}" in str((await problem(response, 415)).detail)


async def _chunks(size: int) -> AsyncIterator[bytes]:
    for _ in range(size // 65536):
        yield bytes(65536)


async def test_what_is_too_large_is_refused_whatever_it_says_of_its_length(tmp_path: Path) -> None:
    bomb = gzip.compress(body([b"x"]) + b"\n" * MAX_PLAIN_BYTES, 1)
    many = gzip.compress(raw_body(header(1), []) + b"\n" * 10_001)
    async with serving(tmp_path) as (client, ingest, log):
        for data in (io.BytesIO(bytes(MAX_COMPRESSED_BYTES + 1)), _chunks(9 << 20)):
            with contextlib.suppress(ConnectionError):
                await problem(await post(client, data), 413)
        assert "when unpacked" in (await problem(await post(client, bomb), 413)).errors[0]
        assert "10001 events" in (await problem(await post(client, many), 413)).errors[0]
        assert await log.marks() == {}
        assert ingest.admission.inside == ingest.admission.body_bytes == 0


async def test_a_batch_in_pieces_without_a_length_is_taken(tmp_path: Path) -> None:
    data = packed(lines(1, 500))

    async def pieces() -> AsyncIterator[bytes]:
        for at in range(0, len(data), 1000):
            yield data[at : at + 1000]

    async with serving(tmp_path) as (client, _, _):
        assert (await post(client, pieces())).status == 200


async def test_all_that_is_wrong_with_a_header_is_told(tmp_path: Path) -> None:
    head = {**msgspec.to_builtins(header(1)), "version": 9, "epoch": "?", "first_seq": 0}
    async with serving(tmp_path) as (client, _, log):
        response = await post(client, gzip.compress(raw_body(head, lines(1, 1))))
        told = (await problem(response, 400)).errors
        assert [line.split(":")[1] for line in told] == [" version", " epoch", " first_seq"]
        assert await log.marks() == {}


@pytest.mark.parametrize("data", [b"", b"garbage", packed([b"x"])[:-3], packed([b"x"]) + b"x"])
async def test_what_is_no_batch_is_refused(tmp_path: Path, data: bytes) -> None:
    async with serving(tmp_path) as (client, _, _):
        assert (await problem(await post(client, data), 400)).errors


async def test_a_batch_of_another_agent_is_refused(tmp_path: Path) -> None:
    async with serving(tmp_path) as (client, _, log):
        told = await problem(await post(client, packed(lines(1, 1), agent="fra")), 403)
        assert told.errors == ["line 1: agent: found fra, allowed is sfo, whose token it is"]
        assert await log.marks() == {}


@pytest.mark.parametrize("time", [BodyTime(most_s=0.1), BodyTime(grace_s=0.1)])
async def test_a_body_that_never_ends_is_given_up_and_leaves_its_place(
    tmp_path: Path, time: BodyTime
) -> None:
    base = web_services(body_time=time)
    async with serving(tmp_path, Room(per_agent=1), base) as (client, ingest, _):
        reader, writer = await slow(client, "agent-sfo", b"\x1f")
        assert (await reader.readline()).startswith(b"HTTP/1.1 408 ")
        assert ingest.admission.inside == 0
        writer.close()
        assert (await post(client, packed(lines(1, 1)))).status == 200


async def test_an_agents_third_batch_at_a_time_is_turned_away_unread(tmp_path: Path) -> None:
    async with serving(tmp_path) as (client, ingest, _):
        held = [await slow(client, "agent-sfo") for _ in range(2)]
        await until_inside(ingest, 2)
        # Not a byte of its body was sent, and it is answered.
        reader, writer = await slow(client, "agent-sfo")
        answer = await reader.readuntil(b"\r\n\r\n")
        assert answer.startswith(b"HTTP/1.1 429 ")
        assert b"Retry-After: 1\r\n" in answer
        fra = {**bearer("agent-fra"), **GZIP}
        other = await client.post(URL, data=packed(lines(1, 1, "fra"), agent="fra"), headers=fra)
        assert other.status == 200
        for _, one in (*held, (reader, writer)):
            one.close()
        await until_inside(ingest, 0)
        assert (await post(client, packed(lines(1, 1)))).status == 200


@pytest.mark.parametrize("room", [Room(places=1), Room(body_bytes=1200)])
async def test_what_there_is_no_room_for_is_turned_away_unread(tmp_path: Path, room: Room) -> None:
    async with serving(tmp_path, room) as (client, ingest, _):
        _, held = await slow(client, "agent-fra")
        await until_inside(ingest, 1)
        reader, writer = await slow(client, "agent-sfo")
        answer = await reader.readuntil(b"\r\n\r\n")
        assert answer.startswith(b"HTTP/1.1 503 ")
        assert b"Retry-After: 1\r\n" in answer
        held.close()
        writer.close()
        await until_inside(ingest, 0)
        assert (await post(client, packed(lines(1, 1)))).status == 200


async def test_too_many_batches_a_minute_are_told_when_to_come_again(tmp_path: Path) -> None:
    async with serving(tmp_path, Room(per_minute=2)) as (client, _, log):
        for first in (1, 2):
            assert (await post(client, packed(lines(first, first), first))).status == 200
        response = await post(client, packed(lines(3, 3), 3))
        await problem(response, 429)
        assert 1 <= int(response.headers["Retry-After"]) <= 30
        assert (await log.marks())["sfo", "e1"].high_water == 2


async def test_an_agent_past_its_quota_waits_and_the_operator_is_told(tmp_path: Path) -> None:
    base = web_services()
    async with serving(tmp_path, Room(bytes_per_hour=10_000), base) as (client, ingest, log):
        base.health.add("ingest", lambda: finding(ingest))
        assert base.health.report(whole=False).status == "ok"
        assert (await post(client, packed(lines(1, 50)))).status == 200
        # Not a byte of its body was sent, and it is answered.
        reader, writer = await slow(client, "agent-sfo")
        answer = await reader.readuntil(b"\r\n\r\n")
        writer.close()
        assert answer.startswith(b"HTTP/1.1 429 ")
        refused = await post(client, packed(lines(51, 51), 51))
        told = await problem(refused, 429)
        assert told.detail == (
            "found more than 10000 bytes of sfo within an hour, which is all that is allowed"
        )
        assert 1 <= int(refused.headers["Retry-After"]) <= 86_400
        fra = {**bearer("agent-fra"), **GZIP}
        other = await client.post(URL, data=packed(lines(1, 1, "fra"), agent="fra"), headers=fra)
        assert other.status == 200
        assert (await log.marks())["sfo", "e1"].high_water == 50
        report = base.health.report(whole=True)
        assert report.parts is not None
        assert report.status == "degraded"
        assert "agent sfo is turned away" in report.parts["ingest"].problems[0]


async def test_an_agent_with_too_many_epochs_waits(tmp_path: Path) -> None:
    async with serving(tmp_path, Room(new_epochs=1)) as (client, ingest, log):
        assert (await post(client, packed(lines(1, 1)))).status == 200
        response = await post(client, packed(lines(1, 1), epoch="e2"))
        told = await problem(response, 429)
        assert "1 epochs of sfo that began within a day" in str(told.detail)
        assert response.headers["Retry-After"] == "86400"
        assert set(await log.marks()) == {("sfo", "e1")}
        assert ingest.admission.turned_away["epochs"] == 1


async def test_a_log_that_takes_nothing_is_told_and_says_when_to_come_again(
    tmp_path: Path,
) -> None:
    async with serving(tmp_path) as (client, ingest, log):
        await log.close()
        response = await post(client, packed(lines(1, 1)))
        told = await problem(response, 503)
        assert told.detail == "the log cannot take events now"
        assert response.headers["Retry-After"] == "5"
        assert ingest.admission.inside == 0


async def test_on_a_full_disk_nothing_is_taken_until_there_is_room(tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk", "8m") as disk:
        async with serving(disk) as (client, _, log):
            filler = fill(disk)
            first = high = 0
            while True:  # what was set aside for the log is still there to be used up
                first = high + 1
                response = await post(client, packed(lines(first, high + 100), first))
                if response.status != 200:
                    break
                high += 100
            told = await problem(response, 503)
            assert str(disk) not in str(told)
            assert response.headers["Retry-After"] in ("5", "30")
            mark = (await log.marks()).get(("sfo", "e1"))
            assert (0 if mark is None else mark.high_water) == high
            filler.unlink()
            again = await post(client, packed(lines(first, high + 100), first))
            assert again.status == 200
            answer = msgspec.json.decode(await again.read(), type=Ingested)
            assert (answer.accepted, answer.gap) == (100, None)


async def test_a_batch_is_a_sign_of_life_and_a_refused_one_is_none(tmp_path: Path) -> None:
    clock = [NOW_NS]
    beat = Beat(version="1", boot_id="b", started_ns=1, sent_at_ns=1, revision="r", epoch="e1",
                last_seq=1, shipped_seq=0)  # fmt: skip
    async with (
        running(tmp_path) as (ingest, _),
        control_store(tmp_path / "control") as store,
    ):
        agents = AgentRegistry(store, 10.0, lambda: clock[0])
        agents.beat("sfo", beat)
        async with started({INGEST: ingest, AGENTS: agents}) as client:
            clock[0] += 5
            await problem(await post(client, b"garbage"), 400)
            seen = agents.one("sfo")
            assert seen is not None
            assert seen.seen_ns == NOW_NS
            assert (await post(client, packed(lines(1, 1)))).status == 200
            seen = agents.one("sfo")
            assert seen is not None
            assert seen.seen_ns == NOW_NS + 5


async def test_prometheus_sees_what_was_taken_and_what_was_not(tmp_path: Path) -> None:
    base = web_services()
    async with running(tmp_path) as (ingest, _):
        base.metrics.registry.register(IngestCollector(ingest))
        async with started({INGEST: ingest}, base=base) as client:
            await post(client, packed([*lines(1, 2), b"garbage"]))
            await post(client, b"garbage")
            metrics = await client.get("/metrics", headers=bearer("operator-ann"))
            text = await metrics.text()
    for line in (
        'mailcanary_collector_ingest_events_total{result="accepted"} 2.0',
        'mailcanary_collector_ingest_refused_events_total{reason="invalid"} 1.0',
        'mailcanary_collector_ingest_refused_events_total{reason="not-assigned"} 0.0',
        'mailcanary_collector_ingest_turned_away_total{why="places"} 0.0',
        "mailcanary_collector_ingest_batches_in_progress 0.0",
        'http_requests_total{method="POST",route="/api/v1/events",status="400"} 1.0',
    ):
        assert line in text
