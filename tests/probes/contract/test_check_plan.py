"""What one agent has to look at from its relay, from the whole configuration as from its part."""

import json
from ipaddress import ip_address
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from probes.contract.check_plan import check_plans
from probes.contract.config.models import Config, ProbeKind
from probes.contract.config.prune import document_of, part_of

AGENTS = ["one", "two", "three", "four"]
RELAYS = ["relay-1", "relay-2", "relay-3"]
DESTINATIONS = ["bigmail", "othermail", "ours"]
SENDER = {"address": "Canary@One.example", "helo": "one.example", "bounces": "acme/in"}


def _some(names: list[str], labels: dict[str, str]) -> st.SearchStrategy[Any]:
    lists = st.lists(st.sampled_from(names), min_size=1, unique=True)
    return st.one_of(st.just("all"), st.sampled_from(names), lists, st.just(labels))


CHECKS = st.fixed_dictionaries(
    {
        "probe": st.sampled_from(["egress", "queue"]),
        "relays": _some(RELAYS, {"pool": "mx"}),
        "destinations": _some(DESTINATIONS, {"mx": "big"}),
        "interval": st.sampled_from(["10s", "1m"]),
    }
)


@st.composite
def configs(draw: st.DrawFn) -> Config:
    def labels(key: str, *values: str) -> dict[str, str]:
        return {key: draw(st.sampled_from(values))}

    def agent(number: int, name: str) -> dict[str, Any]:
        sender = SENDER | {"address": f"Canary@{name}.Example"}
        return {
            "name": name,
            "sender": draw(st.one_of(st.none(), st.just(sender))),
            "on_relay": draw(st.one_of(st.none(), st.sampled_from(RELAYS))),
            "sources": draw(st.sampled_from([[], [f"10.0.0.{number}"]])),
            "labels": labels("site", "west", "east"),
        }

    document = {
        "version": 1,
        "relays": [
            {
                "name": name,
                "host": f"{name}.example",
                "egress": [f"203.0.113.{number}"],
                "labels": labels("pool", "mx", "bulk"),
            }
            for number, name in enumerate(RELAYS)
        ],
        "agents": [agent(number, name) for number, name in enumerate(AGENTS)],
        "destinations": [
            {"name": name, "domain": f"{name}.example", "labels": labels("mx", "big", "own")}
            for name in DESTINATIONS
        ],
        "checks": draw(st.lists(CHECKS, max_size=3)),
    }
    return Config.model_validate(document)


@given(configs())
@settings(max_examples=200)
def test_the_looks_from_the_part_are_those_from_the_whole(config: Config) -> None:
    for agent in AGENTS:
        part = Config.model_validate(json.loads(json.dumps(document_of(part_of(config, agent)))))
        assert check_plans(part, agent) == check_plans(config, agent)
        assert part_of(part, agent) == part


@given(configs())
@settings(max_examples=200)
def test_the_part_has_what_is_looked_at_and_nothing_of_anybody_elses(config: Config) -> None:
    for agent in AGENTS:
        part, plans = part_of(config, agent), check_plans(config, agent)
        mine = next(one for one in config.agents if one.name == agent)
        assert [one.name for one in part.relays] == ([mine.on_relay] if mine.on_relay else [])
        seen = {one.name for plan in plans for one in plan.destinations}
        assert {one.name for one in part.destinations} == seen
        assert len(part.checks) == len(plans)
        text = json.dumps(document_of(part).get("checks", []))
        assert not any(f'"{name}"' in text for name in RELAYS if name != mine.on_relay)
        reads = any(plan.probe is ProbeKind.QUEUE for plan in plans)
        others = [one for one in part.agents if one.name != agent]
        assert {one.name for one in others} == {
            one.name for one in config.agents if one.sender and one.name != agent and reads
        }
        for one in others:
            assert (one.sources, one.on_relay) == ((), None)
            assert one.sender is not None
            assert one.sender.bounces is None


def fleet(**agent: object) -> Config:
    return Config.model_validate(
        {
            "version": 1,
            "relays": [
                {"name": "relay-1", "host": "r1.example", "egress": ["203.0.113.1"]},
                {"name": "relay-2", "host": "r2.example", "labels": {"pool": "mx"}},
            ],
            "agents": [
                {"name": "looker", **agent},
                {"name": "sfo", "sender": {"address": "Canary-SFO@One.Example", "helo": "sfo"}},
            ],
            "destinations": [
                {"name": "bigmail", "domain": "bigmail.example", "labels": {"mx": "big"}},
                {"name": "ours", "hosts": ["mx.monitor.example"], "reference": True},
            ],
            "checks": [
                {"probe": "queue", "relays": "relay-1", "interval": "1m", "timeout": "5s"},
                {"probe": "egress", "relays": {"pool": "mx"}, "destinations": {"mx": "big"}},
                {"probe": "egress", "relays": ["relay-1"], "destinations": ["ours", "bigmail"]},
            ],
        }
    )


def test_an_agent_carries_out_the_rules_that_select_its_relay() -> None:
    queue, egress = check_plans(fleet(on_relay="relay-1"), "looker")
    assert (queue.probe, queue.interval_s, queue.timeout_s) == (ProbeKind.QUEUE, 60.0, 5.0)
    assert queue.destinations == ()
    assert queue.canary_senders == {"canary-sfo@one.example"}
    assert (egress.probe, egress.interval_s, egress.timeout_s) == (ProbeKind.EGRESS, 30.0, 10.0)
    assert [one.name for one in egress.destinations] == ["bigmail", "ours"]
    assert egress.canary_senders == frozenset()
    (other,) = check_plans(fleet(on_relay="relay-2"), "looker")
    assert [one.name for one in other.destinations] == ["bigmail"]


def test_it_looks_from_its_own_addresses_or_the_relays_or_any() -> None:
    (plan, _) = check_plans(fleet(on_relay="relay-1"), "looker")
    assert plan.sources == (ip_address("203.0.113.1"),)
    (plan, _) = check_plans(fleet(on_relay="relay-1", sources=["10.0.0.5", "::5"]), "looker")
    assert plan.sources == (ip_address("10.0.0.5"), ip_address("::5"))
    (plan,) = check_plans(fleet(on_relay="relay-2"), "looker")
    assert plan.sources == ()


def test_nobody_else_looks_at_anything() -> None:
    for config in (fleet(), fleet(on_relay="relay-gone")):
        for agent in ("looker", "sfo", "nobody"):
            assert check_plans(config, agent) == ()


def test_the_words_stay_while_the_look_is_the_same_and_differ_between_looks() -> None:
    one = check_plans(fleet(on_relay="relay-1"), "looker")
    again = check_plans(fleet(on_relay="relay-1", sources=["10.0.0.5"]), "looker")
    assert [plan.words for plan in one] == [
        "looker|queue|relay-1|",
        "looker|egress|relay-1|bigmail,ours",
    ]
    assert [plan.words for plan in again] == [plan.words for plan in one]
