"""The collector's client against a real server: what is sent, what is believed of the answer."""

import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable

import msgspec
import pytest
from aiohttp import web

from agent.shipper.client import CollectorClient, Endpoint
from agent.shipper.failures import Fate, ShipError
from probes.contract.errors import SecretError
from probes.contract.secret import Secret
from probes.contract.wire import AssignmentDocument, BeatReply, Ingested
from tests.agent.shipper.beats import BEAT

TOKEN = "mc1_agent_x_secret"
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
INGESTED = Ingested(
    epoch="e", high_water=1, accepted=1, duplicates=0, received_at_ns=1, answered_at_ns=2
)


@contextlib.asynccontextmanager
async def client_of(handler: Handler, answer_s: float = 5.0) -> AsyncIterator[CollectorClient]:
    """A client of a server that has one handler for everything."""
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", handler)
    runner = web.AppRunner(app, access_log=None, auto_decompress=False)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    host, port = runner.addresses[0][:2]
    endpoint = Endpoint(f"http://{host}:{port}/", "sfo", lambda: Secret(TOKEN))
    client = CollectorClient(endpoint, answer_s=answer_s)
    try:
        yield client
    finally:
        await client.close()
        await runner.cleanup()


async def test_a_batch_is_sent_as_the_wire_says() -> None:
    seen: list[web.Request] = []
    bodies: list[bytes] = []

    async def take(request: web.Request) -> web.Response:
        seen.append(request)
        bodies.append(await request.read())
        return web.Response(body=msgspec.json.encode(INGESTED))

    async with client_of(take) as client:
        assert await client.post_events(b"gzipped") == INGESTED
    [request] = seen
    assert (request.method, request.path) == ("POST", "/api/v1/events")
    assert request.headers["Content-Encoding"] == "gzip"
    assert request.content_type == "application/x-ndjson"
    assert request.headers["Authorization"] == f"Bearer {TOKEN}"
    assert bodies == [b"gzipped"]


async def test_beats_and_assignments_go_to_the_agents_own_place() -> None:
    paths: list[str] = []
    document = AssignmentDocument(version=1, agent="sfo", revision="r", config=msgspec.Raw(b"{}"))

    async def take(request: web.Request) -> web.Response:
        paths.append(request.path_qs)
        if request.method == "POST":
            return web.Response(
                body=msgspec.json.encode(BeatReply(received_at_ns=1, answered_at_ns=2, beat_s=10.0))
            )
        if request.headers.get("If-None-Match") == '"a"':
            return web.Response(status=304)
        return web.Response(body=msgspec.json.encode(document), headers={"ETag": '"a"'})

    async with client_of(take) as client:
        assert (await client.beat(BEAT)).beat_s == 10.0
        assert await client.assignment(None, 0.0) == ('"a"', document)
        assert await client.assignment('"a"', 55.0) is None
    assert paths == [
        "/api/v1/agents/sfo/beat",
        "/api/v1/agents/sfo/assignment?wait=0",
        "/api/v1/agents/sfo/assignment?wait=55",
    ]


@pytest.mark.parametrize(
    ("status", "fate"),
    [(503, Fate.RETRY), (429, Fate.RETRY), (401, Fate.STOP), (302, Fate.STOP), (413, Fate.SMALLER)],
)
async def test_other_answers_are_failures(status: int, fate: Fate) -> None:
    async def refuse(request: web.Request) -> web.Response:  # noqa: ARG001 - a handler's signature
        body = b'{"title": "No", "status": 1, "detail": "the disk is full"}'
        return web.Response(
            status=status, body=body, headers={"Retry-After": "7", "Location": "/elsewhere"}
        )

    async with client_of(refuse) as client:
        with pytest.raises(ShipError) as caught:
            await client.beat(BEAT)
    failure = caught.value.failure
    assert (failure.fate, failure.retry_after_s) == (fate, 7.0)
    assert TOKEN not in failure.text


@pytest.mark.parametrize("body", [b"", b"nonsense", b"[]", b"{}", b"\xff" * 10, b"x" * (5 << 20)])
async def test_an_answer_that_is_none_is_tried_again(body: bytes) -> None:
    async def answer(request: web.Request) -> web.Response:  # noqa: ARG001 - a handler's signature
        return web.Response(body=body)

    async with client_of(answer) as client:
        with pytest.raises(ShipError) as caught:
            await client.beat(BEAT)
    assert caught.value.failure.fate is Fate.RETRY


async def test_a_collector_that_is_not_there_is_tried_again() -> None:
    endpoint = Endpoint("http://127.0.0.1:1", "sfo", lambda: Secret(TOKEN))
    client = CollectorClient(endpoint)
    try:
        with pytest.raises(ShipError) as caught:
            await client.beat(BEAT)
    finally:
        await client.close()
    assert caught.value.failure.fate is Fate.RETRY


async def test_a_token_that_cannot_be_read_is_for_a_person_to_mend() -> None:
    def none() -> Secret:
        raise SecretError("token: cannot be read as a token")

    client = CollectorClient(Endpoint("http://127.0.0.1:1", "sfo", none))
    with pytest.raises(ShipError) as caught:
        await client.beat(BEAT)
    await client.close()
    assert (caught.value.failure.fate, caught.value.failure.kind) == (Fate.STOP, "token")
