"""The simulation can fail: whatever is broken on purpose is caught within a few dozen seeds."""

import pytest

from tests.fleet_simulation.broken import BROKEN, WHERE
from tests.fleet_simulation.report import SCHEDULES
from tests.fleet_simulation.scenario import draw

WITHIN = 500


@pytest.mark.parametrize("name", BROKEN)
def test_what_is_broken_is_caught(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    can_show = WHERE.get(name)
    seeds = [seed for seed in range(WITHIN) if can_show is None or can_show(draw(seed))]
    BROKEN[name](monkeypatch)
    assert next(SCHEDULES.failures(seeds[:36]), None) is not None
