"""A few hundred schedules in every run of the tests; ``python -m tests.simulation`` runs more."""

from collections import Counter

import pytest

from probes.contract.outcome import Outcome, Timing, tell
from tests.simulation.report import KNOWN_SEEDS, SCHEDULES, trace_of

COUNT, PARTS = 120, 6


@pytest.mark.parametrize("part", range(PARTS))
def test_schedules_end_well(part: int) -> None:
    assert not [str(failure) for failure in SCHEDULES.failures(range(part, COUNT, PARTS))]


def test_schedules_that_once_ended_badly_end_well() -> None:
    assert not [str(failure) for failure in SCHEDULES.failures(KNOWN_SEEDS)]


def test_the_same_seed_gives_the_same_schedule() -> None:
    traces = []
    for _ in range(2):
        with SCHEDULES.played(7) as record:
            traces.append(trace_of(record))
    assert traces[0] == traces[1]
    assert len(traces[0].splitlines()) > 50


def test_schedules_reach_every_outcome() -> None:
    """A world in which nothing went wrong would prove nothing."""
    outcomes: Counter[Outcome] = Counter()
    timings: Counter[Timing | None] = Counter()
    duplicates = junk = 0
    for seed in range(220, 260):
        with SCHEDULES.played(seed) as record:
            canaries = record.by_canary()
        for events in canaries.values():
            verdict = tell(event for _, event in events).verdict()
            outcomes[verdict.outcome] += 1
            timings[verdict.timing] += 1
            duplicates += verdict.duplicates
            junk += verdict.junk
    assert set(outcomes) - {Outcome.PENDING} == set(Outcome) - {Outcome.PENDING}
    assert set(timings) == {*Timing, None}
    assert duplicates > 5
    assert junk > 1
