"""New assignments at random moments of schedules in which everything else goes wrong as well."""

import pytest

from tests.simulation.report import REASSIGNING

COUNT, PARTS = 60, 3


@pytest.mark.parametrize("part", range(PARTS))
def test_whatever_is_assigned_when_schedules_end_well(part: int) -> None:
    assert not [str(failure) for failure in REASSIGNING.failures(range(part, COUNT, PARTS))]
