"""Rollups and canaries over HTTP, as an operator and as customers see them."""

from pathlib import Path
from typing import Any

import pytest
from aiohttp import ClientSession

from collector.rollup.file import FILE_NAME
from tests.collector.rollup.histories import (
    ACME,
    T0_S,
    canary_id,
)
from tests.collector.web.rollups import serving
from tests.collector.web.servers import bearer

OPERATOR = bearer("operator-ann")


async def get(client: ClientSession, path: str, token: dict[str, str], status: int = 200) -> Any:
    answer = await client.get(path, headers=token)
    assert answer.status == status, await answer.text()
    return await answer.json(content_type=None)


async def test_a_series_for_everybody_it_is_for(tmp_path: Path) -> None:
    async with serving(tmp_path) as client:
        whole = await get(client, "/api/v1/series", OPERATOR)
        assert (whole["until_s"], whole["end_s"] - whole["begin_s"]) == (T0_S + 30, 3600)
        assert [point["figures"]["canaries"] for point in whole["points"]] == [3]
        long = await get(client, f"/api/v1/series?from={T0_S - 86400 * 30}", OPERATOR)
        assert (long["end_s"] - long["begin_s"], long["points"]) == (2000 * 60, [])
        await get(client, "/api/v1/series?tier=61", OPERATOR, 400)
        day = f"/api/v1/series?dimension=relay&key=relay-a&tier=3600&from={T0_S - 3600}"
        for token, count in ((OPERATOR, 3), (bearer("customer-acme"), 2)):
            points = (await get(client, day, token))["points"]
            assert [point["figures"]["canaries"] for point in points] == [count]
        mine = await get(client, f"{day}&customer=zenith", OPERATOR)
        assert mine["points"][0]["figures"]["canaries"] == 1


async def test_anothers_series_looks_like_none(tmp_path: Path) -> None:
    async with serving(tmp_path) as client:
        acme = bearer("customer-acme")
        for customer in ("zenith", "nobody"):
            wanted = f"/api/v1/series?dimension=customer&key={customer}&tier=60"
            assert (await get(client, wanted, acme))["points"] == []
            await get(client, f"/api/v1/series?customer={customer}", acme, 403)
            await get(client, f"/api/v1/paths?customer={customer}", acme, 403)


async def test_paths_page_by_page(tmp_path: Path) -> None:
    async with serving(tmp_path) as client:
        first = await get(client, "/api/v1/paths?limit=1", OPERATOR)
        assert first["next_after"] == str(ACME)
        assert first["paths"][0]["ended"]["outcome"] == "lost"
        second = await get(client, f"/api/v1/paths?limit=1&after={ACME}", OPERATOR)
        assert [path["path"]["mailbox"] for path in second["paths"]] == ["zenith/box"]
        assert second["next_after"] is None
        own = await get(client, "/api/v1/paths", bearer("customer-zenith"))
        assert [path["path"]["mailbox"] for path in own["paths"]] == ["zenith/box"]


async def test_the_whole_story_of_a_canary(tmp_path: Path) -> None:
    async with serving(tmp_path) as client:
        for token in (OPERATOR, bearer("customer-acme")):
            story = await get(client, f"/api/v1/canaries/{canary_id(2)}", token)
            assert story["canary"]["verdict"]["outcome"] == "lost"
            assert story["canary"]["labels"] == ["customer:tier=gold", "relay:provider=aws"]
            kinds = [event["kind"] for event in story["events"]]
            assert kinds == ["intent", "submission", "expiry"]
            assert story["events"][1]["event"]["result"] == "accepted"
        others = await get(
            client, f"/api/v1/canaries/{canary_id(2)}", bearer("customer-zenith"), 404
        )
        none = await get(
            client, f"/api/v1/canaries/{canary_id(99)}", bearer("customer-zenith"), 404
        )
        assert others == none


async def test_of_events_that_retention_dropped_the_verdict_is_left(tmp_path: Path) -> None:
    async with serving(tmp_path, dropped=6) as client:
        story = await get(client, f"/api/v1/canaries/{canary_id(2)}", OPERATOR)
        assert [event["kind"] for event in story["events"]] == ["expiry"]
        assert story["canary"]["verdict"]["outcome"] == "lost"


@pytest.mark.parametrize("path", ["series", "paths", f"canaries/{canary_id(1)}"])
async def test_without_a_file_the_answer_is_503_and_names_none(tmp_path: Path, path: str) -> None:
    async with serving(tmp_path) as client:
        (tmp_path / FILE_NAME).unlink()
        told = await get(client, f"/api/v1/{path}", OPERATOR, 503)
        assert str(tmp_path) not in str(told)
