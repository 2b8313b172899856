"""What an agent was ever given: the plan's own paths, of every revision, and nothing else."""

from itertools import product
from typing import Any

import msgspec

from collector.config.assigned import Assigned, Grant, grants
from probes.contract.config.models import Config
from probes.contract.names import Path
from probes.contract.plan import plan

AGENTS = ("lon", "looker", "sfo")
RELAYS = ("relay-1", "relay-2", "relay-3")
MAILBOXES = ("acme/in", "acme/other", "globex/in")


def _config(rules: dict[str, list[dict[str, Any]]]) -> Config:
    boxes = {"acme": ["in", "other"], "globex": ["in"]}
    return Config.model_validate(
        {
            "version": 1,
            "relays": [{"name": name, "host": f"{name}.example"} for name in RELAYS],
            "agents": [
                {"name": "lon", "sender": {"address": "c@lon.example", "helo": "lon.example"}},
                {"name": "looker", "on_relay": "relay-1"},
                {"name": "sfo", "sender": {"address": "c@sfo.example", "helo": "sfo.example"}},
            ],
            "customers": [
                {
                    "name": customer,
                    "mailboxes": [
                        {
                            "name": box,
                            "address": f"{box}@{customer}.example",
                            "imap": {"host": "i.example", "user": box, "secret": f"{customer}/x"},
                        }
                        for box in names
                    ],
                    "canaries": rules.get(customer, []),
                }
                for customer, names in boxes.items()
            ],
        }
    )


FIRST = _config({"acme": [{"relays": ["relay-1", "relay-2"], "agents": "sfo"}], "globex": [{}]})
SECOND = _config({"acme": [{"relays": "relay-3", "mailboxes": "in"}]})


def _allowed(assigned: Assigned) -> set[str]:
    paths = (Path(*names) for names in product(AGENTS, RELAYS, MAILBOXES))
    return {str(path) for path in paths if assigned.allows(path)}


def _planned(*configs: Config) -> set[str]:
    return {str(entry.path) for config in configs for entry in plan(config).paths()}


def test_what_the_plan_has_is_allowed_and_nothing_else() -> None:
    for config in (FIRST, SECOND):
        assigned = Assigned(grants(config))
        assert _allowed(assigned) == _planned(config)
        assert _planned(config)


def test_what_an_earlier_revision_gave_stays_allowed() -> None:
    assigned = Assigned(grants(FIRST))
    assert {assigned.learn(grant) for grant in grants(SECOND) - grants(FIRST)} == {True}
    assert _allowed(assigned) == _planned(FIRST, SECOND)


def test_the_same_rule_is_kept_once() -> None:
    assigned = Assigned(grants(FIRST))
    count = len(assigned)
    assert {assigned.learn(grant) for grant in grants(FIRST)} == {False}
    # Two rules, and an agent that sits on a relay.
    assert len(assigned) == count == 3


def test_names_that_were_never_given_are_not_allowed() -> None:
    assigned = Assigned(grants(FIRST))
    assert not assigned.allows(Path("nobody", "relay-1", "acme/in"))
    assert not assigned.allows(Path("sfo", "relay-9", "acme/in"))
    assert not assigned.allows(Path("sfo", "relay-1", "acme/nothing"))
    assert not Assigned().allows(Path("sfo", "relay-1", "acme/in"))


def test_a_grant_is_read_again_from_its_bytes() -> None:
    for grant in grants(FIRST):
        assert msgspec.msgpack.decode(msgspec.msgpack.encode(grant), type=Grant) == grant


def test_an_agent_may_speak_of_the_relays_on_which_it_ever_sat() -> None:
    moved = FIRST.model_copy(
        update={
            "agents": tuple(
                one.model_copy(update={"on_relay": "relay-2"}) if one.name == "looker" else one
                for one in FIRST.agents
            )
        }
    )
    assigned = Assigned(grants(FIRST))
    assert _seats(assigned) == {("looker", "relay-1")}
    assert {assigned.learn(grant) for grant in grants(moved) - grants(FIRST)} == {True}
    assert _seats(assigned) == {("looker", "relay-1"), ("looker", "relay-2")}
    # It sends nothing for all that.
    assert not any(path.startswith("looker|") for path in _allowed(assigned))


def _seats(assigned: Assigned) -> set[tuple[str, str]]:
    return {pair for pair in product(AGENTS, RELAYS) if assigned.sits(*pair)}


def test_where_agents_sit_is_kept_as_a_grant_is() -> None:
    [seat] = [grant for grant in grants(FIRST) if not grant.mailboxes]
    assert seat == Grant(("relay-1",), ("looker",), ())
    assert msgspec.msgpack.decode(msgspec.msgpack.encode(seat), type=Grant) == seat
