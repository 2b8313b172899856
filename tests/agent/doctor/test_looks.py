"""What the doctor says of an agent on a relay: one look at all that it is to look at."""

import socket
from contextlib import ExitStack
from pathlib import Path

import yaml

from agent.doctor.diagnose import Request, diagnose
from agent.doctor.looks import looks
from agent.doctor.model import Item, Status
from agent.policy.models import PolicyFile
from probes.contract.check_plan import CheckPlan
from probes.contract.config.models import ProbeKind


def examined(directory: Path, policy: dict[str, object], port: int, control: int) -> list[Item]:
    """The items about the relay, seen from itself, and about the agent."""
    config = directory / "mailcanary.yaml"
    words = {
        "version": 1,
        "relays": [{"name": "relay-a1", "host": "127.0.0.1"}],
        "agents": [{"name": "node", "on_relay": "relay-a1", "sources": ["127.0.0.1"]}],
        "destinations": [
            {"name": "here", "hosts": ["127.0.0.1"], "port": port, "controls": [control]}
        ],
        "checks": [
            {"probe": "egress", "interval": "30s", "timeout": "500ms"},
            {"probe": "queue", "interval": "30s", "timeout": "5s"},
        ],
    }
    config.write_text(yaml.safe_dump(words))
    (directory / "policy.yaml").write_text(yaml.safe_dump(policy))
    diagnosis = diagnose(Request(config, state=directory / "state"), {})
    wanted = ("relay relay-a1 from itself", "here")
    return [item for item in diagnosis.items if item.group in wanted]


def listing(*command: str) -> dict[str, object]:
    """A policy without keys that names the program."""
    return {"version": 1, "queue": {"form": "postfix", "command": list(command)}}


def test_what_is_wrong_outward_and_in_the_queue_fails_with_advice(tmp_path: Path) -> None:
    with ExitStack() as stack:
        there = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
        nobody = stack.enter_context(socket.socket())
        nobody.bind(("127.0.0.1", 0))
        ports = nobody.getsockname()[1], there.getsockname()[1]
        items = examined(tmp_path, listing("/nowhere/postqueue", "-j"), *ports)
    found = {item.name: item for item in items}
    egress, queue = found["egress from 127.0.0.1"], found["queue"]
    assert egress.status is Status.FAIL
    assert f"port {ports[0]} is refused" in egress.seen
    assert egress.advice
    assert queue.status is Status.FAIL
    assert "docs/check-queue.md" in queue.advice
    assert found["agent"].status is Status.OK
    assert found["agent"].seen == "node: sends nothing, 2 looks from relay relay-a1"
    assert "signing keys" not in found
    assert "bounces" not in found


async def test_no_look_takes_longer_than_a_step_may() -> None:
    policy = listing("/bin/sleep", "60")
    plan = CheckPlan("node", "relay-a1", ProbeKind.QUEUE, 60.0, 30.0)
    [(group, run)] = looks((plan,), PolicyFile.model_validate(policy), 0.2)
    [item] = await run()
    assert group == item.group == "relay relay-a1 from itself"
    assert (item.name, item.status) == ("queue", Status.FAIL)
    assert "did not end in time" in item.seen


def test_a_queue_that_can_be_read_is_ok(tmp_path: Path) -> None:
    items = examined(tmp_path, listing("/bin/true"), 2525, 2526)
    [queue] = [item for item in items if item.name == "queue"]
    assert (queue.status, queue.seen) == (Status.OK, "the queue can be read")
