"""Runs many seeds and tells of those that fail."""

import re
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.fleet_simulation.invariants import judge
from tests.fleet_simulation.run import Record, play
from tests.fleet_simulation.scenario import draw
from tests.simulation.report import Failure

SEEDS = Path(__file__).with_name("seeds.txt")
# Memory, where there is such a place: the schedules sync their files to it hundreds of times.
_SHM = Path("/dev/shm")


def trace_of(record: Record) -> str:
    """What happened, line by line; times in true seconds."""
    lines = [f"  {at_s:9.3f} {text[:300]}" for at_s, text in record.world.lines]
    return "\n".join([f"  {record.world.scenario}", *lines])


@contextmanager
def played(seed: int) -> Iterator[Record]:
    """What a seed's schedule leaves, in a directory of its own."""
    with tempfile.TemporaryDirectory(dir=_SHM if _SHM.is_dir() else None) as directory:
        yield play(draw(seed), Path(directory))


def run_seed(seed: int) -> Failure | None:
    """Play one seed and judge it."""
    with played(seed) as record:
        findings = judge(record)
    return Failure(seed, findings, trace_of(record)) if findings else None


def failures(seeds: Iterable[int]) -> Iterator[Failure]:
    """The failing ones of those seeds."""
    for seed in seeds:
        failure = run_seed(seed)
        if failure is not None:
            yield failure


def known_seeds() -> list[int]:
    """Seeds that once failed, from ``seeds.txt``."""
    text = SEEDS.read_text(encoding="utf-8")
    return [int(number) for number in re.findall(r"^\d+", text, re.MULTILINE)]
