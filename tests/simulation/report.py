"""The schedules of the agent's simulation, seed by seed."""

from collections.abc import Callable
from pathlib import Path

from tests.simulation import seeds
from tests.simulation.invariants import judge
from tests.simulation.record import Record
from tests.simulation.run import play
from tests.simulation.scenario import Scenario, draw, reassigning


def trace_of(record: Record) -> str:
    """What happened, line by line."""
    return seeds.trace(record.scenario, record.world.lines)


def _drawn_by(pick: Callable[[int], Scenario]) -> seeds.Schedules[Record]:
    return seeds.Schedules(lambda seed, place: play(pick(seed), place), judge, trace_of)


SCHEDULES = _drawn_by(draw)
REASSIGNING = _drawn_by(reassigning)
KNOWN_SEEDS = seeds.known_seeds(Path(__file__).with_name("seeds.txt"))
