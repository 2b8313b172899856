"""A whole collector: it starts, serves every role, reloads, tells how it does, and stops."""

import asyncio
import gc
import os
import signal
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from collector.app import Standing, look_at_checks, run, server_options, spare, web_services
from collector.assembly import room_of
from collector.control.principal import Kind
from collector.ingest.admission import Room
from collector.log.engine import Bounds
from collector.log.sqlite import LogHealth, SqliteLog
from collector.settings import CollectorSettings, parse_settings
from collector.web.handling import BodyTime
from collector.web.health import Finding
from collector.web.part_metrics import LogFigures
from collector.web.server import ServerOptions
from probes.contract.errors import ConfigError
from probes.contract.events import encode
from probes.contract.wire import BATCH_TYPE
from tests.collector.config.services import (
    AGENTS,
    customer,
    main_document,
    read_files,
    site_files,
    write_yaml,
)
from tests.collector.consuming.life import read_all, until
from tests.collector.ingest.made import GZIP, lines, packed
from tests.collector.inside import collector, settings_of
from tests.collector.rollup.histories import queue_look
from tests.collector.web.servers import bearer


async def test_health_is_told_in_full_to_operators_only(tmp_path: Path) -> None:
    async with collector(tmp_path) as (parts, client, ann):
        async with client.get("/api/v1/health") as answer:
            assert await answer.json() == {"status": "ok"}
        async with client.get("/api/v1/health", headers=ann) as answer:
            report = await answer.json()
        assert set(report["parts"]) == {"agents", "config", "consumers", "ingest", "log"}
        revision = parts.config.in_force.revision
        assert report["parts"]["config"]["detail"]["revision"] == revision


async def test_the_settings_bounds_are_those_in_force(tmp_path: Path) -> None:
    settings = CollectorSettings(version=1)
    async with collector(tmp_path) as (parts, _, _):
        assert parts.ingest.admission.room == Room()
        assert web_services(parts, Standing(), "1").body_time == BodyTime()
    assert server_options(settings) == ServerOptions()
    text = (
        "version: 1\nproxies: [192.0.2.1]\n"
        "listen: {connections_per_address: 7, body: 9s, body_rate: 11}\n"
        "limits: {agent_mb_per_hour: 3, new_epochs_per_day: 4, epochs: 5}\n"
    )
    other = parse_settings("c.yaml", text)
    assert room_of(other) == Room(bytes_per_hour=3 << 20, new_epochs=4, epochs=5)
    options = server_options(other)
    assert (options.connections_per_address, options.proxies) == (7, other.proxies)
    async with collector(tmp_path) as (parts, _, _):
        base = web_services(replace(parts, settings=other), Standing(), "1")
        assert base.body_time == BodyTime(9.0, bytes_per_s=11)


async def test_a_consumer_whose_process_is_killed_gets_another_and_health_tells(
    tmp_path: Path,
) -> None:
    async with collector(tmp_path) as (parts, client, ann):
        [consumer] = parts.consumers

        async def rollup() -> Any:
            async with client.get("/api/v1/health", headers=ann) as answer:
                return (await answer.json())["parts"]["consumers"]

        await read_all(consumer, parts.log)
        before = consumer.status().cursor
        assert before > 0
        os.kill(consumer.pid, signal.SIGKILL)
        await until(lambda: consumer.status().problem is not None, "it is told")
        report = await rollup()
        assert report["problems"] == ["rollup: its process ended (SIGKILL)"]
        assert report["detail"]["rollup"]["cursor"] >= before
        await until(lambda: consumer.status().problem is None, "another one works")
        report = await rollup()
        assert (report["problems"], report["detail"]["rollup"]["restarts"]) == ([], 1)
        async with client.get("/metrics", headers=ann) as answer:
            text = await answer.text()
        assert 'mailcanary_collector_consumer_restarts_total{consumer="rollup"} 1.0' in text


async def test_a_bad_file_shows_in_health_with_the_lines_of_check(tmp_path: Path) -> None:
    async with collector(tmp_path) as (parts, client, ann):
        file = tmp_path / "etc" / "customers.d" / "acme.yaml"
        write_yaml(file, customer("acme", tiger=1))
        assert not await parts.config.reload()
        async with client.get("/api/v1/health", headers=ann) as answer:
            report = await answer.json()
        assert report["status"] == "degraded"
        [line] = report["parts"]["config"]["problems"]
        assert line.startswith(f"{file}:")
        assert "tiger" in line


