"""New assignments at random moments of schedules in which everything else goes wrong as well."""

from pathlib import Path

import pytest

from tests.simulation.invariants import judge
from tests.simulation.run import play
from tests.simulation.scenario import reassigning

COUNT, PARTS = 60, 3


@pytest.mark.parametrize("part", range(PARTS))
def test_whatever_is_assigned_when_schedules_end_well(part: int, tmp_path: Path) -> None:
    faults: dict[int, list[str]] = {}
    for seed in range(part, COUNT, PARTS):
        (tmp_path / str(seed)).mkdir()
        found = judge(play(reassigning(seed), tmp_path / str(seed)))
        if found:
            faults[seed] = found
    assert faults == {}
