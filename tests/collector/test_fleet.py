"""Real processes: agents, a collector and a network that is none of the best, over the lab."""

import asyncio
import json
import os
import random
import time
import urllib.request
from collections import Counter
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

import msgspec
import pytest
import yaml

from collector.log.engine import Entry
from collector.log.sqlite import SqliteLog
from collector.rollup.cells import Key
from collector.rollup.consumer import RollupConsumer
from collector.rollup.file import FILE_NAME
from lab.estate import Estate
from probes.contract.events import KINDS, Arrival, Intent, decode
from tests.agent.labs import quick_relay
from tests.agent.processes import lay_out
from tests.collector.collectors import RunningCollector
from tests.collector.fleet import RemoteAgent, hired
from tests.collector.harms import Harms
from tests.collector.rollup.recount import Recount, Told, directory, dump, roll_up
from tests.servers.namespaces import Endpoint
from tests.servers.process import environment
from tests.servers.program import MAILCANARY
from tests.servers.proxy import TcpProxy

AGENTS = ("fra", "lon", "sfo")
HARM_S = float(os.environ.get("MAILCANARY_FLEET_SECONDS") or 115)
"""How long harm is done; the rest takes about half a minute."""


def estate() -> Estate:
    """Three relays, two mailboxes, three agents."""
    relays = [quick_relay(f"relay-{number}") for number in range(3)]
    return Estate(relays, ["acme/inbox", "globex/inbox"], agents=AGENTS)


async def everything(state: Path) -> list[Entry]:
    """All of a stopped collector's log."""
    log = SqliteLog.open(state / "log")
    try:
        found: list[Entry] = []
        while entries := await log.read(found[-1].cursor if found else 0, 5000):
            found += entries
        return found
    finally:
        await log.close()


def get(url: str, path: str, token: str) -> Any:
    """Ask the collector."""
    request = urllib.request.Request(  # noqa: S310 - loopback
        url + path, headers={"Authorization": f"Bearer {token}"}
    )
    with urllib.request.urlopen(request, timeout=30) as answer:  # noqa: S310
        return json.load(answer)


def rolled_up(url: str, token: str, now_s: int) -> Counter[str]:
    """How the canaries ended, as the collector's rollups have it."""
    start, end = now_s - 3 * 86_400, now_s + 86_400
    path = f"/api/v1/series?dimension=all&tier=86400&from={start}&to={end}"
    counts: Counter[str] = Counter()
    for point in get(url, path, token)["points"]:
        counts.update(point["figures"]["outcomes"])
    return +counts


def _heard(agent: RemoteAgent) -> bool:
    return agent.said("assignment") > 0


def _looked(url: str, token: str) -> tuple[int, int]:
    """The log's last cursor and the rollup's lag, when the collector last looked."""
    parts = get(url, "/api/v1/health", token)["parts"]
    detail = parts["consumers"]["detail"]
    return parts["log"]["detail"].get("last", 0), detail.get("rollup", {}).get("lag_entries", 1)


def _has_read_all(url: str, token: str, before: int) -> bool:
    last, lag = _looked(url, token)
    # The tick of the look itself may not be counted yet.
    return last > before and lag <= 1


async def settle(agents: list[RemoteAgent], collector: RunningCollector) -> None:
    """Let every spool become empty: each start and stop ships what there is."""
    for _ in range(10):
        for agent in agents:
            if agent.program.is_running():
                ready = agent.program.heeds_stop
                await asyncio.to_thread(agent.program.wait_for, ready, "the agent's beginning")
                assert await asyncio.to_thread(agent.program.stop) == 0
        left = [agent for agent in agents if agent.wrote()[2]]
        if not left:
            return
        for agent in left:
            agent.program.start()
        await asyncio.sleep(3)
    raise AssertionError(f"never shipped: {[agent.wrote() for agent in agents]}, {collector.url}")


@asynccontextmanager
async def at_work(agents: list[RemoteAgent], collector: RunningCollector) -> AsyncIterator[None]:
    """The agents of a running collector; in the end nobody runs any more."""
    try:
        for agent in agents:
            agent.program.start()
        yield
    finally:
        for agent in agents:
            if agent.program.is_running():
                agent.program.kill()
        if collector.program.is_running():
            await asyncio.to_thread(collector.program.stop)


async def test_a_fleet_measures_and_a_changed_configuration_reaches_it(tmp_path: Path) -> None:
    async with estate() as lab:
        site = lay_out(lab, tmp_path, interval="500ms")
        collector = RunningCollector(tmp_path, site.config)
        await asyncio.to_thread(collector.start)
        agents = hired(site, collector, AGENTS)
        async with at_work(agents, collector):
            await lab.until(lambda: len(lab.truth.deliveries) >= 20)
            document = yaml.safe_load(site.config.read_text())
            document["defaults"]["interval"] = "400ms"
            site.config.write_text(yaml.safe_dump(document))
            for agent in agents:
                await asyncio.to_thread(
                    agent.program.wait_for, partial(_heard, agent), "the change"
                )
            seen = len(lab.truth.deliveries)
            await lab.until(lambda: len(lab.truth.deliveries) >= seen + 20)
            await settle(agents, collector)
        entries = await everything(collector.state)
    events = [decode(entry.body) for entry in entries]
    intents = [event for event in events if isinstance(event, Intent)]
    assert len({intent.revision for intent in intents}) == 2
    numbers = Counter((one.path, one.stream_epoch, one.path_seq) for one in intents)
    assert set(numbers.values()) == {1}
    assert {entry.source for entry in entries} == {*AGENTS, "collector"}


