"""The configuration's files as the collector sees them: what they hold, and if they changed."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

from probes.contract.config.loader import Checked, check_sources
from probes.contract.config.source import CUSTOMERS, Source
from probes.contract.errors import Problem


class Files(NamedTuple):
    """The texts of a main file and its customers' files, and what is wrong with their names."""

    sources: Sequence[Source]
    problems: Sequence[Problem] = ()
    warnings: Sequence[Problem] = ()

    def check(self) -> Checked:
        """What ``mailcanary check`` would say."""
        checked = check_sources(self.sources)
        problems = sorted([*self.problems, *checked.problems])
        config = None if problems else checked.config
        return Checked(config, problems, sorted([*self.warnings, *checked.warnings]))

    def with_customer(self, source: Source) -> "Files":
        """The same files with one customer's in the place of the one of its name, or added."""
        others = [other for other in self.sources if other.name != source.name]
        return self._replace(sources=[*others, source])

    def without(self, name: str) -> "Files":
        """The same files but the one of that name."""
        return self._replace(sources=[source for source in self.sources if source.name != name])


ReadFiles = Callable[[], Files]
"""Reads the files as they are on the disk now; never raises for what they hold."""

Signature = tuple[tuple[str, int, int, int], ...]


def signature(main: Path) -> Signature:
    """Changes whenever the main file or one in ``customers.d`` is written, replaced or removed."""
    directory = main.parent / CUSTOMERS
    try:
        entries = sorted(directory.iterdir())
    except OSError:
        entries = []
    found = []
    for file in (main, *entries):
        try:
            stat = file.stat()
        except OSError:
            continue
        found.append((str(file), stat.st_mtime_ns, stat.st_size, stat.st_ino))
    return tuple(found)
