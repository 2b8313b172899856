"""An agent without a collector names the relays that are sick, in its log and to Prometheus."""

import asyncio
import urllib.request
from pathlib import Path
from typing import Any

from prometheus_client.parser import text_string_to_metric_families

from lab.estate import Estate
from lab.faults import Fault, OutboundFiltered, PortClosed
from tests.agent.labs import quick_relay
from tests.agent.processes import Running, lay_out, running
from tests.ports import free_port

FILTERED, CLOSED, WELL = "relay-a1", "relay-a2", "relay-b1"
BOX = "acme/inbox"

Samples = dict[tuple[str, str, str], float]


def read(port: int) -> Samples:
    """The samples about relays: by name, relay, and outcome or stage and reason."""
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=5) as answer:
        text = answer.read().decode()
    return {
        (
            sample.name.removeprefix("mailcanary_agent_relay_"),
            sample.labels["relay"],
            "/".join(v for k, v in sorted(sample.labels.items(), reverse=True) if k != "relay"),
        ): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
        if "relay" in sample.labels
    }


async def changes(agent: Running, event: str, *relays: str) -> dict[str, dict[str, Any]]:
    """The lines of that event, by relay; until each of these has one."""
    told: dict[str, dict[str, Any]] = {}
    while not told.keys() >= set(relays):
        line = await agent.logged(event)
        told[line.get("relay") or line["mailbox"]] = line
    return told


async def test_the_sick_relays_are_named_and_no_other(tmp_path: Path) -> None:
    port = free_port()
    async with Estate([quick_relay(name) for name in (FILTERED, CLOSED, WELL)], [BOX]) as lab:
        # Far more than mail takes here, also on a machine that is busy with other things.
        site = lay_out(lab, tmp_path, interval="200ms", deadline="6s", loss_after="1m")
        async with running(site, "--metrics", f"127.0.0.1:{port}") as agent:
            await lab.until(lambda: len(lab.truth.deliveries) >= 9)
            faults: list[tuple[Fault, str]] = [
                (OutboundFiltered(), FILTERED),
                (PortClosed(), CLOSED),
            ]
            orders = [await lab.order(fault, relays=[relay]) for fault, relay in faults]
            begun = await changes(agent, "canaries go wrong", FILTERED, CLOSED)
            sick = await asyncio.to_thread(read, port)
            for order in orders:
                await order.clear()
            ended = await changes(agent, "canaries come home again", FILTERED, CLOSED)
            assert await agent.stopped() == 0
    assert begun[FILTERED]["what"] == "overdue"
    assert begun[FILTERED]["stage"] == "transit"
    assert begun[FILTERED]["level"] == "warning"
    assert begun[CLOSED]["what"] == "unreachable"
    assert (begun[CLOSED]["stage"], begun[CLOSED]["reason"]) == ("connect", "refused")
    assert ended[FILTERED]["before"] == "overdue at transit"
    assert ended[CLOSED]["before"] == "unreachable at connect: refused"
    healthy = {relay: value for (name, relay, _), value in sick.items() if name == "healthy"}
    assert healthy == {FILTERED: 0, CLOSED: 0, WELL: 1}
    assert sick["overdue", FILTERED, ""] >= 3
    assert sick["overdue", WELL, ""] == 0
    assert sick["in_flight", FILTERED, ""] >= sick["overdue", FILTERED, ""]
    assert sick["canaries_total", CLOSED, "unreachable"] >= 3
    refused = sick["failures_total", CLOSED, "connect/refused"]
    assert refused == sick["canaries_total", CLOSED, "unreachable"]
    assert sick["canaries_total", WELL, "delivered"] >= 3
    last = "last_arrival_timestamp_seconds"
    assert sick[last, WELL, ""] > sick[last, FILTERED, ""] > 0
