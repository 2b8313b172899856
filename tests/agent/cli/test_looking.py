"""``mailcanary probe --kind``: real processes, real listeners, and what is said of wrong words."""

import json
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
import yaml

from tests.agent.processes import ROOT

SMALL = str(ROOT / "examples" / "small.yaml")


def run(*args: str, code: int) -> str:
    """Standard output and error of the command, a process of its own: it sets up logging."""
    done = subprocess.run(
        [sys.executable, "-m", "mailcanary", "probe", *args],
        check=False, capture_output=True, text=True, cwd=ROOT, timeout=60,
        env={**os.environ, "COLUMNS": "200"},
    )  # fmt: skip
    assert done.returncode == code, (done.returncode, done.stdout, done.stderr)
    return " ".join((done.stdout + done.stderr).replace("│", " ").split())


@pytest.fixture
def ports() -> Iterator[tuple[int, int]]:
    """A port where somebody listens, and speaks to nobody, and one where nobody does."""
    with ExitStack() as stack:
        there = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
        nobody = stack.enter_context(socket.socket())
        nobody.bind(("127.0.0.1", 0))
        yield there.getsockname()[1], nobody.getsockname()[1]


def configured(directory: Path, port: int, control: int, **agent: object) -> str:
    """A configuration whose only destination is on loopback."""
    file = directory / "mailcanary.yaml"
    file.write_text(
        yaml.safe_dump(
            {
                "version": 1,
                "relays": [{"name": "relay-a1", "host": "127.0.0.1"}],
                "agents": [{"name": "node", "on_relay": "relay-a1"} | agent],
                "destinations": [
                    {"name": "here", "hosts": ["127.0.0.1"], "port": port, "controls": [control]}
                ],
                "checks": [{"probe": "egress", "interval": "30s", "timeout": "500ms"}],
            }
        )
    )
    return str(file)


def test_a_port_that_nobody_listens_at_is_told_with_what_works(
    tmp_path: Path, ports: tuple[int, int]
) -> None:
    there, nobody = ports
    config = configured(tmp_path, nobody, there, sources=["127.0.0.1"])
    text = run("--kind", "egress", "--config", config, code=1)
    assert f"{there} control" in text
    assert f"CRITICAL: port {nobody} is refused towards 127.0.0.1 (here)" in text
    told = json.loads(run("--kind", "egress", "--config", config, "--json", code=1))
    assert told["state"] == "critical"
    hosts = [check for check in told["checks"] if check["egress"]]
    assert [(one["ok"], one["egress"]["control"]) for one in hosts] == [
        (False, False),
        (True, True),
    ]
    assert {check["kind"] for check in told["checks"]} == {"check"}
    plugin = run("--kind", "egress", "--config", config, "--nagios", code=2)
    assert plugin.startswith(f"MAIL EGRESS CRITICAL - port {nobody} is refused towards")


def test_one_that_accepts_and_says_nothing_is_not_reached(
    tmp_path: Path, ports: tuple[int, int]
) -> None:
    there, nobody = ports
    config = configured(tmp_path, there, nobody, sources=["127.0.0.1"])
    told = json.loads(run("--kind", "egress", "--config", config, "--json", code=1))
    [mail] = [one for one in told["checks"] if one["egress"] and not one["egress"]["control"]]
    assert (mail["stage"], mail["reason"]) == ("egress-banner", "silent")


def test_a_queue_is_read_by_the_program_of_the_policy(tmp_path: Path) -> None:
    config = configured(tmp_path, 2525, 2526)
    entry = {
        "queue_name": "deferred",
        "queue_id": "4F1",
        "arrival_time": 1760000000,
        "message_size": 512,
        "sender": "a@b.example",
        "recipients": [
            {
                "address": "c@d.example",
                "delay_reason": "connect to mx.d.example[192.0.2.1]:25: Connection timed out",
            }
        ],
    }
    listing = tmp_path / "listing"
    listing.write_text(json.dumps(entry) + "\n")
    policy = {"version": 1, "queue": {"form": "postfix", "command": ["/bin/cat", str(listing)]}}
    (tmp_path / "policy.yaml").write_text(yaml.safe_dump(policy))
    text = run("--kind", "queue", "--config", config, code=0)
    assert "deferred d.example 1 egress-connect timeout connect to mx.d.example" in text
    old = run("--kind", "queue", "--config", config, "--nagios", "-w", "1h", "-c", "2h", code=2)
    assert "the oldest mail in deferred is" in old
    listing.unlink()
    missing = run("--kind", "queue", "--config", config, "--nagios", code=3)
    assert missing.startswith("MAIL QUEUE UNKNOWN - ")


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--kind", "port25"], "--kind: found 'port25', allowed is one of canary, egress, queue"),
        (["--kind", "queue", "--relay", "x"], "--relay: found --kind queue beside it"),
        (["--kind", "queue", "--mailbox", "x"], "--mailbox: found --kind queue beside it"),
        (["--kind", "queue", "--wait", "5"], "--wait: found --kind queue beside it"),
        (["--kind", "egress", "-w", "5"], "--warning: found --kind egress beside it"),
    ],
)
def test_a_wrong_option_is_told_by_its_name(options: list[str], said: str) -> None:
    assert said in run("--config", SMALL, *options, code=2)


def test_an_agent_that_sits_on_no_relay_cannot_look() -> None:
    said = run("--kind", "queue", "--config", SMALL, code=2)
    assert "one of the agents on relays: none" in said


def test_without_a_destination_there_is_nothing_to_look_at(tmp_path: Path) -> None:
    file = tmp_path / "mailcanary.yaml"
    file.write_text("version: 1\nrelays: [{name: a, host: h}]\nagents: [{name: n, on_relay: a}]\n")
    words = ["--kind", "egress", "--config", str(file)]
    assert "found egress and no destination" in run(*words, code=2)
    assert '"state": "unknown"' in run(*words, "--json", code=2)
