"""Schedules that once ended wrongly, written out: seeds mean something else some day."""

from dataclasses import replace
from pathlib import Path

import pytest

from tests.fleet_simulation.invariants import judge
from tests.fleet_simulation.run import play
from tests.fleet_simulation.scenario import Scenario
from tests.simulation.scenario import Spell

CALM = Scenario(
    seed=1,
    active_s=12.0,
    agents=("sfo",),
    spells=(),
    deaths={"sfo": (), "collector": ()},
    busy_s=0.3,
    batch=5000,
    segment_s=3600.0,
    keep_s=1e6,
    trims=(),
    revisions=(),
    ticks=False,
    oversize=False,
    feed=50,
    per_minute=600,
)


def ends_well(scenario: Scenario, directory: Path) -> None:
    assert judge(play(scenario, directory)) == []


def test_nothing_goes_wrong(tmp_path: Path) -> None:
    ends_well(CALM, tmp_path)


@pytest.mark.parametrize("what", ["damaged", "nonsense"])
def test_who_is_between_agent_and_collector_costs_no_event(tmp_path: Path, what: str) -> None:
    """The agent dropped event after event while a proxy damaged bodies, or answered 400 itself."""
    spells = (Spell(what, "net-sfo", 2.0, 10.0),)
    ends_well(replace(CALM, spells=spells), tmp_path)
