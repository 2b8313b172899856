"""The role matrix: every route of the table against every sort of token."""

import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from itertools import product
from pathlib import Path

import pytest
from aiohttp import ClientResponse, ClientSession, web

from collector.control.principal import Kind
from collector.control.tokens import Tokens
from collector.web.handling import reply
from collector.web.route import Route
from collector.web.routes import ROUTES
from tests.collector.control.stores import NOW_NS, HandClock, control_store
from tests.collector.web.servers import bearer, started, web_services

HOLDERS = {
    "agent": (Kind.AGENT, "mine"),
    "other agent": (Kind.AGENT, "yours"),
    "customer": (Kind.CUSTOMER, "mine"),
    "other customer": (Kind.CUSTOMER, "yours"),
    # An operator called like the object is an operator all the same.
    "operator": (Kind.OPERATOR, "ann"),
}
BAD = ("none", "garbage", "expired", "revoked")
IDS = [f"{route.method} {route.path}" for route in ROUTES]


async def _reached(request: web.Request) -> web.Response:
    return reply({"reached": dict(request.match_info)})


@asynccontextmanager
async def guarded(
    route: Route, directory: Path
) -> AsyncIterator[tuple[ClientSession, dict[str, str | None]]]:
    """The route's guard with a handler that only says that it was reached; tokens by holder."""
    clock = HandClock()
    async with control_store(directory) as store:
        tokens = Tokens(store, clock.wall_ns, clock.monotonic)
        texts: dict[str, str | None] = {"none": None, "garbage": "garbage"}
        for holder, (kind, name) in HOLDERS.items():
            _, text = await tokens.create(kind, name, who="test")
            texts[holder] = text.reveal()
        _, text = await tokens.create(Kind.OPERATOR, "old", who="test", expires_ns=NOW_NS + 10**9)
        texts["expired"] = text.reveal()
        info, text = await tokens.create(Kind.OPERATOR, "gone", who="test")
        await tokens.revoke(info.id, who="test")
        texts["revoked"] = text.reveal()
        clock.advance(2)
        bare = replace(route, handler=_reached, needs=())
        async with started({}, (bare,), web_services(tokens=tokens)) as client:
            yield client, texts


def expected(route: Route, holder: str) -> int:
    """What the table says that the holder of a token gets for the object ``mine``."""
    if holder in BAD:
        return 200 if route.open and holder == "none" else 401
    kind, name = HOLDERS[holder]
    if route.open:
        return 200
    if kind not in route.roles:
        return 403
    return 200 if route.roles[kind] is None or name == "mine" else 403


async def _call(client: ClientSession, route: Route, name: str, text: str | None) -> ClientResponse:
    path = re.sub(r"\{[a-z_]+\}", name, route.path)
    headers = {} if text is None else bearer(text)
    return await client.request(route.method, path, headers=headers)


@pytest.mark.parametrize("route", ROUTES, ids=IDS)
async def test_who_gets_through(route: Route, tmp_path: Path) -> None:
    async with guarded(route, tmp_path) as (client, texts):
        got = {}
        for holder, text in texts.items():
            got[holder] = (await _call(client, route, "mine", text)).status
        assert got == {holder: expected(route, holder) for holder in texts}


@pytest.mark.parametrize("route", ROUTES, ids=IDS)
async def test_refusals_are_problems_and_tell_nothing(route: Route, tmp_path: Path) -> None:
    async with guarded(route, tmp_path) as (client, texts):
        for holder, text in texts.items():
            response = await _call(client, route, "mine", text)
            if response.status == 200:
                continue
            assert response.content_type == "application/problem+json"
            assert ("WWW-Authenticate" in response.headers) is (response.status == 401), holder
            assert "mine" not in await response.text()


def _told(response: ClientResponse, body: bytes) -> tuple[int, bytes, dict[str, str]]:
    own = ("Date", "X-Request-Id")
    headers = {key: value for key, value in response.headers.items() if key.title() not in own}
    return response.status, body, headers


SINGLE = [route for route in ROUTES if "{" in route.path and not route.open]


@pytest.mark.parametrize("route", SINGLE, ids=[f"{it.method} {it.path}" for it in SINGLE])
async def test_what_is_there_and_what_is_not_look_the_same(route: Route, tmp_path: Path) -> None:
    holders = [holder for holder in (*BAD, *HOLDERS) if expected(route, holder) in (401, 403)]
    async with guarded(route, tmp_path) as (client, texts):
        for holder, name in product(holders, ("nothing", "NOT A NAME", "x" * 500)):
            mine = await _call(client, route, "mine", texts[holder])
            missing = await _call(client, route, name, texts[holder])
            assert _told(mine, await mine.read()) == _told(missing, await missing.read())


def test_every_route_has_somebody_who_may_call_it() -> None:
    for route in ROUTES:
        assert route.roles, route.path
        for parameter in route.roles.values():
            assert parameter is None or f"{{{parameter}}}" in route.path, route.path


BY_A_LOOK = {
    # A batch names its agent: tests of events. The others are of the caller's customer: tests of
    # customers and series.
    "POST /api/v1/events",
    "GET /api/v1/customers",
    "GET /api/v1/series",
    "GET /api/v1/paths",
    "GET /api/v1/canaries/{id}",
}


def test_where_the_path_does_not_tell_whose_it_is_is_known() -> None:
    """Such a route shows each caller its own part, which needs a test of its own."""
    found = {
        f"{route.method} {route.path}"
        for route in ROUTES
        for kind, parameter in route.roles.items()
        if kind is not Kind.OPERATOR and parameter is None and not route.open
    }
    assert found == BY_A_LOOK


def test_no_two_rows_are_for_the_same() -> None:
    rows = [(route.method, route.path) for route in ROUTES]
    assert len(set(rows)) == len(rows)
