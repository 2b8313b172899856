"""One agent's part of a configuration: the same plan, and nothing of anybody else's."""

import json
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from probes.contract.config.models import Config
from probes.contract.config.prune import document_of, part_of
from probes.contract.plan import plan

AGENTS = ["lon", "nyc", "sfo"]
RELAYS = ["relay-1", "relay-2", "relay-3"]
CUSTOMERS = ["acme", "globex", "initech"]
BOXES = ["in", "other"]


def _agent(name: str, site: str, bounces: str | None, mute: bool) -> dict[str, Any]:
    sender = {"address": f"c@{name}.example", "helo": f"{name}.example"}
    if bounces is not None:
        sender["bounces"] = bounces
    agent: dict[str, Any] = {"name": name, "labels": {"site": site}}
    return agent if mute else {**agent, "sender": sender}


def _customer(name: str, rules: list[dict[str, Any]]) -> dict[str, Any]:
    return {
        "name": name,
        "objective": {"delivered": "99.95%", "within": "1m30s"},
        "quota": {"paths": 77},
        "labels": {"tier": "gold"},
        "mailboxes": [
            {
                "name": box,
                "address": f"{box}@{name}.example",
                "imap": {"host": "imap.example", "user": box, "secret": f"{name}/{box}"},
                "labels": {"mx": box},
            }
            for box in BOXES
        ],
        "canaries": rules,
    }


def _some(names: list[str]) -> st.SearchStrategy[Any]:
    lists = st.lists(st.sampled_from(names), min_size=1, unique=True)
    return st.one_of(st.just("all"), st.sampled_from(names), lists)


RULES = st.fixed_dictionaries(
    {
        "relays": st.one_of(_some(RELAYS), st.just({"pool": "mx"})),
        "agents": st.one_of(_some(AGENTS), st.just({"site": "west"})),
        "mailboxes": st.one_of(_some(BOXES), st.just({"mx": "in"})),
        "interval": st.sampled_from(["30s", "1m", "1500ms"]),
        "per": st.sampled_from(["relay", "path"]),
    }
)


@st.composite
def configs(draw: st.DrawFn) -> Config:
    box = st.sampled_from([f"{customer}/{box}" for customer in CUSTOMERS for box in BOXES])
    return Config.model_validate(
        {
            "version": 1,
            "relays": [
                {
                    "name": name,
                    "host": f"{name}.example",
                    "labels": {"pool": draw(st.sampled_from(["mx", "bulk"]))},
                }
                for name in RELAYS
            ],
            "agents": [
                _agent(
                    name,
                    draw(st.sampled_from(["west", "east"])),
                    draw(st.one_of(st.none(), box)),
                    draw(st.integers(0, 9)) == 0,
                )
                for name in AGENTS
            ],
            "customers": [_customer(name, draw(st.lists(RULES, max_size=2))) for name in CUSTOMERS],
        }
    )


def _text(config: Config) -> str:
    return json.dumps(document_of(config))


@given(configs())
@settings(max_examples=200)
def test_the_plan_from_the_part_is_the_plan_from_the_whole(config: Config) -> None:
    for agent in AGENTS:
        part = Config.model_validate(json.loads(_text(part_of(config, agent))))
        assert plan(part).for_agent(agent) == plan(config).for_agent(agent)


@given(configs())
def test_the_part_has_what_the_paths_name_and_no_more(config: Config) -> None:
    for agent in AGENTS:
        part, paths = part_of(config, agent), plan(config).for_agent(agent)
        assert {relay.name for relay in part.relays} == {entry.path.relay for entry in paths}
        mine = next(one for one in config.agents if one.name == agent)
        bounces = {mine.sender.bounces} if mine.sender and mine.sender.bounces else set()
        assert {f"{c.name}/{box.name}" for c in part.customers for box in c.mailboxes} == {
            entry.path.mailbox for entry in paths
        } | bounces
        text = _text(part)
        assert all(customer.labels == {"tier": "gold"} for customer in part.customers)
        assert "quota" not in text
        assert "objective" not in text
        others = [one for one in part.agents if one.name != agent]
        assert all(one.sender is None or one.sender.bounces is None for one in others)


@given(configs())
def test_a_part_of_a_part_is_the_part(config: Config) -> None:
    part = part_of(config, "sfo")
    assert part_of(part, "sfo") == part


def test_an_edit_of_another_customer_leaves_the_part_as_it_was() -> None:
    def with_interval(interval: str) -> Config:
        rules = {"acme": "sfo", "globex": "lon"}
        return Config.model_validate(
            {
                "version": 1,
                "relays": [{"name": "relay-1", "host": "relay-1.example"}],
                "agents": [_agent(name, "west", None, False) for name in ("lon", "sfo")],
                "customers": [
                    _customer(
                        name,
                        [{"agents": agent, "interval": interval if name == "globex" else "30s"}],
                    )
                    for name, agent in rules.items()
                ],
            }
        )

    assert _text(part_of(with_interval("30s"), "sfo")) == _text(part_of(with_interval("1m"), "sfo"))
    assert _text(part_of(with_interval("30s"), "lon")) != _text(part_of(with_interval("1m"), "lon"))


def test_an_agent_that_is_not_named_has_nothing_to_do() -> None:
    config = Config.model_validate(
        {
            "version": 1,
            "relays": [{"name": "relay-1", "host": "relay-1.example"}],
            "agents": [_agent("sfo", "west", None, False)],
            "customers": [_customer("acme", [{}])],
        }
    )
    part = part_of(config, "nobody")
    assert (part.relays, part.agents, part.customers) == ((), (), ())


def test_an_agent_on_a_relay_knows_its_relay() -> None:
    config = Config.model_validate(
        {
            "version": 1,
            "relays": [
                {"name": name, "host": f"{name}.example"} for name in ("relay-1", "relay-2")
            ],
            "agents": [{"name": "looker", "on_relay": "relay-2"}],
        }
    )
    assert [relay.name for relay in part_of(config, "looker").relays] == ["relay-2"]


@given(configs())
def test_the_document_gives_the_same_configuration_again(config: Config) -> None:
    assert Config.model_validate(json.loads(_text(config))) == config
