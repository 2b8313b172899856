"""Each benchmark runs, with tiny parameters."""

import itertools

import pytest

from benchmarks import accuracy, cli, roundtrips, schedule
from benchmarks.job import Done


def test_cli() -> None:
    assert [figure.unit for figure in cli.run(times=1)] == ["s"] * 4


def test_schedule() -> None:
    figures = {figure.name: figure for figure in schedule.run(paths=500, rates=(200,), seconds=0.5)}
    assert figures["schedule.200_per_s.error_p50"].value >= 0
    assert figures["schedule.200_per_s.cpu"].value > 0
    assert figures["schedule.setup"].value > 0


def test_phases_are_spread_and_paths_are_different() -> None:
    plans = schedule.path_plans(200, 50.0)
    assert len({plan.path for plan in plans}) == 200
    gaps = sorted(plan.phase_s for plan in plans)
    assert max(b - a for a, b in itertools.pairwise(gaps)) < 1.0


def test_memory() -> None:
    figures = roundtrips.memory(paths=(100, 200), flights=(100, 200))
    assert [figure.name for figure in figures] == [
        "roundtrips.memory_per_path",
        "roundtrips.memory_per_flight",
    ]


def test_medians_over_the_turns() -> None:
    floor = Done(canaries=100, seconds=10.0, cpu_s=0.1, commands=40)
    turns = [
        (Done(canaries=100, seconds=10.0, cpu_s=cpu_s, commands=50), floor)
        for cpu_s in (0.15, 0.2, 0.9)
    ]
    rate, cpu, commands = roundtrips.figures(turns)
    assert (rate.value, rate.baseline_value) == (10.0, 10.0)
    assert (cpu.value, cpu.baseline_value, cpu.ratio) == (2.0, 1.0, 2.0)
    assert "1.5 to 9 in 3 runs" in cpu.baseline
    assert commands.ratio == 1.25


@pytest.mark.servers
@pytest.mark.slow
def test_roundtrips_on_real_servers() -> None:
    figures = roundtrips.run(seconds=1.0, rounds=1)
    assert figures[0].value > 1
    assert figures[1].value > 0


@pytest.mark.servers
@pytest.mark.slow
def test_accuracy_on_real_servers() -> None:
    figures = {figure.name: figure for figure in accuracy.run({5: 3.0})}
    assert figures["accuracy.5_per_s.interval_true"].value > 0.5
    assert figures["accuracy.5_per_s.error_p50_beside_idle"].value > 0
