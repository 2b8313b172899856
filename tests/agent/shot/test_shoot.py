"""Selecting paths, keeping budgets, flying under a name of its own; and one shot in the lab."""

from collections.abc import Collection
from dataclasses import replace
from typing import TypeVar

import pytest

from agent.assignment import Assignment, assign
from agent.caps import Home, Load, held_back
from agent.embedded import as_environment, trusting_policy
from agent.shot.shoot import (
    ShotError,
    Volley,
    Watch,
    all_at_once,
    check_budgets,
    on_path,
    renamed,
    select,
    shoot,
)
from lab.estate import Estate
from lab.faults import ImapHung, InboundFiltered
from probes.contract.config.models import Config
from probes.contract.events import Event, Heartbeat, Intent, Unknown
from probes.contract.names import Path, is_name
from probes.contract.outcome import Outcome
from probes.contract.plan import PathPlan
from tests.agent.fakes import assignment


def test_no_names_select_every_path_and_names_select_theirs() -> None:
    paths = assignment().paths
    relay, mailbox = paths[0].path.relay, paths[0].path.mailbox
    assert select(paths, [], []) == list(paths)
    assert {plan.path.relay for plan in select(paths, [relay], [])} == {relay}
    assert {plan.path.mailbox for plan in select(paths, [], [mailbox])} == {mailbox}


def test_all_unknown_names_are_told_at_once() -> None:
    with pytest.raises(ShotError) as caught:
        select(assignment().paths, ["nope"], ["no/where"])
    first, second = str(caught.value).splitlines()
    found = "--relay: found 'nope', with which there is no path, allowed is one of "
    assert first.startswith(found)
    assert second.startswith("--mailbox: found 'no/where', ")


def test_of_many_names_the_likeliest_are_told() -> None:
    plan = assignment().paths[0]
    paths = [on_path(plan, Path("sfo", f"relay-{n}", "acme/inbox")) for n in range(20)]
    with pytest.raises(ShotError, match="allowed is one of 20 names, such as relay-"):
        select(paths, ["relay7"], [])


def test_no_path_at_all_is_told() -> None:
    with pytest.raises(ShotError, match="found no path, allowed is an agent that a rule"):
        select([], [], [])
    plan = assignment().paths[0]
    one = on_path(plan, Path("sfo", "a1", "acme/inbox"))
    two = on_path(plan, Path("sfo", "a2", "bolt/inbox"))
    with pytest.raises(ShotError, match="found no path with both"):
        select([one, two], ["a1"], ["bolt/inbox"])


