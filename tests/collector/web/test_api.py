"""The routes of tokens, agents, audit, health and metrics, with the real parts behind them."""

import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import pytest
from aiohttp import ClientSession, web

from collector.control.agents import AgentRegistry
from collector.control.audit import Audit
from collector.control.principal import Kind
from collector.control.tokens import Tokens
from collector.web.agents import AGENTS, finding
from collector.web.app import WebServices
from collector.web.audit import AUDIT
from collector.web.fleet_metrics import FleetCollector
from collector.web.health import Finding
from collector.web.tokens import TOKENS
from probes.contract.wire import BeatReply
from tests.collector.control.beats import beat
from tests.collector.control.stores import NOW_NS, HandClock, control_store
from tests.collector.web.servers import bearer, started, web_services


@dataclass
class Api:
    """A server with all that belongs to control, and an operator's token."""

    client: ClientSession
    clock: HandClock
    base: WebServices
    agents: AgentRegistry
    tokens: Tokens
    operator: dict[str, str]


@asynccontextmanager
async def api(directory: Path, *, metrics_open: bool = False) -> AsyncIterator[Api]:
    """Start it."""
    clock = HandClock()
    async with control_store(directory) as store:
        tokens = Tokens(store, clock.wall_ns, clock.monotonic)
        agents = AgentRegistry(store, 10.0, clock.wall_ns)
        base = web_services(tokens=tokens, metrics_open=metrics_open)
        base.metrics.registry.register(FleetCollector(agents))
        services: dict[web.AppKey[Any], Any] = {
            TOKENS: tokens,
            AGENTS: agents,
            AUDIT: Audit(store, clock.wall_ns),
        }
        _, text = await tokens.create(Kind.OPERATOR, "ann", who="test")
        async with started(services, base=base) as client:
            yield Api(client, clock, base, agents, tokens, bearer(text.reveal()))


async def _token(it: Api, kind: str, name: str) -> dict[str, str]:
    made = await it.client.post(
        "/api/v1/tokens", json={"kind": kind, "name": name}, headers=it.operator
    )
    assert made.status == 201
    return bearer((await made.json())["token"])


async def test_a_token_is_made_used_listed_revoked_and_refused(tmp_path: Path) -> None:
    async with api(tmp_path) as it:
        agent = await _token(it, "agent", "sfo")
        it.agents.assign(["sfo"])
        assert (await it.client.get("/api/v1/agents/sfo", headers=agent)).status == 200
        listed = await (await it.client.get("/api/v1/tokens", headers=it.operator)).json()
        [info] = [token for token in listed["tokens"] if token["name"] == "sfo"]
        assert "digest" not in str(listed)
        gone = await it.client.delete(f"/api/v1/tokens/{info['id']}", headers=it.operator)
        assert (await gone.json())["revoked_ns"] == NOW_NS
        assert (await it.client.get("/api/v1/agents/sfo", headers=agent)).status == 401


async def test_a_token_that_is_not_there_cannot_be_revoked(tmp_path: Path) -> None:
    async with api(tmp_path) as it:
        gone = await it.client.delete("/api/v1/tokens/nope", headers=it.operator)
        assert gone.status == 404


@pytest.mark.parametrize(
    "body",
    [
        {"kind": "king", "name": "a"},
        {"kind": "agent", "name": "A"},
        {"kind": "agent", "name": "a\n"},
        {"kind": "agent", "name": "a", "expires_s": 0},
        {"kind": "agent", "name": "a", "expires_s": 1 << 63},
        {"kind": "agent", "name": "a", "scope": "all"},
    ],
)
async def test_tokens_that_cannot_be_made(tmp_path: Path, body: dict[str, object]) -> None:
    async with api(tmp_path) as it:
        made = await it.client.post("/api/v1/tokens", json=body, headers=it.operator)
        assert made.status == 422


async def test_an_agent_beats_and_operators_see_it(tmp_path: Path) -> None:
    async with api(tmp_path) as it:
        agent = await _token(it, "agent", "sfo")
        body = msgspec.json.encode(beat(labels={"site": "sfo"}))
        headers = {**agent, "Content-Type": "application/json"}
        beaten = await it.client.post("/api/v1/agents/sfo/beat", data=body, headers=headers)
        answer = msgspec.json.decode(await beaten.read(), type=BeatReply)
        assert answer.beat_s == 10.0
        assert answer.received_at_ns <= answer.answered_at_ns
        fleet = await (await it.client.get("/api/v1/agents", headers=it.operator)).json()
        [shown] = fleet["agents"]
        assert (shown["name"], shown["standing"], shown["assigned"]) == ("sfo", "up", False)
        it.clock.advance(31)
        one = await it.client.get("/api/v1/agents/sfo", headers=it.operator)
        assert (await one.json())["standing"] == "down"


