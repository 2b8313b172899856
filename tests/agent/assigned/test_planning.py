"""Plans of one assignment after the other: what each would be by itself, and what stays is kept."""

from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agent.assigned.planning import AssignedError, Planner
from agent.assignment import assign
from probes.contract.config.models import Config
from probes.contract.wire import AssignmentDocument

CUSTOMERS = ["acme", "acme.uk", "globex"]
RULES = st.fixed_dictionaries(
    {
        "relays": st.sampled_from(["all", "relay-1", {"pool": "mx"}]),
        "agents": st.sampled_from(["all", "sfo", "lon"]),
        "mailboxes": st.sampled_from(["all", "in"]),
        "per": st.sampled_from(["relay", "path"]),
    }
)


@st.composite
def customers(draw: st.DrawFn, name: str) -> dict[str, Any]:
    return {
        "name": name,
        "mailboxes": [
            {
                "name": box,
                "address": f"{box}@{name}.example",
                "imap": {"host": "imap.example", "user": box, "secret": f"{name}/{box}"},
            }
            for box in ("in", "other")
        ],
        "canaries": draw(st.lists(RULES, max_size=2)),
    }


@st.composite
def shells(draw: st.DrawFn) -> dict[str, Any]:
    relays = [
        {"name": name, "host": f"{name}.example", "labels": {"pool": pool}}
        for name, pool in (("relay-1", "mx"), ("relay-2", draw(st.sampled_from(["mx", "bulk"]))))
    ]
    bounces = draw(st.one_of(st.just({}), st.just({"bounces": "globex/other"})))
    agents = [
        {"name": "sfo", "sender": {"address": "c@sfo.example", "helo": "sfo.example", **bounces}},
        {"name": "lon", "sender": {"address": "c@lon.example", "helo": "lon.example"}},
    ]
    defaults = {"interval": draw(st.sampled_from(["30s", "1m"]))}
    return {"version": 1, "relays": relays, "agents": agents, "defaults": defaults}


@st.composite
def lives(draw: st.DrawFn) -> list[dict[str, Any]]:
    """What becomes of a configuration, edit by edit."""
    found = []
    shell = draw(shells())
    fleet = {name: draw(customers(name)) for name in CUSTOMERS}
    for _ in range(draw(st.integers(1, 4))):
        edit = draw(st.sampled_from([*CUSTOMERS, "shell", "gone"]))
        if edit == "shell":
            shell = draw(shells())
        elif edit == "gone":
            fleet.pop(draw(st.sampled_from(CUSTOMERS)), None)
        else:
            fleet[edit] = draw(customers(edit))
        found.append({**shell, "customers": list(fleet.values())})
    return found


def _document(config: object, revision: str = "r", version: int = 1) -> AssignmentDocument:
    text = msgspec.Raw(msgspec.json.encode(config))
    return AssignmentDocument(version=version, agent="sfo", revision=revision, config=text)


@given(lives())
@settings(max_examples=200)
def test_each_is_what_it_would_be_by_itself(life: list[dict[str, Any]]) -> None:
    planner = Planner()
    for number, config in enumerate(life):
        revision = f"r{number}"
        work = planner.work(_document(config, revision))
        assert work == assign(Config.model_validate(config), "sfo", revision)


@given(lives())
def test_the_paths_of_whom_nothing_changed_are_the_ones_of_before(
    life: list[dict[str, Any]],
) -> None:
    planner = Planner()
    config = life[0]
    before = planner.work(_document(config)).paths
    edited = {**config, "customers": config["customers"][1:]}
    after = planner.work(_document(edited, "other")).paths
    assert {id(entry) for entry in after} <= {id(entry) for entry in before}


@pytest.mark.parametrize("bad", [[], "no", {"version": 1, "customers": {}}, {"version": 2}])
def test_what_cannot_be_used_leaves_what_was_planned(bad: object) -> None:
    planner = Planner()
    shell: dict[str, Any] = {
        "version": 1,
        "relays": [{"name": "relay-1", "host": "relay-1.example"}],
        "agents": [{"name": "sfo", "sender": {"address": "c@s.example", "helo": "s.example"}}],
    }
    box = {
        "name": "in",
        "address": "in@acme.example",
        "imap": {"host": "imap.example", "user": "in", "secret": "acme/in"},
    }
    config = {**shell, "customers": [{"name": "acme", "mailboxes": [box], "canaries": [{}]}]}
    [before] = planner.work(_document(config)).paths
    with pytest.raises(AssignedError):
        planner.work(_document(bad))
    with pytest.raises(AssignedError, match="customer"):
        planner.work(_document({**shell, "customers": [{"name": "a customer"}]}))
    with pytest.raises(AssignedError, match="version of the collector"):
        planner.work(_document(config, version=2))
    [after] = planner.work(_document(config)).paths
    assert after is before
