"""The plan: rotation, due times, rates and shares, and that an edit moves nothing else."""

from collections import Counter
from itertools import islice, pairwise
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from probes.contract.config.models import Config
from probes.contract.names import Path
from probes.contract.plan import PathPlan, due_ns, due_times_ns, next_due_ns, plan, slot_after

S = 1_000_000_000
START = 1_700_000_000 * S


def _config(
    relays: list[dict[str, Any]], agents: list[str], customers: list[dict[str, Any]], **more: Any
) -> Config:
    return Config.model_validate(
        {
            "version": 1,
            "relays": [{"host": f"{relay['name']}.example", **relay} for relay in relays],
            "agents": [
                {"name": name, "sender": {"address": f"c@{name}.example", "helo": name}}
                for name in agents
            ],
            "customers": customers,
            **more,
        }
    )


def _customer(name: str, boxes: list[str], rules: list[dict[str, Any]]) -> dict[str, Any]:
    return {
        "name": name,
        "mailboxes": [
            {
                "name": box,
                "address": f"{box}@{name}.example",
                "imap": {"host": "imap.example", "user": box, "secret": f"{name}/{box}"},
            }
            for box in boxes
        ],
        "canaries": rules,
    }


def _relays(count: int) -> list[dict[str, Any]]:
    return [{"name": f"relay-{number}", "labels": {"pool": "mx"}} for number in range(count)]


def _by_path(config: Config) -> dict[str, PathPlan]:
    return {str(entry.path): entry for entry in plan(config).paths()}


TWO = _config(
    _relays(3),
    ["lon", "sfo"],
    [
        _customer("acme", ["in", "other"], [{"interval": "30s"}]),
        _customer("globex", ["in"], [{"agents": "sfo", "interval": "1m", "per": "path"}]),
    ],
)


def test_each_relay_is_heard_once_an_interval_and_each_pair_in_turn() -> None:
    of_relay = [
        entry
        for entry in plan(TWO).paths()
        if entry.path.relay == "relay-1" and entry.path.customer == "acme"
    ]
    assert {entry.period_s for entry in of_relay} == {120.0}
    phases = sorted(entry.phase_s for entry in of_relay)
    gaps = [later - earlier for earlier, later in pairwise(phases)]
    assert gaps == pytest.approx([30.0, 30.0, 30.0])
    assert 0 <= phases[0] < 30
    assert {(entry.path.agent, entry.path.mailbox) for entry in of_relay} == {
        (agent, f"acme/{box}") for agent in ("lon", "sfo") for box in ("in", "other")
    }


def test_per_path_gives_every_path_the_interval() -> None:
    entries = [entry for entry in plan(TWO).paths() if entry.path.customer == "globex"]
    assert len(entries) == 3
    assert all(entry.period_s == 60 and 0 <= entry.phase_s < 60 for entry in entries)
    assert len({entry.phase_s for entry in entries}) == 3


def test_relays_begin_with_different_pairs_and_phases() -> None:
    config = _config(_relays(40), ["a", "b", "c", "d"], [_customer("acme", ["in"], [{}])])
    firsts = Counter(entry.path.agent for entry in plan(config).paths() if entry.phase_s < 30)
    assert sum(firsts.values()) == 40
    assert all(4 <= count <= 18 for count in firsts.values())
    assert len({entry.phase_s % 30 for entry in plan(config).paths()}) >= 39


def test_rules_of_one_customer_do_not_fly_in_step() -> None:
    rules = [{"agents": "lon"}, {"agents": "sfo"}]
    config = _config(_relays(1), ["lon", "sfo"], [_customer("acme", ["in"], rules)])
    assert len({entry.phase_s for entry in plan(config).paths()}) == 2


