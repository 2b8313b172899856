"""What cannot be told apart, against path sets written out one by one."""

from collections import defaultdict
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from probes.contract.config.models import Config
from probes.contract.config.separability import Component, ambiguities
from probes.contract.plan import plan


def _config(
    relays: dict[str, dict[str, str]],
    agents: dict[str, dict[str, str]],
    boxes: dict[str, dict[str, str]],
    rules: list[dict[str, Any]],
) -> Config:
    return Config.model_validate(
        {
            "version": 1,
            "relays": [
                {"name": name, "host": name, "labels": labels} for name, labels in relays.items()
            ],
            "agents": [
                {"name": name, "sender": {"address": "c@m.example", "helo": name}, "labels": labels}
                for name, labels in agents.items()
            ],
            "customers": [
                {
                    "name": "acme",
                    "mailboxes": [
                        {
                            "name": name,
                            "address": f"{name}@{name[0]}.example",
                            "imap": {"host": "imap", "user": "u", "secret": "acme/imap"},
                            "labels": labels,
                        }
                        for name, labels in boxes.items()
                    ],
                    "canaries": rules,
                }
            ],
        }
    )


def _messages(config: Config) -> list[str]:
    return [str(entry) for entry in ambiguities(config)]


def test_one_of_each_cannot_be_told_apart() -> None:
    config = _config({"r1": {"pool": "mx"}}, {"sfo": {}}, {"in": {}}, [{}])
    assert _messages(config) == [
        (
            "agent sfo, domain i.example, mailbox acme/in and relay r1 are measured on the same "
            "path: their faults look the same; let rule 1 of customer acme select "
            "a second agent or a second mailbox or a second relay"
        )
    ]


def test_a_lonely_path_is_named() -> None:
    rules: list[dict[str, Any]] = [
        {"relays": ["r1", "r2"], "agents": "sfo"},
        {"relays": "r3", "agents": "lon", "mailboxes": "in"},
        {"relays": ["r1", "r2"], "agents": "lon", "mailboxes": "in"},
    ]
    config = _config(
        {"r1": {}, "r2": {}, "r3": {}}, {"sfo": {}, "lon": {}}, {"in": {}, "j": {}}, rules
    )
    assert (
        "relay r3 is measured on one path only, lon|r3|acme/in; "
        "let rule 2 of customer acme select a second agent or mailbox"
    ) in _messages(config)


def test_a_relay_alone_in_its_zone() -> None:
    relays = {"r1": {"zone": "a"}, "r2": {"zone": "b"}, "r3": {"zone": "b"}}
    config = _config(relays, {"sfo": {}, "lon": {}}, {"in": {}, "j": {}}, [{}])
    (first, *_) = [entry for entry in ambiguities(config) if "zone" in str(entry)]
    assert not first.across
    assert str(first) == (
        "relay r1 alone has label zone=a of relays: their faults look the same; "
        "let rule 1 of customer acme select a second relay with label zone=a of relays"
    )


def test_labels_that_always_come_together() -> None:
    relays = {
        "r1": {"provider": "x", "zone": "a"},
        "r2": {"provider": "x", "zone": "a"},
        "r3": {"provider": "y", "zone": "b"},
        "r4": {"provider": "y", "zone": "b"},
    }
    config = _config(relays, {"sfo": {}, "lon": {}}, {"in": {}, "j": {}}, [{}])
    messages = [text for text in _messages(config) if "provider=x" in text]
    assert messages == [
        (
            "label provider=x of relays and label zone=a of relays are measured on the same "
            "8 paths: their faults look the same; let rule 1 of customer acme select "
            "a relay to which only some of these apply"
        )
    ]


def test_an_agent_that_only_feeds_one_zone() -> None:
    relays = {"r1": {"zone": "a"}, "r2": {"zone": "a"}, "r3": {"zone": "b"}, "r4": {"zone": "b"}}
    rules = [
        {"relays": {"zone": "a"}, "agents": "sfo"},
        {"relays": {"zone": "b"}, "agents": "lon"},
    ]
    config = _config(relays, {"sfo": {}, "lon": {}}, {"in": {}, "j": {}}, rules)
    assert _messages(config)[:2] == [
        (
            "agent lon and label zone=b of relays are measured on the same 4 paths: their faults "
            "look the same; let rule 2 of customer acme select "
            "a second agent or a relay without zone=b"
        ),
        (
            "agent sfo and label zone=a of relays are measured on the same 4 paths: their faults "
            "look the same; let rule 1 of customer acme select "
            "a second agent or a relay without zone=a"
        ),
    ]


def test_a_full_mesh_is_told_apart() -> None:
    config = _config({"r1": {}, "r2": {}}, {"sfo": {}, "lon": {}}, {"in": {}, "it": {}}, [{}])
    assert _messages(config) == []


ZONES = st.fixed_dictionaries({"zone": st.sampled_from("ab"), "pool": st.sampled_from("xy")})
PICK = st.sampled_from(["all", {"zone": "a"}, {"pool": "x"}, ["n0"], ["n0", "n1"]])


def _component_sets(config: Config) -> dict[Component, frozenset[str]]:
    sets: defaultdict[Component, set[str]] = defaultdict(set)
    relays = {relay.name: relay.labels for relay in config.relays}
    agents = {agent.name: agent.labels for agent in config.agents}
    boxes = {f"acme/{box.name}": box for box in config.customers[0].mailboxes}
    for entry in plan(config).paths():
        path = entry.path
        box = boxes[path.mailbox]
        members = [
            Component("relay", "relay", path.relay),
            Component("agent", "agent", path.agent),
            Component("mailbox", "mailbox", path.mailbox),
            Component("mailbox", "domain", box.address.partition("@")[2]),
        ]
        members += [Component("relay", "label", f"{k}={v}") for k, v in relays[path.relay].items()]
        members += [Component("agent", "label", f"{k}={v}") for k, v in agents[path.agent].items()]
        members += [Component("mailbox", "label", f"{k}={v}") for k, v in box.labels.items()]
        for member in members:
            sets[member].add(str(path))
    return {component: frozenset(paths) for component, paths in sets.items()}


@settings(deadline=None)
@given(
    st.lists(ZONES, min_size=2, max_size=4),
    st.lists(ZONES, min_size=2, max_size=3),
    st.lists(ZONES, min_size=2, max_size=3),
    st.lists(st.tuples(PICK, PICK), min_size=1, max_size=3),
)
def test_the_same_classes_as_by_listing_every_path(
    relays: list[dict[str, str]],
    agents: list[dict[str, str]],
    boxes: list[dict[str, str]],
    picks: list[tuple[Any, Any]],
) -> None:
    def named(items: list[dict[str, str]]) -> dict[str, dict[str, str]]:
        return {f"n{index}": labels for index, labels in enumerate(items)}

    # Each rule has mailboxes of its own, so that no path is in two rules.
    rules = [
        {"relays": relay, "agents": agent, "mailboxes": f"n{index}"}
        for index, (relay, agent) in enumerate(picks[: len(boxes)])
    ]
    config = _config(named(relays), named(agents), named(boxes), rules)
    sets = _component_sets(config)
    everything = frozenset[str]().union(*sets.values())
    classes: defaultdict[frozenset[str], set[Component]] = defaultdict(set)
    for component, paths in sets.items():
        if component.kind != "label" or paths != everything:
            classes[paths].add(component)
    expected = {
        (frozenset(members), len(paths))
        for paths, members in classes.items()
        if len(members) > 1 or len(paths) == 1
    }
    found = {(frozenset(entry.components), entry.paths) for entry in ambiguities(config)}
    assert found == expected
