"""The growth benchmark: its fleets are what it says, its parts add up, and it runs."""

import os
import signal
import socket
import subprocess
import sys
import time
from itertools import chain, takewhile
from pathlib import Path
from typing import Any

import pytest

from agent.policy.load import read_policy
from agent.settings_files import load_config
from benchmarks import growth
from benchmarks.growth_changes import PARTS, Change, Events, disturbed, timed
from benchmarks.growth_estate import HOST, Ports, refuse, relay_host, stay_empty
from benchmarks.growth_fleet import estate
from benchmarks.growth_site import NEVER, PROBE, Site, Size
from benchmarks.job import REPOSITORY
from probes.contract.config.models import Config
from probes.contract.plan import due_times_ns, plan

SECOND = 1_000_000_000
SMALL = Size(customers=2, relays=3, agents=2, interval="2s")


@pytest.fixture
def site(tmp_path: Path) -> Site:
    found = Site(tmp_path, SMALL, Ports(smtp=2525, imap=1143))
    found.write()
    return found


def test_a_site_is_a_configuration_of_the_size_that_it_says(site: Site) -> None:
    config = load_config(site.main)
    planned = plan(config)
    assert planned.path_count == SMALL.paths + SMALL.agents
    rates = planned.rates()
    others = [rates.customers[name].per_minute for name in SMALL.customer_names]
    assert others == pytest.approx([3 * 30] * 2)
    read_policy(site.policy)
    assert (site.directory / "secrets" / PROBE / "imap").stat().st_mode & 0o777 == 0o600


def test_a_change_is_the_probes_and_leaves_its_rhythm(site: Site) -> None:
    before = load_config(site.main)
    site.change(7)
    after = load_config(site.main)
    changed = [
        new for old, new in zip(before.customers, after.customers, strict=True) if new != old
    ]
    assert [one.name for one in changed] == [PROBE]
    old, new = ({p.path: (p.period_s, p.phase_s) for p in plan(c).paths()} for c in (before, after))
    assert old == new
    site.rest(NEVER)
    site.change(0, interval=NEVER)
    rates = plan(load_config(site.main)).rates()
    assert sum(rates.relays.values()) < 0.01


def test_both_kinds_of_100_000_paths_send_as_much() -> None:
    one, five = growth.SIZES["100000"], growth.SIZES["100000x5"]
    assert one.paths == five.paths == 100_000
    assert (one.relays / five.relays, one.interval, five.interval) == (5, "2h", "24m")
    assert growth.SIZES["1"].paths == 1


def _envelope(kind: str, canary: str, ingested_ns: int, **more: Any) -> dict[str, Any]:
    return {"ingested_at_ns": ingested_ns, "event": {"kind": kind, "canary": canary, **more}}


def _canary(
    number: int, path: tuple[str, str, str], due_ns: int, revision: str = "r"
) -> list[dict[str, Any]]:
    agent, relay, mailbox = path
    intent = _envelope(
        "intent",
        f"{agent}{relay}{mailbox}{number}",
        due_ns,
        path={"agent": agent, "relay": relay, "mailbox": mailbox},
        due_ns=due_ns,
        at_ns=due_ns,
        path_seq=number,
        mailbox_seq=number,
        stream_epoch="e",
        revision=revision,
    )
    sent = _envelope("submission", intent["event"]["canary"], due_ns, sent_ns=due_ns + 1000)
    return [intent, sent]


def test_the_parts_of_a_change_add_up_to_the_whole() -> None:
    when = "1970-01-01T00:00:{:09.6f}Z"
    line = {"timestamp": when.format(12.0), "read_s": 0.1, "check_s": 0.4, "told_s": 0.5}
    change = Change(10 * SECOND, "r2", line)
    told = {"plan_s": 0.25, "keep_s": 0.25, "apply_s": 0.5}
    lines = [
        {"timestamp": when.format(13.5), "revision": "r2", **told},
        {"timestamp": when.format(99.0), "revision": "r3", **told},
    ]
    path = ("sfo", PROBE, f"{PROBE}/inbox")
    flown = [
        *_canary(1, path, 11 * SECOND, "r1"),
        *_canary(2, path, 14 * SECOND, "r2"),
        *_canary(3, path, 15 * SECOND, "r2"),
    ]
    found = timed(change, lines, Events(flown))
    parts = (1.0, 0.5, 0.5, 0.5, 0.25, 0.25, 0.5, 0.5, 1e-6)
    assert found.parts == pytest.approx(dict(zip(PARTS, parts, strict=True)))
    assert found.total_s == pytest.approx(4.000001)


