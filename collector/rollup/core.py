"""The rollup itself: events in the order of the log go in, changes to write down come out.

It reads no clock: time is that of the log, the latest of what its entries say of when they were
taken in. What it computes depends on the order of the log alone, so it is the same whatever the
batches it came in, and whatever restarts lay in between.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any, Protocol, TypeVar

import msgspec

from collector.log.engine import Entry
from collector.rollup import cells, streams
from collector.rollup.canary import IGNORED, NO_SERIES, Canary, RowKey, id_of, row_key
from collector.rollup.cells import Cell
from collector.rollup.latest import Latest, newest
from collector.rollup.revisions import REMEMBER_S, Named, Revisions, named_by
from collector.rollup.series import Registry, Series
from collector.rollup.silence import SILENCE_NS, Silence
from probes.contract.events import (
    Arrival,
    Bounce,
    CanaryEvent,
    Config,
    Expiry,
    Intent,
    Submission,
    Tick,
)
from probes.contract.metrics.overtaking import Handover, Overtaking, handover
from probes.contract.metrics.reordering import Reordering
from probes.contract.outcome import Outcome
from probes.contract.units import NS_PER_S

COLLECTOR = "collector"
"""The source of the collector's own events: nobody's life is told by these."""
CACHED = 50_000
"""Canaries, and streams, that are kept in memory."""

_DECODERS: dict[str, msgspec.json.Decoder[CanaryEvent | Config | Tick]] = {
    kind: msgspec.json.Decoder(shape)
    for kind, shape in (
        ("intent", Intent),
        ("submission", Submission),
        ("arrival", Arrival),
        ("expiry", Expiry),
        ("bounce", Bounce),
        ("config", Config),
        ("tick", Tick),
    )
}
EVENTS = 64
"""Events of a canary whose places in the log are kept: far more than an honest agent reports."""
_MOST = 1 << 63
_Decoded = tuple[Entry, Any, RowKey]
"""An entry, its event unless nothing of that can be counted, and the canary that it is about."""
_NO_KEY: RowKey = b""
_NONE_YET = Latest()
K = TypeVar("K")
V = TypeVar("V")


class Shelf(Protocol):
    """Where what is not in memory lies."""

    def canaries(self, keys: Iterable[RowKey]) -> list[Canary]:
        """Those of the canaries that are there."""

    def stream(self, name: str) -> tuple[bytes, int] | None:
        """A stream's state, and the log's time when it was used last."""


@dataclass(slots=True)
class Counters:
    """What went wrong with the log's events; they only ever grow."""

    undecodable: int = 0
    bad_revisions: int = 0
    without_intent: int = 0


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
    start: Start


