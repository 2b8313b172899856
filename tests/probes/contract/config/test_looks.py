"""How often everything is looked at, and by whom."""

import pytest

from probes.contract.config.looks import Looks, looks
from probes.contract.config.models import Config

RELAYS = [
    {"name": "relay-a1", "host": "relay-a1.example", "egress": ["203.0.113.11", "203.0.113.12"]},
    {"name": "relay-a2", "host": "relay-a2.example", "labels": {"pool": "mx"}},
    {"name": "relay-a3", "host": "relay-a3.example", "labels": {"pool": "mx"}},
]
DESTINATIONS = [
    {"name": "bigmail", "domain": "bigmail.example", "controls": [443]},
    {"name": "othermail", "hosts": ["mx1.example", "mx2.example"], "controls": [80, 443]},
]


def looked(agents: list[dict[str, object]], *checks: dict[str, object]) -> Looks:
    config = Config.model_validate(
        {
            "version": 1,
            "relays": RELAYS,
            "agents": agents,
            "destinations": DESTINATIONS,
            "checks": checks,
        }
    )
    return looks(config.relays, config.agents, config.destinations, config.checks)


ON_A1: dict[str, object] = {"name": "on-a1", "on_relay": "relay-a1"}
ON_A2: dict[str, object] = {"name": "on-a2", "on_relay": "relay-a2"}


def test_each_source_of_each_agent_looks_at_each_port_of_each_host() -> None:
    found = looked([ON_A1, ON_A2], {"probe": "egress", "interval": "20s"})
    # From two egress addresses, and from one that the system chooses; three times a minute.
    assert found.towards == {"bigmail": 9, "othermail": 9}
    assert found.origins == {"bigmail": 2, "othermail": 2}
    # A domain counts as one host: 2 ports of it, and 3 ports of 2 hosts.
    assert found.egress == {"relay-a1": 3 * 2 * 8, "relay-a2": 3 * 8}
    assert found.queue == {}


def test_sources_stand_in_the_place_of_egress_addresses() -> None:
    one = looked([ON_A1 | {"sources": ["10.0.0.5"]}], {"probe": "egress", "interval": "1m"})
    assert one.towards["bigmail"] == pytest.approx(1)


def test_two_agents_on_one_relay_look_twice() -> None:
    found = looked([ON_A2, ON_A2 | {"name": "second"}], {"probe": "queue", "interval": "10s"})
    assert found.queue == {"relay-a2": 12}


def test_rules_add_up_where_they_meet() -> None:
    found = looked(
        [ON_A1, ON_A2],
        {"probe": "egress", "relays": "relay-a1", "destinations": "bigmail", "interval": "1m"},
        {"probe": "egress", "relays": {"pool": "mx"}, "destinations": "bigmail", "interval": "30s"},
        {"probe": "queue", "relays": {"pool": "mx"}, "interval": "30s"},
        {"probe": "queue", "relays": "relay-a3"},
    )
    assert found.towards == {"bigmail": 2 + 2}
    assert found.origins == {"bigmail": 2}
    assert found.queue == {"relay-a2": 2}


@pytest.mark.parametrize("agents", [[], [{"name": "sfo"}], [{"name": "x", "on_relay": "gone"}]])
def test_where_no_agent_sits_nobody_looks(agents: list[dict[str, object]]) -> None:
    assert looked(agents, {"probe": "egress"}, {"probe": "queue"}) == Looks()