@pytest.mark.parametrize(("relays", "mailboxes"), [(1, 30), (30, 9), (1, 1)])
def test_a_shot_within_its_budgets_holds_none_of_its_canaries_back(
    relays: int, mailboxes: int
) -> None:
    plan = assignment().paths[0]
    paths = [
        on_path(plan, Path("sfo", f"r{relay}", f"acme/m{mailbox}"))
        for mailbox in range(mailboxes)
        for relay in range(relays)
    ]
    caps, load = all_at_once(paths), Load()
    for number, one in enumerate(paths):
        home = Home(in_air=number, in_mailbox=number // relays)
        assert held_back(caps, load, home, one.path.relay) is None
        load.sending += 1
        load.per_relay[one.path.relay] += 1


def test_a_shot_that_would_flood_a_mailbox_or_a_relay_is_refused() -> None:
    work = assignment()
    plan = work.paths[0]
    with pytest.raises(ShotError) as caught:
        check_budgets([plan] * 1000, work)
    text = str(caught.value)
    assert f"mailbox {plan.path.mailbox}: found 1000 canaries at once" in text
    assert f"relay {plan.path.relay}: found 1000 canaries at once" in text
    check_budgets([plan], work)


@pytest.mark.parametrize("name", ["sfo", "a" * 63, "a" * 40 + "-._" + "b" * 20])
def test_a_shot_flies_under_a_name_of_its_own(name: str) -> None:
    work = replace(assignment(), agent=name)
    shot: Assignment = renamed(work, work.paths, "a1b2c3")
    assert shot.agent != name
    assert shot.agent.endswith(".probe-a1b2c3")
    assert is_name(shot.agent)
    assert {plan.path.agent for plan in shot.paths} == {shot.agent}
    assert [plan.path.relay for plan in shot.paths] == [plan.path.relay for plan in work.paths]


def test_relays_are_listed_as_people_count() -> None:
    plan = assignment().paths[0]
    names = ["relay-10", "relay-2", "a", "relay-2b"]
    watch = Watch([on_path(plan, Path("sfo", name, "acme/inbox")) for name in names])
    shown = [flown.path.relay for flown in watch.shot().flown]
    assert shown == ["a", "relay-2", "relay-2b", "relay-10"]


def test_a_volley_is_due_at_once_when_it_is_let_go_and_never_again() -> None:
    paths = assignment().paths
    volley = Volley(paths)
    assert volley.due(1_000_000_000) == []
    asked_again_ns = volley.next_ns()
    assert asked_again_ns is not None
    assert asked_again_ns > 1_000_000_000
    volley.let_go()
    assert [slot.plan for slot in volley.replaced([], 0).due(2)] == list(paths)
    volley.let_go()
    assert (volley.due(3), volley.next_ns()) == ([], None)


class Recorded(Watch):
    """Remembers in what order things were told."""

    def __init__(self, plans: Collection[PathPlan]) -> None:
        super().__init__(plans)
        self.events: list[Event | Unknown] = []

    def take(self, event: Event | Unknown) -> None:
        self.events.append(event)
        super().take(event)


async def test_nothing_is_sent_before_the_mailboxes_are_read(
    monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """What an agent does at its start would else be taken for the relays' time."""
    monkeypatch.setenv("TMPDIR", str(tmp_path_factory.mktemp("shot")))
    async with Estate(["relay-1"], ["acme/inbox", "bolt/inbox"]) as estate:
        watch = await shot_at(estate, Recorded)
    told = watch.events
    first = next(index for index, event in enumerate(told) if isinstance(event, Intent))
    [*_, beat] = [event for event in told[:first] if isinstance(event, Heartbeat)]
    assert {health.state for health in beat.mailboxes.values()} == {"ok"}
    assert len(beat.mailboxes) == 3


async def test_a_mailbox_that_is_not_read_holds_nothing_up_for_ever(
    monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory
) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path_factory.mktemp("shot")))
    async with Estate(["relay-1"], ["acme/inbox"]) as estate:
        await estate.order(ImapHung(), mailboxes=["acme/inbox"])
        watch = await shot_at(estate, Recorded, wait_s=2.0)
    (flown,) = watch.shot().flown
    assert flown.begun
    assert flown.verdict.outcome is Outcome.PENDING


W = TypeVar("W", bound=Watch)


async def shot_at(estate: Estate, kind: type[W], wait_s: float = 30.0) -> W:
    """One shot through everything that the estate has."""
    config = Config.model_validate(estate.config_document(timeouts={"connect": "200ms"}))
    work = assign(config)
    mine = renamed(work, work.paths, "a1b2c3")
    watch = kind(mine.paths)
    await shoot(
        mine,
        trusting_policy(config),
        as_environment(estate.secrets, "k" * 32),
        watch,
        wait=lambda: wait_s,
        version="1",
    )
    return watch


async def test_one_shot_through_each_relay_and_nothing_is_left_behind(
    monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory
) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path_factory.mktemp("shot")))
    async with Estate(["relay-1", "relay-2"], ["acme/inbox"]) as estate:
        await estate.order(InboundFiltered(), relays=["relay-2"])
        watch = await shot_at(estate, Watch)
        shot = watch.shot("too late to cut anything")
        assert shot.cut == ""
        outcomes = {one.path.relay: one.verdict.outcome for one in shot.flown}
        assert outcomes == {"relay-1": Outcome.DELIVERED, "relay-2": Outcome.UNREACHABLE}
        assert await estate.mailboxes["acme/inbox"].contents("INBOX") == {}
