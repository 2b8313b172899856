"""The configuration's files as the collector sees them: what they hold, and if they changed."""

import os
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from probes.contract.config.document import Document, read
from probes.contract.config.loader import Checked, check_sources
from probes.contract.config.source import CUSTOMERS, Source
from probes.contract.errors import Problem


class Files(NamedTuple):
    """The texts of a main file and its customers' files, and what is wrong with their names."""

    sources: Sequence[Source]
    problems: Sequence[Problem] = ()
    warnings: Sequence[Problem] = ()

    def check(self, as_document: Callable[[Source], Document] = read) -> Checked:
        """What ``mailcanary check`` would say; :func:`check_sources` tells of ``as_document``."""
        checked = check_sources(self.sources, as_document)
        problems = sorted([*self.problems, *checked.problems])
        config = None if problems else checked.config
        return Checked(config, problems, sorted([*self.warnings, *checked.warnings]))

    def with_customer(self, source: Source) -> "Files":
        """The same files with one customer's in the place of the one of its name, or added.

        It comes last: what does not fit with another is then said of the one that is new.
        """
        others = [other for other in self.sources if other.name != source.name]
        return self._replace(sources=[*others, source])

    def without(self, name: str) -> "Files":
        """The same files but the one of that name."""
        return self._replace(sources=[source for source in self.sources if source.name != name])


class Judge:
    """Checks files; the same files, asked for again, are not worked out again.

    That is half of a change over HTTP, whose files are judged before they are written and read
    once they are. Of others, the files that changed are taken out of YAML, and not the thousand
    that did not. May be asked from several threads.
    """

    def __init__(self) -> None:
        # What is in force and what is about to be: while that is written, both are asked for.
        self._judged: list[tuple[Files, Checked]] = []
        self._documents: dict[Source, Document] = {}

    def check(self, files: Files) -> Checked:
        """What ``mailcanary check`` would say of ``files``."""
        known = (_known(*judged, files) for judged in self._judged)
        checked = next((found for found in known if found is not None), None)
        if checked is None:
            checked = self._check(files)
        others = [judged for judged in self._judged if judged[1] is not checked]
        self._judged = [(files, checked), *others][:2]
        return checked

    def _check(self, files: Files) -> Checked:
        before, documents = self._documents, {}

        def as_document(source: Source) -> Document:
            documents[source] = found = before.get(source) or read(source)
            return found

        checked = files.check(as_document)
        self._documents = documents
        return checked


def _known(before: Files, checked: Checked, files: Files) -> Checked | None:
    """What ``checked`` of ``before`` says of ``files``; ``None`` when they are others."""
    if before == files:
        return checked
    config, old, new = checked.config, _customers(before), _customers(files)
    # In faulty ones the order decides which of two that do not go together is complained of.
    if config is None or _others(before) != _others(files) or sorted(old) != sorted(new):
        return None
    # Those of the main file come first, then one of each file, in the order of the files.
    first = len(config.customers) - len(old)
    found = dict(zip(old, config.customers[first:], strict=True))
    customers = (*config.customers[:first], *(found[one] for one in new))
    return checked._replace(config=config.model_copy(update={"customers": customers}))


def _customers(files: Files) -> list[tuple[str, str]]:
    return [(one.name, one.text) for one in files.sources if one.role == "customer"]


def _others(files: Files) -> Files:
    return files._replace(sources=[one for one in files.sources if one.role != "customer"])


ReadFiles = Callable[[], Files]
"""Reads the files as they are on the disk now; never raises for what they hold."""

Signature = frozenset[tuple[str, int, int, int, int]]


def signature(main: Path) -> Signature:
    """Changes whenever the main file or one in ``customers.d`` is written, replaced, removed or
    made readable."""
    found = set(glance(main))
    with suppress(OSError), os.scandir(main.parent / CUSTOMERS) as entries:
        for entry in entries:
            found.update(_mark(entry))
    return frozenset(found)


def glance(main: Path) -> Signature:
    """Changes whenever the main file is written, or a file in ``customers.d`` replaced or removed.

    Not when one is written in place. It costs the same for any number of files.
    """
    return frozenset((*_mark(main), *_mark(main.parent / CUSTOMERS)))


def _mark(entry: "Path | os.DirEntry[str]") -> Signature:
    try:
        stat = entry.stat()
    except OSError:
        return frozenset()
    # The change's time tells of another mode or owner, and of a content whose time was set back.
    times = stat.st_mtime_ns, stat.st_ctime_ns
    return frozenset({(os.fspath(entry), *times, stat.st_size, stat.st_ino)})
