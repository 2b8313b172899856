"""A few hundred schedules in every run of the tests; ``python -m tests.simulation`` runs more."""

from collections import Counter
from pathlib import Path

import pytest

from probes.contract.outcome import Outcome, Timing, tell
from tests.simulation.report import failures, known_seeds, trace_of
from tests.simulation.run import play
from tests.simulation.scenario import draw

COUNT, PARTS = 120, 6


@pytest.mark.parametrize("part", range(PARTS))
def test_schedules_end_well(part: int) -> None:
    assert not [str(failure) for failure in failures(range(part, COUNT, PARTS))]


def test_schedules_that_once_ended_badly_end_well() -> None:
    assert not [str(failure) for failure in failures(known_seeds())]


def test_the_same_seed_gives_the_same_schedule(tmp_path: Path) -> None:
    traces = []
    for run in ("first", "second"):
        (tmp_path / run).mkdir()
        traces.append(trace_of(play(draw(7), tmp_path / run)))
    assert traces[0] == traces[1]
    assert len(traces[0].splitlines()) > 50


def test_schedules_reach_every_outcome(tmp_path: Path) -> None:
    """A world in which nothing went wrong would prove nothing."""
    outcomes: Counter[Outcome] = Counter()
    timings: Counter[Timing | None] = Counter()
    duplicates = junk = 0
    for seed in range(220, 260):
        (tmp_path / str(seed)).mkdir()
        for events in play(draw(seed), tmp_path / str(seed)).by_canary().values():
            verdict = tell(event for _, event in events).verdict()
            outcomes[verdict.outcome] += 1
            timings[verdict.timing] += 1
            duplicates += verdict.duplicates
            junk += verdict.junk
    assert set(outcomes) - {Outcome.PENDING} == set(Outcome) - {Outcome.PENDING}
    assert set(timings) == {*Timing, None}
    assert duplicates > 5
    assert junk > 1