async def test_an_agent_that_nobody_knows_is_not_found_by_operators_and_itself(
    tmp_path: Path,
) -> None:
    async with api(tmp_path) as it:
        for headers in (it.operator, await _token(it, "agent", "sfo")):
            assert (await it.client.get("/api/v1/agents/sfo", headers=headers)).status == 404


async def test_the_audit_trail_is_read_page_by_page(tmp_path: Path) -> None:
    async with api(tmp_path) as it:
        for name in ("a", "b", "c"):
            await _token(it, "agent", name)
        seen: list[str] = []
        query = "?limit=3"
        while True:
            page = await (await it.client.get(f"/api/v1/audit{query}", headers=it.operator)).json()
            seen += [entry["target"].rpartition(" ")[2] for entry in page["entries"]]
            if page["next_before"] is None:
                break
            query = f"?limit=3&before={page['next_before']}"
        assert seen == ["agent:c", "agent:b", "agent:a", "operator:ann"]


async def test_health_tells_strangers_one_word_and_operators_all(tmp_path: Path) -> None:
    async with api(tmp_path) as it:
        it.base.health.add("log", lambda: Finding(ok=False, problems=["the disk is full"]))
        it.base.health.add("odd", lambda: Finding(ok=1 / 0 == 1))
        agent = await _token(it, "agent", "sfo")
        for headers in ({}, agent):
            brief = await it.client.get("/api/v1/health", headers=headers)
            assert await brief.json() == {"status": "degraded"}
        whole = await (await it.client.get("/api/v1/health", headers=it.operator)).json()
        assert whole["version"] == "1.2.3"
        assert whole["parts"]["log"]["problems"] == ["the disk is full"]
        assert whole["parts"]["odd"]["problems"] == ["could not be asked (ZeroDivisionError)"]


async def test_a_silent_agent_is_told_and_is_no_fault_of_the_collectors(tmp_path: Path) -> None:
    async with api(tmp_path) as it:
        it.base.health.add("agents", lambda: finding(it.agents))
        it.agents.beat("sfo", beat())
        it.agents.assign(["fra"])
        it.clock.advance(31)
        whole = await (await it.client.get("/api/v1/health", headers=it.operator)).json()
        assert whole["status"] == "ok"
        assert whole["parts"]["agents"]["problems"] == ["agent sfo is down"]
        assert whole["parts"]["agents"]["detail"] == {"up": 0, "down": 1, "never-seen": 1}


async def test_health_is_ok_where_all_is(tmp_path: Path) -> None:
    async with api(tmp_path) as it:
        it.base.health.add("log", lambda: Finding(ok=True))
        assert await (await it.client.get("/api/v1/health")).json() == {"status": "ok"}


async def test_metrics_are_for_operators_unless_they_are_open(tmp_path: Path) -> None:
    async with api(tmp_path / "closed") as it:
        assert (await it.client.get("/metrics")).status == 401
    async with api(tmp_path / "open", metrics_open=True) as it:
        assert (await it.client.get("/metrics")).status == 200


async def test_metrics_tell_of_requests_and_of_the_fleet(tmp_path: Path) -> None:
    async with api(tmp_path) as it:
        it.agents.assign(["fra"])
        it.agents.beat("sfo", beat(clock_offset_s=1.5))
        await it.client.get("/api/v1/agents/anything", headers=it.operator)
        await it.client.get("/api/v1/tokens")
        text = await (await it.client.get("/metrics", headers=it.operator)).text()
    samples = dict(re.findall(r"^(mailcanary_\S+) (\S+)$", text, re.MULTILINE))
    route = 'method="GET",route="/api/v1/agents/{name}",status="404"'
    prefix = "mailcanary_collector"
    assert samples[f"{prefix}_http_requests_total{{{route}}}"] == "1.0"
    assert samples[f"{prefix}_http_auth_failures_total"] == "1.0"
    assert samples[f'{prefix}_agent_up{{agent="sfo"}}'] == "1.0"
    assert samples[f'{prefix}_agent_up{{agent="fra"}}'] == "0.0"
    assert samples[f'{prefix}_agent_lag_events{{agent="sfo"}}'] == "2.0"
    assert samples[f'{prefix}_agent_clock_offset_seconds{{agent="sfo"}}'] == "1.5"
