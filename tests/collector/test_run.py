"""``mailcanary run``: collector and agent in one process, for a small site."""

import asyncio
import json
import subprocess
import urllib.request
from collections import Counter
from pathlib import Path

import pytest

from collector.log.sqlite import SqliteLog
from lab.estate import Estate
from lab.faults import OutboundFiltered
from probes.contract.events import Arrival, decode
from tests.agent.labs import quick_relay
from tests.agent.processes import Site, lay_out
from tests.collector.collectors import listening_url
from tests.ports import free_port
from tests.servers.process import environment
from tests.servers.program import MAILCANARY, Program


def _program(site: Site, *more: str) -> Program:
    options: list[str | Path] = ["--config", site.config, "--state", site.state, *more]
    command = [*MAILCANARY, "run", *options, "--listen", "127.0.0.1:0"]
    return Program("run", command, site.log)


async def test_it_measures_and_stops_in_order_and_goes_on_after_kill_9(tmp_path: Path) -> None:
    async with Estate([quick_relay("relay-a1"), quick_relay("relay-a2")], ["acme/inbox"]) as lab:
        site = lay_out(lab, tmp_path, interval="300ms")
        program = _program(site)
        program.start()
        try:
            await lab.until(lambda: len(lab.truth.deliveries) >= 6)
            await asyncio.to_thread(program.kill)
            program.start()
            seen = len(lab.truth.deliveries)
            await lab.until(lambda: len(lab.truth.deliveries) >= seen + 6)
            assert await asyncio.to_thread(program.stop) == 0
        finally:
            if program.is_running():
                program.kill()
        deliveries = {one.message_id for one in lab.truth.deliveries}
    log = SqliteLog.open(site.state / "collector" / "log")
    entries = await log.read(0, 100_000)
    await log.close()
    assert {entry.source for entry in entries} == {"collector", "lab"}
    arrived = Counter(
        event.canary for entry in entries if isinstance(event := decode(entry.body), Arrival)
    )
    assert set(arrived.values()) == {1}
    assert arrived.keys() <= {str(name).strip("<>").partition("@")[0] for name in deliveries}
    assert len(arrived) >= 6
    assert "Traceback" not in site.log.read_text()


async def test_its_token_ends_with_it(tmp_path: Path) -> None:
    async with Estate([quick_relay("relay-a1")], ["acme/inbox"]) as lab:
        site = lay_out(lab, tmp_path, interval="500ms")
        program = _program(site)
        program.start()
        try:
            await asyncio.to_thread(
                program.wait_for, lambda: listening_url(site.log) is not None, "it serves"
            )
            await lab.until(lambda: len(lab.truth.deliveries) >= 1)
        finally:
            assert await asyncio.to_thread(program.stop) == 0
    done = await asyncio.to_thread(
        subprocess.run,
        [*MAILCANARY, "token", "list", "--state", str(site.state / "collector"), "--json"],
        capture_output=True, text=True, check=True, env=environment(),
    )  # fmt: skip
    [token] = json.loads(done.stdout)
    assert (token["kind"], token["name"]) == ("agent", "lab")
    assert token["revoked_ns"] is not None


def _told(port: int) -> str:
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=5) as answer:
        text: bytes = answer.read()
    return text.decode()


async def test_its_agent_serves_metrics_and_keeps_to_its_caps(tmp_path: Path) -> None:
    port = free_port()
    async with Estate([quick_relay("relay-a1")], ["acme/inbox"]) as lab:
        await lab.order(OutboundFiltered(), relays=["relay-a1"])
        site = lay_out(lab, tmp_path, interval="300ms")
        program = _program(site, "--metrics", f"127.0.0.1:{port}", "--max-in-air", "2")
        program.start()
        held = 'relay_failures_total{reason="agent-cap",relay="relay-a1",stage=""}'
        shipping = 'mailcanary_agent_shipping_state{state="ok"} 1.0'

        def well() -> bool:
            told = _told_or_nothing(port)
            return held in told and shipping in told

        try:
            await asyncio.to_thread(program.wait_for, well, "canaries are held back and told of")
            told = await asyncio.to_thread(_told, port)
        finally:
            assert await asyncio.to_thread(program.stop) == 0
        assert len(lab.truth.acceptances) == 2
    assert 'mailcanary_agent_relay_in_flight{relay="relay-a1"} 2.0' in told


def _told_or_nothing(port: int) -> str:
    try:
        return _told(port)
    except OSError:
        return ""


@pytest.mark.parametrize("option", ["--config", "--policy"])
def test_what_is_not_there_is_said(tmp_path: Path, option: str) -> None:
    options = {"--config": "/nonexistent.yaml", "--state": str(tmp_path)}
    if option == "--policy":
        config = tmp_path / "mailcanary.yaml"
        config.write_text("version: 1\n")
        options["--config"] = str(config)
    words = [word for pair in options.items() for word in pair]
    done = subprocess.run(
        [*MAILCANARY, "run", *words],
        capture_output=True, text=True, check=False, env=environment(), timeout=60,
    )  # fmt: skip
    assert done.returncode == 2
    assert "Traceback" not in done.stderr
    assert "allowed is" in done.stderr