def _flown(config: Config, until_ns: int) -> list[list[dict[str, Any]]]:
    """Every canary as planned, with its events; each mailbox has one path."""
    found: list[list[dict[str, Any]]] = []
    for entry in plan(config).paths():
        path = (entry.path.agent, entry.path.relay, entry.path.mailbox)
        due = takewhile(lambda at: at < until_ns, due_times_ns(entry, 0))
        found += [_canary(number, path, at) for number, at in enumerate(due)]
    return found


def test_what_flies_beside_the_plan_is_told(tmp_path: Path) -> None:
    site = Site(tmp_path, Size(1, 1, 1, "2s"), Ports(2525, 1143))
    site.write()
    config, until_ns = load_config(site.main), 60 * SECOND
    canaries = _flown(config, until_ns)

    def count(flown: list[list[dict[str, Any]]]) -> int:
        return disturbed(config, Events(chain.from_iterable(flown)), 0, until_ns)

    assert len(canaries) > 300
    assert count(canaries) == 0
    customer = [i for i, one in enumerate(canaries) if PROBE not in one[0]["event"]["canary"]]
    # One that is missing is also a number that is skipped, twice: in its path and its mailbox.
    assert count([one for i, one in enumerate(canaries) if i != customer[3]]) == 1 + 2
    again = canaries[customer[-1]][0]["event"]
    path = (again["path"]["agent"], again["path"]["relay"], again["path"]["mailbox"])
    extra = _canary(again["path_seq"] + 1, path, again["due_ns"] + 5)
    assert count([*canaries, extra]) == 1
    restarted = _canary(1, path, again["due_ns"])
    assert count([*canaries[: customer[-1]], restarted, *canaries[customer[-1] + 1 :]]) == 2


def test_the_estates_replies() -> None:
    assert refuse(b"RCPT TO:<a@b>").startswith(b"550 ")
    assert refuse(b"MAIL FROM:<a@b>").startswith(b"250 ")
    assert stay_empty(b"a1 SELECT INBOX\r\n").endswith(b"a1 OK done\r\n")
    assert b"0 EXISTS" in stay_empty(b"a1 SELECT INBOX\r\n")
    assert stay_empty(b"a2 NOOP\r\n") == b"a2 OK done\r\n"


def test_the_estate_greets_and_answers() -> None:
    greetings = []
    with estate(1) as ports:
        for address in ((relay_host(0), ports.smtp), (HOST, ports.imap)):
            with socket.create_connection(address, timeout=30) as connection:
                greetings.append(connection.recv(100))
                connection.sendall(b"a1 NOOP\r\n")
                assert b"ok" in connection.recv(100).lower()
    assert greetings == [b"220 refuses.example ESMTP\r\n", b"* OK empty\r\n"]


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_one_that_is_told_to_end_leaves_nothing_behind(tmp_path: Path) -> None:
    with subprocess.Popen(
        [sys.executable, "-m", "benchmarks", "growth", "--sizes", "1"],
        cwd=REPOSITORY,
        env={**os.environ, "TMPDIR": str(tmp_path)},
        stdout=subprocess.DEVNULL,
        start_new_session=True,
    ) as process:
        while not list(tmp_path.glob("*/agent-0.log")):
            assert process.poll() is None
            time.sleep(0.05)
        process.send_signal(signal.SIGTERM)
        assert process.wait(120) == 128 + signal.SIGTERM
    assert list(tmp_path.iterdir()) == []
    # It led a group of its own, in which there is nobody any more.
    with pytest.raises(ProcessLookupError):
        os.killpg(process.pid, 0)


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_it_runs_and_disturbs_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(growth, "STEADY_S", 2.0)
    monkeypatch.setattr(growth, "IDLE_S", 1.0)
    monkeypatch.setitem(growth.SIZES, "12x2", SMALL)
    monkeypatch.setitem(growth.CHANGES, "12x2", 2)
    figures = {figure.name: figure for figure in growth.run("12x2")}
    prefix = "growth.12_paths_2_agents"
    assert figures[f"{prefix}.disturbed"].value == 0
    assert figures[f"{prefix}.refused"].value == 100
    for kind in ("file", "put"):
        total = figures[f"{prefix}.change_by_{kind}_p95"].value
        assert total > 0
        assert all(figures[f"{prefix}.change_by_{kind}.{part}"].value >= 0 for part in PARTS)
    assert figures[f"{prefix}.assignment"].value > 0
    assert figures[f"{prefix}.agent_memory"].value > 30
