"""Checks and queues over HTTP: for operators; a customer sees its own canary wait."""

import json
from pathlib import Path
from typing import Any

import pytest
from aiohttp import ClientSession

from tests.collector.rollup.histories import T0_S, canary_id
from tests.collector.web.looking import looking
from tests.collector.web.servers import bearer

OPERATOR, ACME = bearer("operator-ann"), bearer("customer-acme")


async def get(
    client: ClientSession, path: str, token: dict[str, str] = OPERATOR, status: int = 200
) -> Any:
    answer = await client.get(f"/api/v1/{path}", headers=token)
    assert answer.status == status, await answer.text()
    return await answer.json(content_type=None)


async def test_the_looks_with_what_is_wrong(tmp_path: Path) -> None:
    async with looking(tmp_path) as client:
        told = await get(client, "checks")
        assert told["until_s"] == T0_S + 120
        found = {(it["probe"], (it["egress"] or {}).get("host")): it for it in told["checks"]}
        assert len(found) == 3
        bad = found["egress", "mx1.bigmail.example"]
        assert (bad["ok"], bad["stage"], bad["reason"]) == (False, "egress-connect", "timeout")
        assert (bad["stale"], bad["interval_s"]) == (False, 30.0)
        assert bad["since_ns"] == bad["at_ns"] == (T0_S + 60) * 10**9
        assert found["egress", "mx2.bigmail.example"]["stale"] is True
        queue = found["queue", None]["queue"]
        assert (queue["queues"]["deferred"]["count"], queue["canaries"]) == (40, 5)


@pytest.mark.parametrize(
    ("query", "count"),
    [("bad=true", 2), ("relay=relay-a", 3), ("relay=relay-b", 0), ("probe=queue", 1)],
)
async def test_the_looks_one_asks_for(tmp_path: Path, query: str, count: int) -> None:
    async with looking(tmp_path) as client:
        assert len((await get(client, f"checks?{query}"))["checks"]) == count


async def test_looks_page_by_page(tmp_path: Path) -> None:
    async with looking(tmp_path) as client:
        found, query = [], "checks?limit=2"
        page = await get(client, query)
        assert len(page["checks"]) == 2
        found += page["checks"]
        last = await client.get(
            "/api/v1/checks", params={"limit": "2", "after": page["next_after"]}, headers=OPERATOR
        )
        page = await last.json()
        assert page["next_after"] is None
        assert found + page["checks"] == (await get(client, "checks"))["checks"]
        await get(client, "checks?limit=0", status=400)
        await get(client, "checks?relay=NO", status=400)


async def test_a_queue_and_the_canaries_in_it(tmp_path: Path) -> None:
    async with looking(tmp_path) as client:
        told = await get(client, "relays/relay-a/queue")
        assert [one["canary"] for one in told["canaries"]] == [canary_id(1), canary_id(2)]
        first = told["canaries"][0]
        assert first["path"] == {"agent": "sfo", "relay": "relay-a", "mailbox": "acme/inbox"}
        assert (first["queue"], first["stage"], first["reason"]) == (
            "deferred", "egress-connect", "timeout",
        )  # fmt: skip
        assert "Connection timed out" in first["text"]
        assert told["more"] == 3
        assert told["look"]["queue"]["groups"][0]["domain"] == "private.example"
        await get(client, "relays/relay-b/queue", status=404)


@pytest.mark.parametrize("path", ["checks", "relays/relay-a/queue", "relays/nothing/queue"])
@pytest.mark.parametrize("token", ["customer-acme", "agent-sfo"])
async def test_for_others_than_operators_there_is_nothing(
    tmp_path: Path, path: str, token: str
) -> None:
    async with looking(tmp_path) as client:
        told = await get(client, path, bearer(token), 403)
        assert told["detail"] == "this token is not for that"
        assert "relay" not in json.dumps(told)


async def test_a_customer_sees_its_own_canary_wait_and_nobody_elses_mail(tmp_path: Path) -> None:
    async with looking(tmp_path) as client:
        story = await get(client, f"canaries/{canary_id(1)}", ACME)
        seen = story["canary"]["queued"]
        assert (seen["relay"], seen["queue"], seen["reason"]) == ("relay-a", "deferred", "timeout")
        assert "Connection timed out" in seen["text"]
        assert story["canary"]["greylisted"] is False
        kinds = [event["kind"] for event in story["events"]]
        assert kinds == ["intent", "submission", "check"]
        look = story["events"][2]["event"]
        assert look["queue_id"] == "Q1"
        assert look["recipient"] == "c@acme.example"
        told = json.dumps(story)
        for others in ("zenith", "private.example", "Q2", "groups", "queues"):
            assert others not in told, others
        await get(client, f"canaries/{canary_id(2)}", ACME, 404)
