"""Runs many seeds and tells of those that fail."""

import re
import tempfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from tests.simulation.invariants import judge
from tests.simulation.record import Record
from tests.simulation.run import play
from tests.simulation.scenario import draw

SEEDS = Path(__file__).with_name("seeds.txt")
# Memory, where there is such a place: the schedules sync their files to it hundreds of times.
_SHM = Path("/dev/shm")


@dataclass(frozen=True, slots=True)
class Failure:
    """A seed whose schedule ended wrongly, with its trace."""

    seed: int
    findings: list[str]
    trace: str

    def __str__(self) -> str:
        found = "\n".join(f"  {finding[:600]}" for finding in self.findings[:20])
        return f"seed {self.seed}: {len(self.findings)} findings\n{found}\n{self.trace}"


def trace_of(record: Record) -> str:
    """What happened, line by line; times in true seconds."""
    lines = [f"  {at_s:9.3f} {text[:200]}" for at_s, text in record.world.lines]
    return "\n".join([f"  {record.scenario}", *lines])


def run_seed(seed: int) -> Failure | None:
    """Play one seed in a directory of its own."""
    with tempfile.TemporaryDirectory(dir=_SHM if _SHM.is_dir() else None) as directory:
        record = play(draw(seed), Path(directory))
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