class Core:
    """The state of a rollup, ahead of its file by what :meth:`changes` has not given yet."""

    def __init__(self, shelf: Shelf, start: Start) -> None:
        self._shelf = shelf
        self._start = start
        self.registry = Registry(start.series)
        self._revisions = Revisions(start.revisions)
        self._silence = Silence(start.heard.items(), start.tick_ns, start.listening_ns)
        self._latest = start.latest
        self._canaries: dict[RowKey, Canary] = {}
        self._streams: dict[str, tuple[streams.Stream, int]] = {}
        self._tags: dict[tuple[object, str], int] = {}
        self._touched: dict[int, Canary] = {}
        self._streams_touched: set[str] = set()
        self._ended: list[RowKey] = []
        self._heard: dict[str, int] = {}
        self._revisions_new: list[tuple[str, Named]] = []
        self._revisions_old: list[str] = []
        for canary in sorted(start.open, key=lambda one: one.number):
            self._canaries[canary.key] = canary
            self._follow(canary)
        self._handlers: dict[str, Callable[..., None]] = {
            "intent": self._intent,
            "submission": self._submission,
            "arrival": self._arrival,
            "expiry": self._plain,
            "bounce": self._plain,
        }

    def take(self, entries: Iterable[Entry]) -> None:
        """Fold the next entries of the log."""
        decoded = [self._decode(entry) for entry in entries]
        self._prefetch(key for _, _, key in decoded if key)
        start, heard, handlers = self._start, self._heard, self._handlers
        for entry, event, key in decoded:
            start.cursor = entry.cursor
            if entry.ingested_at_ns > start.clock_ns:
                start.clock_ns = entry.ingested_at_ns
            if entry.source != COLLECTOR:
                heard[entry.source] = start.clock_ns
            if key:
                canary = self._canary(key)
                if len(canary.cursors) < EVENTS:
                    canary.cursors.append(entry.cursor)
                handlers[entry.kind](canary, event)
            elif event is not None:
                # What time it is now says who was silent until then.
                self._silence.hear(heard)
                self._own(event)
        self._silence.hear(heard)

    def _own(self, event: Config | Tick) -> None:
        if isinstance(event, Tick):
            self._tick(event)
        else:
            self._config(event)

    def _decode(self, entry: Entry) -> _Decoded:
        decoder = _DECODERS.get(entry.kind)
        if decoder is None:
            return entry, None, _NO_KEY
        try:
            event = decoder.decode(entry.body)
        except msgspec.MsgspecError:
            event = None
        if event is None or not _fits(event):
            # Nothing of it can be counted, and the log keeps it: it must not stop the rest.
            self._start.counters.undecodable += 1
            return entry, None, _NO_KEY
        if isinstance(event, Config | Tick):
            return entry, event, _NO_KEY
        return entry, event, row_key(event.canary, event.path.agent)

    def _prefetch(self, keys: Iterable[RowKey]) -> None:
        missing = {key for key in keys if key not in self._canaries}
        for canary in self._shelf.canaries(missing):
            self._canaries[canary.key] = canary

    def _canary(self, key: RowKey) -> Canary:
        canary = self._canaries.get(key)
        if canary is None or canary.born_ns < self._start.forget_before_ns:
            start = self._start
            canary = self._canaries[key] = Canary(key, start.next_number, start.clock_ns)
            start.next_number += 1
            self._silence.opened(canary.number, canary.born_ns, key)
        self._touched[canary.number] = canary
        return canary

    def _intent(self, canary: Canary, event: Intent) -> None:
        canary.story = canary.story.fold(event)
        if canary.series == NO_SERIES:
            canary.at_ns = event.at_ns
            canary.due_ns = event.at_ns + int(event.loss_after_s * NS_PER_S) + SILENCE_NS
            start = self._start
            if canary.start_s < start.kept_before_s and start.cursor <= start.kept_cursor:
                canary.series = IGNORED
                self._silence.closed(canary.number)
                return
            tag = (event.path, event.revision)
            series = self._tags.get(tag)
            if series is None:
                labels = self._revisions.labels_of(event.path, event.revision)
                series = self._tags[tag] = self.registry.number(event.path, labels)
            canary.series = series
            self._silence.awaits(canary.due_ns, canary.number, canary.key, event.path.agent)

    def _submission(self, canary: Canary, event: Submission) -> None:
        canary.story = canary.story.fold(event)
        if canary.handover is None:
            canary.handover = handover(event)

    def _arrival(self, canary: Canary, event: Arrival) -> None:
        first = not canary.story.sightings
        canary.story = canary.story.fold(event)
        if event.carrier is not None:
            wrong_relay = event.carrier.relay_as_planned is False
            wrong_egress = event.carrier.egress_as_planned is False
            canary.carriers |= wrong_relay | wrong_egress << 1
        if first or canary.kept:
            judged = self._judge(event, canary.handover)
            if first:
                canary.judged = judged

    def _plain(self, canary: Canary, event: Expiry | Bounce) -> None:
        canary.story = canary.story.fold(event)

    def _judge(self, event: Arrival, given: Handover | None) -> Cell:
        arrived = streams.span_of(event)
        cell: Cell = {}
        path = self._stream(streams.path_stream(event))
        if isinstance(path, Reordering):
            cell |= streams.judge_order(path, event, arrived)
        mailbox = self._stream(streams.mailbox_stream(event))
        if isinstance(mailbox, Overtaking):
            cell |= streams.judge_overtaking(mailbox, event, given, arrived)
        return cell

    def _stream(self, name: str) -> streams.Stream:
        self._streams_touched.add(name)
        start = self._start
        known = self._streams.get(name)
        if known is None and (found := self._shelf.stream(name)) is not None:
            known = streams.unpack(name, found[0]), found[1]
        if known is None or known[1] < start.forget_before_ns:
            known = streams.new(name), 0
        self._streams[name] = known[0], start.clock_ns
        return known[0]

    def _config(self, event: Config) -> None:
        named = named_by(event.document)
        if named is None:
            self._start.counters.bad_revisions += 1
            return
        self._start.remember_s = named.remember_s
        self._revisions_old += self._revisions.add(event.revision, named)
        self._revisions_new.append((event.revision, named))
        self._tags.clear()

    def _tick(self, event: Tick) -> None:
        start = self._start
        start.clock_ns = max(start.clock_ns, event.at_ns)
        for number, key in self._silence.tick(event.at_ns):
            self._give_up(number, key)
        before_ns = event.at_ns - int(start.remember_s * NS_PER_S)
        start.forget_before_ns = max(start.forget_before_ns, before_ns)
        for number, key in self._silence.too_old(start.forget_before_ns):
            self._give_up(number, key)

    def _give_up(self, number: int, key: RowKey) -> None:
        """Nobody is left who could tell the end of this canary."""
        canary = self._canaries.get(key)
        if canary is None:
            found = self._shelf.canaries([key])
            canary = found[0] if found else None
        if canary is None or canary.number != number:
            return
        if canary.series == NO_SERIES:
            self._start.counters.without_intent += 1
        elif not canary.silent and canary.story.verdict().outcome is Outcome.PENDING:
            canary.silent = True
            self._canaries[key] = canary
            self._touched[number] = canary
            self._silence.closed(number)

    def _follow(self, canary: Canary) -> None:
        self._silence.opened(canary.number, canary.born_ns, canary.key)
        if canary.series > NO_SERIES:
            path = self.registry.tagged(canary.series).path
            self._silence.awaits(canary.due_ns, canary.number, canary.key, path.agent)

    def changes(self) -> Changes:
        """What was changed since this was asked last, to be written in one transaction."""
        added: defaultdict[tuple[int, int], Cell] = defaultdict(dict)
        latest: dict[str, Latest] = {}
        for canary in self._touched.values():
            self._settle(canary, added, latest)
        start = self._start
        start.tick_ns, start.listening_ns = self._silence.tick_ns, self._silence.listening_ns
        found = Changes(
            canaries=list(self._touched.values()),
            cells={at: cell for at, cell in added.items() if cell},
            streams={name: (streams.pack(self._streams[name][0]), self._streams[name][1])
                     for name in self._streams_touched},
            series=self.registry.take_new(),
            revisions=self._revisions_new,
            forgotten_revisions=self._revisions_old,
            heard=self._heard,
            latest=latest,
            start=start,
        )  # fmt: skip
        self._touched, self._streams_touched, self._heard = {}, set(), {}
        self._revisions_new, self._revisions_old = [], []
        return found

    def _settle(
        self,
        canary: Canary,
        added: defaultdict[tuple[int, int], Cell],
        latest: dict[str, Latest],
    ) -> None:
        if canary.series == NO_SERIES:
            return
        verdict = canary.verdict()
        canary.ended = verdict.outcome is not Outcome.PENDING
        if canary.ended:
            self._silence.closed(canary.number)
            self._ended.append(canary.key)
        if canary.series == IGNORED:
            return
        cell = canary.cell(verdict)
        cells.add(added[canary.series, canary.start_s], cells.difference(cell, canary.applied))
        canary.applied = cell
        path = self.registry.tagged(canary.series).name
        told = newest(canary.at_ns, canary.number, id_of(canary.key), verdict)
        latest[path] = self._latest[path] = self._latest.get(path, _NONE_YET).fold(told)

    def shrink(self) -> None:
        """Let go of what the file holds by now; called when the changes are on the disk."""
        for key in self._ended:
            # Little more is heard of one that has ended.
            self._canaries.pop(key, None)
        self._ended = []
        _cut(self._canaries)
        _cut(self._streams)


def _cut(cache: dict[K, V]) -> None:
    for key in list(cache)[: max(0, len(cache) - CACHED)]:
        del cache[key]


def _fits(event: CanaryEvent | Config | Tick) -> bool:
    """Whether its numbers are such that a database takes them."""
    match event:
        case Intent():
            return 0 <= event.at_ns < _MOST and 0 <= event.loss_after_s < 1e9
        case Submission():
            return 0 <= event.sent_ns < _MOST and 0 <= event.at_ns < _MOST
        case Arrival():
            # The sum is past the most when one of them is: they are none of them negative.
            low = min(event.sent_ns, event.seen_ns, event.path_seq, event.mailbox_seq)
            total = event.sent_ns + event.seen_ns + event.path_seq + event.mailbox_seq
            uid = event.uidvalidity | event.uid
            bounds = event.delay
            return (
                low >= 0
                and total < _MOST
                and 0 <= uid < _MOST
                and -1e10 < bounds.lo < 1e10
                and -1e10 < bounds.hi < 1e10
            )
        case Tick():
            return 0 <= event.at_ns < _MOST
        case _:
            return True
