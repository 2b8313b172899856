"""Schedules of a simulation seed by seed: played in memory, judged, told of when they fail."""

import re
import tempfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Generic, TypeVar

Record = TypeVar("Record")

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


@dataclass(frozen=True, slots=True)
class Schedules(Generic[Record]):
    """A simulation whose schedules are drawn from seeds."""

    play: Callable[[int, Path], Record]
    """Plays a seed's schedule in an empty directory; what it leaves."""
    judge: Callable[[Record], list[str]]
    """What went wrong."""
    trace: Callable[[Record], str]
    """What happened, line by line."""

    @contextmanager
    def played(self, seed: int) -> Iterator[Record]:
        """What a seed's schedule leaves, in a directory of its own."""
        with tempfile.TemporaryDirectory(dir=_SHM if _SHM.is_dir() else None) as directory:
            yield self.play(seed, Path(directory))

    def failures(self, seeds: Iterable[int]) -> Iterator[Failure]:
        """The failing ones of those seeds."""
        for seed in seeds:
            with self.played(seed) as record:
                findings = self.judge(record)
            if findings:
                yield Failure(seed, findings, self.trace(record))


def trace(scenario: object, lines: Iterable[tuple[float, str]]) -> str:
    """A schedule and what happened, times in true seconds."""
    return "\n".join([f"  {scenario}", *(f"  {at_s:9.3f} {text[:300]}" for at_s, text in lines)])


def known_seeds(file: Path) -> list[int]:
    """The seeds that once failed: the numbers at the beginning of the file's lines."""
    text = file.read_text(encoding="utf-8")
    return [int(number) for number in re.findall(r"^\d+", text, re.MULTILINE)]
