"""The schedules of the fleet's simulation, seed by seed."""

from pathlib import Path

from tests.fleet_simulation.invariants import judge
from tests.fleet_simulation.run import Record, play
from tests.fleet_simulation.scenario import draw
from tests.simulation import seeds


def trace_of(record: Record) -> str:
    """What happened, line by line."""
    return seeds.trace(record.world.scenario, record.world.lines)


SCHEDULES = seeds.Schedules(lambda seed, place: play(draw(seed), place), judge, trace_of)
KNOWN_SEEDS = seeds.known_seeds(Path(__file__).with_name("seeds.txt"))
