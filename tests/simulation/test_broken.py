"""The simulation can fail: every agent that is broken on purpose is caught within a few seeds."""

import pytest

from tests.simulation.broken import BROKEN, WHERE
from tests.simulation.report import SCHEDULES
from tests.simulation.scenario import draw

WITHIN = 1000


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_agent_is_caught(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    can_show = WHERE.get(name)
    seeds = (seed for seed in range(WITHIN) if can_show is None or can_show(draw(seed)))
    BROKEN[name](monkeypatch)
    assert next(SCHEDULES.failures(seeds), None) is not None