async def counted_by(collector: RunningCollector, token: str) -> Counter[str]:
    """How the canaries ended by the rollups, once these have read all of the log."""
    # Health tells of the last look, and every look follows a tick, an entry of its own.
    before = _looked(collector.url, token)[0]
    read_all = partial(_has_read_all, collector.url, token, before)
    await asyncio.to_thread(collector.program.wait_for, read_all, "the rollup has read all")
    return rolled_up(collector.url, token, int(time.time()))


async def assert_verified(log: Path) -> None:
    """``mailcanary log verify`` finds nothing wrong with it."""
    verified = await asyncio.create_subprocess_exec(
        *MAILCANARY, "log", "verify", str(log), "--json",
        stdout=asyncio.subprocess.PIPE, env=environment(),
    )  # fmt: skip
    report, _ = await verified.communicate()
    assert verified.returncode == 0, report
    assert msgspec.json.decode(report)


def assert_whole(entries: list[Entry], wrote: Mapping[str, tuple[str, int, int]]) -> None:
    """Of every agent all that it wrote is there, once, in its order."""
    for name, (epoch, last, _left) in wrote.items():
        mine = [entry for entry in entries if entry.source == name]
        assert {entry.epoch for entry in mine} == {epoch}
        assert [entry.seq for entry in mine] == list(range(1, last + 1))


def assert_true(entries: list[Entry], lab: Estate) -> None:
    """What arrived was delivered, and what was delivered was meant to be."""
    named = (str(one.message_id).strip("<>") for one in lab.truth.deliveries)
    deliveries = {name.partition("@")[0] for name in named}
    events = [decode(entry.body) for entry in entries]
    arrived = {event.canary for event in events if isinstance(event, Arrival)}
    intended = {event.canary for event in events if isinstance(event, Intent)}
    assert arrived <= deliveries
    assert deliveries <= intended


def seed() -> int:
    """Another one in each run, unless the environment names one: that of a run that failed, say."""
    return int(os.environ.get("MAILCANARY_FLEET_SEED") or random.SystemRandom().getrandbits(32))


async def assert_counted(state: Path, entries: list[Entry]) -> None:
    """All cells of a stopped collector's rollups are those of a recount from its log.

    The ticks alone can make a canary of a silent agent unknown. The recount knows nothing of
    them, so it stands beside the rollup of a log without ticks.
    """
    cursor = await _counted_to(state)
    read = [entry for entry in entries if entry.cursor <= cursor]
    assert {entry.source for entry in entries[len(read) :]} <= {"collector"}
    told = dump(state)
    assert told == in_one_go(read)
    events = [entry for entry in read if entry.kind in KINDS and entry.kind != "tick"]
    assert in_one_go(events) == Recount(events).as_told()
    assert sum(cell[Key.CANARIES] for (tier, _, name, _), cell in told.items()
               if (tier, name) == (60, "all")) == len(Recount(events).tags)  # fmt: skip


async def _counted_to(state: Path) -> int:
    """The cursor of the rollups of a stopped collector."""
    log = SqliteLog.open(state / "log")
    try:
        consumer = RollupConsumer(state)
        cursor = consumer.open(log.log_id, await log.bounds())
        consumer.close()
        return cursor
    finally:
        await log.close()


def _moved_aside(state: Path) -> list[Path]:
    """Rollups that were taken for damaged, and counted from the log anew."""
    return list(state.glob(f"{FILE_NAME}.*-[0-9]*"))


def assert_felt(collector: RunningCollector, agents: list[RemoteAgent]) -> None:
    """The harm was such: agents lost connections that they were using, the collector a child."""
    said = "".join(agent.log.read_text() for agent in agents)
    assert "Connection reset by peer" in said
    assert "Cannot connect to host" in said
    assert '"is not at work"' in collector.log.read_text()


def in_one_go(entries: list[Entry]) -> Told:
    """The cells of a rollup that is fed all at once and never disturbed."""
    with directory() as where:
        roll_up(where, [entries], [False])
        return dump(where)


@pytest.mark.slow
@pytest.mark.timeout(365 + HARM_S)
async def test_killed_and_cut_off_at_random_nothing_is_lost_and_nothing_doubled(
    tmp_path: Path,
) -> None:
    number = seed()
    print(f"MAILCANARY_FLEET_SEED={number}")  # noqa: T201 - pytest shows it when the test fails
    drawn = random.Random(number)  # noqa: S311 - which faults a test injects
    async with estate() as lab:
        site = lay_out(lab, tmp_path, interval="300ms")
        collector = RunningCollector(tmp_path, site.config)
        await asyncio.to_thread(collector.start)
        host, _, port = collector.url.removeprefix("http://").partition(":")
        operator = collector.token("operator", "ann")
        with TcpProxy(Endpoint(host, int(port))) as proxy:
            url = f"http://127.0.0.1:{proxy.endpoint.port}"
            agents = hired(site, collector, AGENTS, url)
            harms = Harms(drawn, collector, agents, proxy)
            async with at_work(agents, collector):
                await lab.until(lambda: len(lab.truth.deliveries) >= 6)
                await harms.rounds(HARM_S)
                await settle(agents, collector)
                wrote = {agent.name: agent.wrote() for agent in agents}
                counted = await counted_by(collector, operator)
        entries = await everything(collector.state)
    print(f"{dict(harms.done)}, {len(entries)} events")  # noqa: T201 - likewise
    assert not _moved_aside(collector.state)
    assert min(harms.done.values()) >= 1
    assert_felt(collector, agents)
    assert_whole(entries, wrote)
    assert_true(entries, lab)
    await assert_counted(collector.state, entries)
    assert counted.total() == sum(one.kind == "intent" for one in entries)
    await assert_verified(collector.state / "log")