async def test_the_garbage_collector_does_not_look_at_the_configuration(tmp_path: Path) -> None:
    async with collector(tmp_path) as (parts, _client, _ann):
        gc.unfreeze()
        try:
            spare(parts.config)
            kept = gc.get_freeze_count()
            assert kept > 0
            assert not any(one is parts.config.in_force.config for one in gc.get_objects())
            file = tmp_path / "etc" / "customers.d" / "acme.yaml"
            write_yaml(file, customer("acme", labels={"tier": "gold"}))
            assert await parts.config.reload()
            assert not any(one is parts.config.in_force.config for one in gc.get_objects())
        finally:
            gc.unfreeze()
        assert any(one is parts.config.in_force.config for one in gc.get_objects())


async def test_an_agent_gets_its_work_and_its_neighbour_does_not(tmp_path: Path) -> None:
    async with collector(tmp_path) as (parts, client, _ann):
        _, token = await parts.tokens.create(Kind.AGENT, "sfo", who="test")
        for agent, status in (("sfo", 200), ("lon", 403)):
            url = f"/api/v1/agents/{agent}/assignment"
            async with client.get(url, headers=bearer(token.reveal())) as answer:
                assert answer.status == status


async def test_who_waits_for_a_change_is_let_go_when_it_stops(tmp_path: Path) -> None:
    async with collector(tmp_path) as (parts, client, _ann):
        _, token = await parts.tokens.create(Kind.AGENT, "sfo", who="test")
        etag = (await parts.config.board.get("sfo")).etag
        headers = {**bearer(token.reveal()), "If-None-Match": etag}
        url = "/api/v1/agents/sfo/assignment?wait=100"
        waiting = asyncio.create_task(client.get(url, headers=headers))
        await asyncio.wait({waiting}, timeout=0.3)
        assert not waiting.done()
        parts.config.board.close()
        async with await waiting as answer:
            assert answer.status == 304
            assert answer.headers["Connection"] == "close"


@pytest.mark.parametrize("ends", ["revoked", "expired"])
async def test_who_waits_with_a_token_that_ends_meanwhile_gets_nothing(
    tmp_path: Path, ends: str
) -> None:
    async with collector(tmp_path) as (parts, client, _ann):
        until_ns = time.time_ns() + 3 * 10**9 if ends == "expired" else None
        info, token = await parts.tokens.create(Kind.AGENT, "sfo", who="test", expires_ns=until_ns)
        etag = (await parts.config.board.get("sfo")).etag
        headers = {**bearer(token.reveal()), "If-None-Match": etag}
        url = "/api/v1/agents/sfo/assignment?wait=100"
        waiting = asyncio.create_task(client.get(url, headers=headers))
        await asyncio.wait({waiting}, timeout=0.3)
        assert not waiting.done()
        if until_ns is None:
            await parts.tokens.revoke(info.id, who="test")
        else:
            await until(lambda: time.time_ns() > until_ns, "it has expired")
        file = tmp_path / "etc" / "customers.d" / "acme.yaml"
        write_yaml(file, customer("acme", labels={"tier": "gold"}))
        assert await parts.config.reload()
        async with await waiting as answer:
            assert answer.status == 401


async def test_what_time_it_is_goes_into_the_log(tmp_path: Path) -> None:
    async with collector(tmp_path) as (parts, _client, _ann):
        await parts.log.wait_past(1)
        entries = await parts.log.read(0, 10)
        assert [entry.kind for entry in entries] == ["config", "tick"]
        assert [entry.seq for entry in entries] == [1, 2]


async def test_an_agent_is_held_to_the_settings_rate(tmp_path: Path) -> None:
    async with collector(tmp_path, limits={"batches_per_minute": 1}) as (parts, client, _ann):
        _, token = await parts.tokens.create(Kind.AGENT, "sfo", who="test")
        headers = {**bearer(token.reveal()), "Content-Type": "application/x-ndjson"}
        for status in (400, 429):
            async with client.post("/api/v1/events", data=b"{}", headers=headers) as answer:
                assert answer.status == status, await answer.text()


