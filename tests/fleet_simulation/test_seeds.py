"""Some schedules in every run of the tests; ``python -m tests.fleet_simulation`` runs more."""

from collections import Counter

import pytest

from tests.fleet_simulation.report import KNOWN_SEEDS, SCHEDULES, trace_of

COUNT, PARTS = 96, 4


@pytest.mark.parametrize("part", range(PARTS))
def test_schedules_end_well(part: int) -> None:
    assert not [str(failure) for failure in SCHEDULES.failures(range(part, COUNT, PARTS))]


def test_schedules_that_once_ended_badly_end_well() -> None:
    assert not [str(failure) for failure in SCHEDULES.failures(KNOWN_SEEDS)]


def test_the_same_seed_gives_the_same_schedule() -> None:
    traces = []
    for _ in range(2):
        with SCHEDULES.played(6) as record:
            traces.append(trace_of(record))
    assert traces[0] == traces[1]
    assert len(traces[0].splitlines()) > 50


def test_schedules_reach_what_they_are_about() -> None:
    """A world in which nothing went wrong would prove nothing."""
    told: Counter[str] = Counter()
    words = (
        "KILLED", "at point commit-after", "at point answered", "spool damaged", "spool dropped",
        "answer 200", "answer 401", "answer 400", "answer 429", "answer 503", "an old request",
        "TimeoutError", "a new segment", "log: dropped up to", "events are missing",
        "events were refused", "rollup: ", "not written", "revision 2",
    )  # fmt: skip
    for seed in range(300, 340):
        with SCHEDULES.played(seed) as record:
            trace = trace_of(record)
        told.update(word for word in words if word in trace)
    assert set(told) == set(words)
