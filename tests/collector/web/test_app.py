"""What surrounds every request: problem details, headers, ids, and services that are not there."""

from collections.abc import AsyncIterator

import msgspec
import pytest
from aiohttp import ClientResponse, web

from collector.web.handling import principal, read_json, read_query, reply
from collector.web.problems import not_found
from collector.web.route import EVERYBODY, Route
from probes.contract.errors import MailcanaryError
from probes.contract.wire import PROBLEM_TYPE, ProblemDetails
from tests.collector.web.servers import bearer, started, web_services


class Word(msgspec.Struct):
    """A body, or a query."""

    word: str
    times: int = 1
    note: int | None = None


PLACE: "web.AppKey[str]" = web.AppKey("place", str)


async def _whoami(request: web.Request) -> web.Response:
    return reply([str(principal(request)), request.app[PLACE]])


async def _echo(request: web.Request) -> web.Response:
    return reply(await read_json(request, Word))


async def _ask(request: web.Request) -> web.Response:
    return reply(read_query(request, Word))


FAILURES: dict[str, Exception] = {
    "/missing": not_found(),
    "/broken": RuntimeError("the word was swordfish"),
    "/disk": MailcanaryError("control: the disk at /secret/place is full"),
}


async def _fail(request: web.Request) -> web.Response:
    raise FAILURES[request.path]


ROUTES = (
    Route("GET", "/whoami", _whoami, "", roles=EVERYBODY, needs=(PLACE,)),
    Route("POST", "/echo", _echo, "", request=Word, body_limit=100),
    Route("GET", "/ask", _ask, "", query=Word),
    Route("GET", "/missing", _fail, ""),
    Route("GET", "/broken", _fail, ""),
    Route("GET", "/disk", _fail, ""),
)
ANN = bearer("operator-ann")


async def _told(response: ClientResponse) -> ProblemDetails:
    assert response.content_type == PROBLEM_TYPE
    told = msgspec.json.decode(await response.read(), type=ProblemDetails)
    assert told.status == response.status
    return told


async def test_a_handler_knows_who_asks_and_has_its_service() -> None:
    async with started({PLACE: "here"}, ROUTES) as client:
        response = await client.get("/whoami", headers=bearer("agent-sfo"))
        assert await response.json() == ["agent:sfo", "here"]


async def test_without_its_service_a_route_does_not_exist() -> None:
    async with started({}, ROUTES) as client:
        response = await client.get("/whoami", headers=ANN)
        assert response.status == 404
        await _told(response)


async def test_a_method_that_is_not_there() -> None:
    async with started({}, ROUTES) as client:
        response = await client.delete("/echo", headers=ANN)
        assert (response.status, response.headers["Allow"]) == (405, "POST")
        await _told(response)


async def test_faults_tell_strangers_nothing() -> None:
    async with started({}, ROUTES) as client:
        broken = await client.get("/broken", headers=ANN)
        told = await _told(broken)
        assert told.status == 500
        assert told.detail == f"a fault of ours; request {broken.headers['X-Request-Id']}"
        disk = await client.get("/disk", headers=ANN)
        assert (await _told(disk)).detail == "not possible now"
        assert (disk.status, disk.headers["Retry-After"]) == (503, "5")


@pytest.mark.parametrize(
    ("body", "content_type", "status"),
    [
        (b'{"word": "a"}', "application/json", 200),
        (b'{"word": 1}', "application/json", 422),
        (b"{}", "application/json", 422),
        (b"{", "application/json", 400),
        (b'{"word": "\xff"}', "application/json", 400),
        (b"[" * 90, "application/json", 422),
        (b'{"word": "a"}', "text/plain", 415),
        (b'{"word": "' + b"a" * 100 + b'"}', "application/json", 413),
    ],
)
async def test_bodies(body: bytes, content_type: str, status: int) -> None:
    async with started({}, ROUTES) as client:
        headers = {**ANN, "Content-Type": content_type}
        response = await client.post("/echo", data=body, headers=headers)
        assert response.status == status, await response.text()


async def test_a_body_without_a_length_is_bounded_too() -> None:
    async def endless() -> AsyncIterator[bytes]:
        while True:
            yield b" " * 50

    async with started({}, ROUTES) as client:
        headers = {**ANN, "Content-Type": "application/json"}
        response = await client.post("/echo", data=endless(), headers=headers)
        assert response.status == 413


async def test_a_compressed_body_is_refused_unseen() -> None:
    async with started({}, ROUTES) as client:
        headers = {**ANN, "Content-Type": "application/json", "Content-Encoding": "gzip"}
        response = await client.post("/echo", data=b"no gzip", headers=headers)
        assert response.status == 415


@pytest.mark.parametrize(
    ("query", "detail"),
    [
        ("word=a&wrod=b", "query: found 'wrod', allowed is note, times, word"),
        ("word=a&word=b", "query: found word a second time, allowed is each once"),
        ("word=a&note=null", "query: found no value for note"),
        ("times=2", "query: Object missing required field `word`"),
        ("word=a&times=x", "query: Expected `int`, got `str` - at `$.times`"),
    ],
)
async def test_a_query_that_is_wrong(query: str, detail: str) -> None:
    async with started({}, ROUTES) as client:
        response = await client.get(f"/ask?{query}", headers=ANN)
        assert (response.status, (await _told(response)).detail) == (400, detail)


async def test_a_query_that_is_right() -> None:
    async with started({}, ROUTES) as client:
        response = await client.get("/ask?word=a&times=3", headers=ANN)
        assert await response.json() == {"word": "a", "times": 3, "note": None}


async def test_every_answer_has_the_headers_that_browsers_need_to_keep_off() -> None:
    async with started({}, ROUTES, web_services(https=True)) as client:
        for path in ("/api/v1/nothing", "/ask?word=a", "/broken"):
            response = await client.get(path, headers=ANN)
            assert response.headers["X-Content-Type-Options"] == "nosniff"
            assert response.headers["Cache-Control"] == "no-store"
            assert response.headers["Strict-Transport-Security"].startswith("max-age=")
            assert response.headers["Server"] == "mailcanary"


@pytest.mark.parametrize(("given", "kept"), [("abc-1", True), ("a b", False), ("x" * 65, False)])
async def test_request_ids(given: str, kept: bool) -> None:
    async with started({}, ROUTES) as client:
        response = await client.get("/ask?word=a", headers={**ANN, "X-Request-Id": given})
        assert (response.headers["X-Request-Id"] == given) is kept