async def test_what_an_agent_on_a_relay_sees_is_shown_and_nothing_of_other_relays(
    tmp_path: Path,
) -> None:
    looker = {"name": "on-1", "on_relay": "relay-1"}
    main = main_document(agents=[*AGENTS, looker], checks=[{"probe": "queue"}])
    async with collector(tmp_path) as (parts, client, ann):
        write_yaml(tmp_path / "etc" / "mailcanary.yaml", main)
        assert await parts.config.reload()
        _, token = await parts.tokens.create(Kind.AGENT, "on-1", who="test")
        looks = [queue_look(0, relay=relay, agent="on-1") for relay in ("relay-1", "relay-2")]
        body = packed([encode(look) for look in looks], agent="on-1")
        headers = {**bearer(token.reveal()), **GZIP}
        async with client.post("/api/v1/events", data=body, headers=headers) as answer:
            told = await answer.json()
        assert told["accepted"] == 1
        assert [one["reason"] for one in told["refused"]] == ["not-assigned"]
        await read_all(parts.consumers[0], parts.log)
        found = await look_at_checks(parts, None)
        assert found.plan == {("on-1", "relay-1", "queue"): frozenset([""])}
        assert [(it.relay, it.ok) for it in found.looks] == [("relay-1", True)]
        [queue] = found.queues
        assert queue.queue is not None
        assert queue.queue.queues["deferred"].count == 40
        async with client.get("/api/v1/relays/relay-1/queue", headers=ann) as answer:
            assert (await answer.json())["look"]["agent"] == "on-1"


async def test_metrics_are_there_for_operators(tmp_path: Path) -> None:
    async with collector(tmp_path) as (_parts, client, ann):
        async with client.get("/metrics") as answer:
            assert answer.status == 401
        async with client.get("/metrics", headers=ann) as answer:
            text = await answer.text()
        assert 'mailcanary_collector_agent_up{agent="sfo"} 0.0' in text


def test_a_log_that_takes_nothing_shows_in_health_and_metrics_before_the_next_look() -> None:
    trouble: str | None = None
    standing = Standing(problem=lambda: trouble)
    standing.looked(
        LogFigures(
            looked_ns=1,
            up=True,
            bounds=Bounds(1, 9, 4096, 1, 0, 1),
            health=LogHealth(None, 1, 9, 0, ("log/1.sqlite3.damaged-1",), 9, "a reader holds on"),
            missing={},
        )
    )

    def shown() -> tuple[bool, Finding]:
        assert standing.log is not None
        return standing.log.up, standing.of_log()

    trouble = "the disk is full"
    up, found = shown()
    assert (up, found.ok, found.problems[0]) == (False, False, "the disk is full")
    assert found.problems[1].startswith("1 damaged segments were set aside")
    assert found.problems[2] == "a reader holds on"
    trouble = None
    up, found = shown()
    assert (up, found.ok) == (True, True)


async def test_a_log_that_failed_with_a_batch_is_told_at_once(tmp_path: Path) -> None:
    async with collector(tmp_path) as (parts, client, ann):
        await parts.log.wait_past(1)

        def fill(store: Any) -> None:
            # SQLite's own bound on the file's size gives the same error as a full disk.
            pages = store._active.execute("PRAGMA page_count").fetchone()[0]
            store._active.execute(f"PRAGMA max_page_count={pages}")

        await parts.log.run(fill)
        _, token = await parts.tokens.create(Kind.AGENT, "sfo", who="test")
        headers = {**bearer(token.reveal()), "Content-Type": BATCH_TYPE, "Content-Encoding": "gzip"}
        batch = packed(lines(1, 5000))
        async with client.post("/api/v1/events", data=batch, headers=headers) as answer:
            assert answer.status == 503, await answer.text()
        async with client.get("/api/v1/health", headers=ann) as answer:
            assert not (await answer.json())["parts"]["log"]["ok"]
        async with client.get("/metrics", headers=ann) as answer:
            assert "mailcanary_collector_log_up 0.0" in await answer.text()


async def test_a_state_that_others_can_read_is_told(tmp_path: Path) -> None:
    state = tmp_path / "state"
    for mode, told in ((0o755, 1), (0o700, 0)):
        state.mkdir(exist_ok=True)
        state.chmod(mode)
        with capture_logs() as lines:
            async with collector(tmp_path):
                pass
        found = [one["found"] for one in lines if "others have access" in one["event"]]
        assert len(found) == told
        assert all("found mode 0755, allowed is 0700" in one for one in found)


async def test_a_first_start_with_a_bad_configuration_is_an_error(tmp_path: Path) -> None:
    main = site_files(tmp_path)
    main.write_text("version: 1\ntiger: 2\n")
    with pytest.raises(ConfigError, match="tiger"):
        await run(settings_of(tmp_path, main), lambda: read_files(main), "1.2.3")
    # Nothing of it is left running: the state can be opened by the next one.
    log = SqliteLog.open(tmp_path / "state" / "log")
    await log.close()
