"""Series: what cells are counted by, each under a small number of its own.

The smallest are those of paths, one for each set of labels that the path was ever sent under. From
these follow all others: a canary counts once in its path's series and once in each series that the
path's names and labels stand for.
"""

from collections.abc import Iterable, Iterator
from enum import StrEnum
from typing import NamedTuple

from collector.rollup.revisions import Labels
from probes.contract.names import Path, parse_path


class Dimension(StrEnum):
    """What a series is about; its key is the name, and of a label ``relay:provider=aws``."""

    ALL = "all"
    PATH = "path"
    RELAY = "relay"
    CUSTOMER = "customer"
    MAILBOX = "mailbox"
    AGENT = "agent"
    LABEL = "label"


class Series(NamedTuple):
    """A series as it lies in the file. ``labels`` are a path's; others have none."""

    number: int
    dimension: str
    key: str
    labels: Labels


class Tagged(NamedTuple):
    """A path under one set of labels, and the numbers of the other series that it counts in.

    ``name`` is the path as it is written. The numbers stand in groups that many paths have in
    common, such as those that follow from the relay: what is counted of all these paths is added up
    once, and then to each series of the group.
    """

    path: Path
    name: str
    groups: tuple[tuple[int, ...], ...]


def _groups(path: Path, labels: Labels) -> Iterator[list[tuple[str, str]]]:
    """Dimension and key of each series, by what they follow from: relay, agent, mailbox."""
    of_agent = [label for label in labels if label.startswith("agent:")]
    of_mailbox = [label for label in labels if label.startswith(("mailbox:", "customer:"))]
    rest = [label for label in labels if label not in of_agent and label not in of_mailbox]
    yield [(Dimension.ALL.value, ""), (Dimension.RELAY.value, path.relay), *_labelled(rest)]
    yield [(Dimension.AGENT.value, path.agent), *_labelled(of_agent)]
    box = [(Dimension.CUSTOMER.value, path.customer), (Dimension.MAILBOX.value, path.mailbox)]
    yield [*box, *_labelled(of_mailbox)]


def _labelled(labels: Iterable[str]) -> Iterator[tuple[str, str]]:
    return ((Dimension.LABEL.value, label) for label in labels)


class Registry:
    """All series so far. New ones are numbered in the order of the log, from 1."""

    def __init__(self, known: Iterable[Series] = ()) -> None:
        self._numbers: dict[tuple[str, str, Labels], int] = {}
        self._tagged: dict[int, Tagged] = {}
        self._new: list[Series] = []
        paths = []
        for series in known:
            self._numbers[series.dimension, series.key, series.labels] = series.number
            if series.dimension == Dimension.PATH:
                paths.append(series)
        for series in paths:
            self._tag(series.number, parse_path(series.key), series.labels)

    def number(self, path: Path, labels: Labels) -> int:
        """The number of a path's series, made now if there is none."""
        key = (Dimension.PATH.value, str(path), labels)
        number = self._numbers.get(key)
        if number is None:
            number = self._add(*key)
            self._tag(number, path, labels)
        return number

    def tagged(self, number: int) -> Tagged:
        """The path of a path's series and what else it counts in."""
        return self._tagged[number]

    def take_new(self) -> list[Series]:
        """The series made since this was asked last; they have to be written down."""
        new, self._new = self._new, []
        return new

    def _tag(self, number: int, path: Path, labels: Labels) -> None:
        groups = [
            tuple(self._find_or_add(dimension, key) for dimension, key in group)
            for group in _groups(path, labels)
        ]
        self._tagged[number] = Tagged(path, str(path), tuple(groups))

    def _find_or_add(self, dimension: str, key: str) -> int:
        known = self._numbers.get((dimension, key, ()))
        return self._add(dimension, key, ()) if known is None else known

    def _add(self, dimension: str, key: str, labels: Labels) -> int:
        number = len(self._numbers) + 1
        self._numbers[dimension, key, labels] = number
        self._new.append(Series(number, dimension, key, labels))
        return number
