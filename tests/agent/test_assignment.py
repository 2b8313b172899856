"""An agent's part of the configuration."""

from dataclasses import replace

import pytest

from agent.assignment import AssignmentError, assign
from probes.contract.config.models import Config
from tests.agent.fakes import assignment, document


def test_the_only_agent_needs_no_name() -> None:
    mine = assignment()
    assert mine.agent == "sfo"
    assert mine.bounces == "monitor/bounces"
    assert mine.labels == {"site": "sfo"}
    assert set(mine.relays) == {"relay-a1", "relay-a2"}
    assert {str(plan.path) for plan in mine.paths} == {
        "sfo|relay-a1|acme/inbox",
        "sfo|relay-a2|acme/inbox",
    }
    assert mine.remember_s == 3600.0


def test_only_mailboxes_that_it_needs_are_its_own() -> None:
    unused = document()
    unused["customers"].append(
        {
            "name": "zeta",
            "mailboxes": [
                {
                    "name": "inbox",
                    "address": "canary@zeta.example",
                    "imap": {"host": "127.0.0.1", "user": "u", "secret": "zeta/imap"},
                }
            ],
        }
    )
    assert set(assign(Config.model_validate(unused)).mailboxes) == {"acme/inbox", "monitor/bounces"}


def test_several_agents_need_a_name() -> None:
    two = document()
    two["agents"].append({"name": "fra", "sender": {"address": "c@m.example", "helo": "f.example"}})
    config = Config.model_validate(two)
    with pytest.raises(AssignmentError, match="found none, allowed is one of the agents sfo, fra"):
        assign(config)
    assert assign(config, "fra", "rev-1").revision == "rev-1"
    assert assign(config, "fra").bounces is None
    with pytest.raises(AssignmentError, match="'ams', allowed is one of the agents sfo, fra"):
        assign(config, "ams")


def test_an_agent_that_neither_sends_nor_sits_on_a_relay_has_nothing_to_do() -> None:
    with pytest.raises(AssignmentError, match="agent sfo: found neither sender nor on_relay"):
        assignment(agents=[{"name": "sfo"}])


def test_an_agent_on_a_relay_needs_no_sender() -> None:
    found = assignment(
        agents=[{"name": "sfo", "on_relay": "relay-a1"}],
        checks=[{"probe": "queue", "interval": "60s"}],
    )
    assert (found.sender, found.helo, found.address, found.bounces) == (None, "", "", None)
    assert found.paths == ()
    assert [(plan.probe, plan.relay, plan.interval_s) for plan in found.checks] == [
        ("queue", "relay-a1", 60.0)
    ]
    found.check_for("sfo")


def test_paths_without_a_sender_are_refused() -> None:
    with pytest.raises(AssignmentError, match="found paths, allowed without a sender are none"):
        replace(assignment(), sender=None).check_for("sfo")


def test_no_agents_at_all() -> None:
    with pytest.raises(AssignmentError, match="one of the agents none"):
        assignment(agents=[])
