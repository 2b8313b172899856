"""The parts of all agents, piece by piece: what they would be if each was made from the whole."""

from typing import Any

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st

from collector.config.parts import Parts
from probes.contract.config.models import Config
from probes.contract.config.prune import document_of, part_of

AGENTS = ["lon", "looker", "sfo"]
RELAYS = ["relay-1", "relay-2"]
CUSTOMERS = ["acme", "acme.uk", "globex"]

RULES = st.fixed_dictionaries(
    {
        "relays": st.sampled_from(["all", "relay-1", {"pool": "mx"}]),
        "agents": st.sampled_from(["all", "lon", "sfo", {"site": "west"}]),
        "interval": st.sampled_from(["30s", "1m"]),
    }
)

CHECKS = st.fixed_dictionaries(
    {
        "probe": st.sampled_from(["egress", "queue"]),
        "relays": st.sampled_from(["all", "relay-1", {"pool": "a"}]),
        "destinations": st.sampled_from(["all", "bigmail"]),
        "interval": st.sampled_from(["30s", "1m"]),
    }
)


@st.composite
def customers(draw: st.DrawFn, name: str) -> dict[str, Any]:
    return {
        "name": name,
        "labels": {"tier": draw(st.sampled_from(["gold", "lead"]))},
        "mailboxes": [
            {
                "name": box,
                "address": f"{box}@{name}.example",
                "imap": {"host": "imap.example", "user": box, "secret": f"{name}/{box}"},
            }
            for box in ("in", "other")[: draw(st.integers(0, 2))]
        ],
        "canaries": draw(st.lists(RULES, max_size=2)),
    }


@st.composite
def estates(draw: st.DrawFn) -> dict[str, Any]:
    box = st.sampled_from([f"{name}/in" for name in CUSTOMERS])
    agents = [
        {
            "name": name,
            "labels": {"site": draw(st.sampled_from(["west", "east"]))},
            "sender": {"address": f"c@{name}.example", "helo": f"{name}.example"}
            | draw(st.one_of(st.just({}), st.fixed_dictionaries({"bounces": box}))),
        }
        for name in AGENTS
        if name != "looker"
    ]
    relays = [
        {"name": name, "host": f"{name}.example", "labels": {"pool": draw(st.sampled_from("ab"))}}
        for name in RELAYS
    ]
    looker = {"name": "looker", "on_relay": draw(st.sampled_from(RELAYS))}
    return {
        "version": 1,
        "relays": relays,
        "agents": [*agents, looker],
        "defaults": {"deadline": draw(st.sampled_from(["30s", "40s"]))},
        "destinations": [
            {
                "name": name,
                "domain": f"{name}.example",
                "controls": draw(st.sampled_from([[], [443]])),
            }
            for name in ("bigmail", "othermail")
        ],
        "checks": draw(st.lists(CHECKS, max_size=2)),
    }


@st.composite
def lives(draw: st.DrawFn) -> list[Config]:
    """What becomes of a configuration, edit by edit."""
    found = []
    estate = draw(estates())
    fleet = {name: draw(customers(name)) for name in CUSTOMERS}
    for _ in range(draw(st.integers(1, 4))):
        edit = draw(st.sampled_from([*CUSTOMERS, "estate", "gone"]))
        if edit == "estate":
            estate = draw(estates())
        elif edit == "gone":
            fleet.pop(draw(st.sampled_from(CUSTOMERS)), None)
        else:
            fleet[edit] = draw(customers(edit))
        found.append(Config.model_validate({**estate, "customers": list(fleet.values())}))
    return found


@given(lives())
@settings(max_examples=200)
def test_a_part_is_that_of_the_whole_whatever_was_before(life: list[Config]) -> None:
    parts = None
    for config in life:
        parts = Parts(config, parts)
        for agent in (*AGENTS, "looker", "nobody"):
            whole = msgspec.json.encode(document_of(part_of(config, agent)), order="sorted")
            assert bytes(parts.text(agent)) == whole


@given(lives())
def test_what_did_not_change_is_not_worked_out_again(life: list[Config]) -> None:
    first = Parts(life[0])
    edited = life[0].model_copy(update={"customers": life[0].customers[1:]})
    again = Parts(edited, first)
    assert [again.pieces[one.name] is first.pieces[one.name] for one in edited.customers] == [
        True
    ] * len(edited.customers)