def test_an_agents_paths_are_its_part_of_all() -> None:
    whole = plan(TWO)
    everything = list(whole.paths())
    assert whole.path_count == len(everything) == 15
    for agent in ("lon", "sfo"):
        own = [entry for entry in everything if entry.path.agent == agent]
        assert whole.for_agent(agent) == own
    assert whole.for_agent("nobody") == []


def test_drained_relays_keep_their_canaries_and_senderless_agents_send_none() -> None:
    relays = [{"name": "r1", "rotation": "out"}, {"name": "r2", "rotation": "deploying"}]
    config = _config(relays, ["sfo"], [_customer("acme", ["in"], [{}])])
    looker = config.model_copy(
        update={"agents": (*config.agents, config.agents[0].model_copy(update={"name": "x"}))}
    )
    mute = looker.agents[1].model_copy(update={"sender": None})
    looker = looker.model_copy(update={"agents": (looker.agents[0], mute)})
    assert set(_by_path(looker)) == {"sfo|r1|acme/in", "sfo|r2|acme/in"}


def test_times_come_from_the_rule_or_else_from_the_defaults() -> None:
    rules = [{"deadline": "5s", "interval": "10s"}]
    config = _config(
        _relays(1), ["sfo"], [_customer("acme", ["in"], rules)], defaults={"loss_after": "1h"}
    )
    (entry,) = plan(config).paths()
    assert (entry.period_s, entry.deadline_s, entry.loss_after_s) == (10.0, 5.0, 3600.0)
    assert entry.jitter_s == 1.0


def test_the_plan_of_today_is_the_plan_of_tomorrow() -> None:
    # Agents of different versions must not send each other's canaries again or not at all.
    entry = _by_path(TWO)["sfo|relay-1|acme/other"]
    assert (entry.period_s, entry.phase_s) == (120.0, 45.719845451)
    assert next_due_ns(entry, START) == 1_700_000_086_093_161_721


PLANS = st.builds(
    lambda period, phase, jitter: PathPlan(
        Path("sfo", "r", "acme/in"), period, phase * period, 60.0, 1800.0, jitter * period
    ),
    st.floats(0.001, 1e6),
    st.floats(0, 0.999),
    st.floats(0, 0.1),
)


@settings(deadline=None)
@given(PLANS, st.integers(-(10**15), 2 * 10**18))
def test_next_due_is_the_first_due_time_after(entry: PathPlan, after: int) -> None:
    slot = slot_after(entry, after)
    assert due_ns(entry, slot - 1) <= after < due_ns(entry, slot)
    assert next_due_ns(entry, after) == due_ns(entry, slot)


@settings(deadline=None)
@given(PLANS, st.integers(0, 2 * 10**18))
def test_due_times_ascend_within_their_jitter(entry: PathPlan, after: int) -> None:
    times = list(islice(due_times_ns(entry, after), 20))
    assert all(earlier < later for earlier, later in pairwise(times))
    period, jitter = round(entry.period_s * S), round(entry.jitter_s * S)
    first = slot_after(entry, after)
    bases = [round(entry.phase_s * S) + (first + index) * period for index in range(20)]
    late = [time - base for time, base in zip(times, bases, strict=True)]
    assert all(0 <= delay < max(jitter, 1) for delay in late)


