"""What a rollup is taken up from, and what it gives to be written down."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Protocol

from collector.rollup.canary import Canary, RowKey
from collector.rollup.cells import Cell
from collector.rollup.latest import Latest
from collector.rollup.looks import LookKey, LookRow, LookState
from collector.rollup.queued import Place, Sighting
from collector.rollup.revisions import REMEMBER_S, Named
from collector.rollup.series import Series


class Shelf(Protocol):
    """Where what is not in memory lies."""

    def canaries(self, keys: Iterable[RowKey]) -> list[Canary]:
        """Those of the canaries that are there."""

    def stream(self, name: str) -> tuple[bytes, int] | None:
        """A stream's state, and the log's time when it was used last."""

    def sightings(self, places: Iterable[Place]) -> list[Sighting]:
        """The canaries that were seen in queues under these ids."""


@dataclass(slots=True)
class Counters:
    """What went wrong with the log's events; they only ever grow."""

    undecodable: int = 0
    bad_revisions: int = 0
    without_intent: int = 0
    looks_refused: int = 0


@dataclass(slots=True)
class Start:
    """Where a rollup is taken up: what its file holds, or nothing."""

    cursor: int = 0
    clock_ns: int = 0
    forget_before_ns: int = 0
    remember_s: float = REMEMBER_S
    next_number: int = 1
    kept_before_s: int = 0
    kept_cursor: int = 0
    tick_ns: int = 0
    listening_ns: int = 0
    counters: Counters = field(default_factory=Counters)
    series: list[Series] = field(default_factory=list)
    revisions: list[tuple[str, Named]] = field(default_factory=list)
    heard: dict[str, int] = field(default_factory=dict)
    latest: dict[str, Latest] = field(default_factory=dict)
    open: list[Canary] = field(default_factory=list)
    looks: list[tuple[LookKey, LookState]] = field(default_factory=list)


@dataclass(slots=True)
class Changes:
    """What a batch of entries changed; the rest of what there is to save is in ``start``."""

    canaries: list[Canary]
    cells: dict[tuple[int, int], Cell]
    """By (path's series, start of the minute): what has to be added."""
    streams: dict[str, tuple[bytes, int]]
    series: list[Series]
    revisions: list[tuple[str, Named]]
    forgotten_revisions: list[str]
    heard: dict[str, int]
    latest: dict[str, Latest]
    looks: list[LookRow]
    forgotten_looks: list[LookKey]
    sightings: list[Sighting]
    start: Start