def test_jitter_is_spread_over_its_range() -> None:
    entry = PathPlan(Path("sfo", "r", "acme/in"), 100.0, 0.0, 60.0, 1800.0, 10.0)
    late = [due_ns(entry, slot) - slot * 100 * S for slot in range(1000)]
    tenths = Counter(delay // S for delay in late)
    assert sorted(tenths) == list(range(10))
    assert all(60 <= count <= 140 for count in tenths.values())


def _moved(before: Config, after: Config) -> set[str]:
    old, new = _by_path(before), _by_path(after)
    return {path for path in old.keys() & new.keys() if old[path] != new[path]}


SIZES = st.integers(1, 4)


@settings(deadline=None)
@given(SIZES, SIZES, SIZES, st.data())
def test_a_small_edit_moves_no_other_stream(
    relays: int, agents: int, boxes: int, data: st.DataObject
) -> None:
    names = [f"agent-{number}" for number in range(agents)]
    customers = [
        _customer("acme", [f"box-{n}" for n in range(boxes)], [{"relays": {"pool": "mx"}}]),
        _customer("globex", ["in"], [{"relays": "relay-0", "interval": "45s"}, {"relays": "x"}]),
    ]
    base = _config([*_relays(relays), {"name": "x"}], names, customers)
    third = _customer("initech", ["in", "out"], [{"per": "path"}])
    edited = _customer("globex", ["in", "more"], [{"relays": "x", "interval": "10s"}])
    edits = {
        "a relay more": _config([*_relays(relays + 1), {"name": "x"}], names, customers),
        "a customer more": _config(
            [*_relays(relays), {"name": "x"}], names, [third, *reversed(customers)]
        ),
        "a customer less": _config([*_relays(relays), {"name": "x"}], names, customers[:1]),
        "another customer edited": _config(
            [{"name": "x"}, *reversed(_relays(relays))], names, [edited, customers[0]]
        ),
        "a relay edited": _config(
            [
                *_relays(relays),
                {"name": "x", "host": "elsewhere.example", "rotation": "out", "port": 587},
            ],
            names,
            customers,
        ),
    }
    edit = data.draw(st.sampled_from(sorted(edits)))
    moved = _moved(base, edits[edit])
    assert all("|globex/" in path for path in moved)
    if edit != "another customer edited":
        assert moved == set()


def test_naming_one_relay_more_moves_none_of_the_named() -> None:
    def config(*relays: str) -> Config:
        rules: list[dict[str, Any]] = [
            {"relays": list(relays)},
            {"relays": "relay-3", "agents": "lon"},
        ]
        return _config(_relays(4), ["lon", "sfo"], [_customer("acme", ["in"], rules)])

    assert _moved(config("relay-0", "relay-1"), config("relay-2", "relay-1", "relay-0")) == set()


def test_rates_count_what_the_due_times_bring() -> None:
    whole = plan(TWO)
    minutes = 40
    sent: dict[str, Counter[str]] = {
        "relays": Counter(),
        "mailboxes": Counter(),
        "agents": Counter(),
    }
    for entry in whole.paths():
        for time in due_times_ns(entry, START):
            if time > START + minutes * 60 * S:
                break
            sent["relays"][entry.path.relay] += 1
            sent["mailboxes"][entry.path.mailbox] += 1
            sent["agents"][entry.path.agent] += 1
    rates = whole.rates()
    for kind, planned in (
        ("relays", rates.relays),
        ("mailboxes", rates.mailboxes),
        ("agents", rates.agents),
    ):
        counted = {name: count / minutes for name, count in sent[kind].items()}
        assert counted == pytest.approx(planned, rel=0.05)
    assert {name: usage.paths for name, usage in rates.customers.items()} == {
        "acme": 12,
        "globex": 3,
    }
    assert rates.customers["acme"].per_minute == pytest.approx(6.0)


def test_shares_divide_each_budget_by_planned_rate() -> None:
    shares = plan(TWO).shares()
    assert shares["lon"].relays["relay-0"] + shares["sfo"].relays["relay-0"] == pytest.approx(120)
    # 1 of acme's 2 a minute is lon's; sfo has the other one and globex's.
    assert shares["lon"].relays["relay-0"] == pytest.approx(40)
    assert shares["sfo"].mailboxes == pytest.approx(
        {"acme/in": 15.0, "acme/other": 15.0, "globex/in": 30.0}
    )
    assert "globex/in" not in shares["lon"].mailboxes


def test_a_config_without_canaries_has_an_empty_plan() -> None:
    empty = plan(Config(version=1))
    assert list(empty.paths()) == []
    assert empty.shares() == {}
    assert empty.path_count == 0
