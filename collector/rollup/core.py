"""The rollup itself: events in the order of the log go in, changes to write down come out.

It reads no clock: time is that of the log, the latest of what its entries say of when they were
taken in. What it computes depends on the order of the log alone, so it is the same whatever the
batches it came in, and whatever restarts lay in between.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable
from typing import Any, TypeVar

import msgspec

from collector.log.engine import Entry
from collector.rollup import cells, streams
from collector.rollup.canary import EVENTS, IGNORED, NO_SERIES, Canary, RowKey, id_of, row_key
from collector.rollup.cells import Cell
from collector.rollup.decoding import DECODERS, fits
from collector.rollup.latest import Latest, newest
from collector.rollup.looks import Looks
from collector.rollup.queued import MAX_ID, Place, Queued
from collector.rollup.revisions import Named, Revisions, named_by
from collector.rollup.series import Registry
from collector.rollup.silence import SILENCE_NS, Silence
from collector.rollup.state import Changes, Shelf, Start
from probes.contract.events import (
    Arrival,
    Bounce,
    Check,
    Config,
    Expiry,
    Intent,
    Submission,
    Tick,
)
from probes.contract.metrics.overtaking import Handover, Overtaking, handover
from probes.contract.metrics.reordering import Reordering
from probes.contract.outcome import Outcome
from probes.contract.stages import Result
from probes.contract.units import NS_PER_S

COLLECTOR = "collector"
"""The source of the collector's own events: nobody's life is told by these."""
CACHED = 50_000
"""Canaries, and streams, that are kept in memory."""

_Decoded = tuple[Entry, Any, RowKey]
"""An entry, its event unless nothing of that can be counted, and the canary that it is about."""
_NO_KEY: RowKey = b""
_NONE_YET = Latest()
K = TypeVar("K")
V = TypeVar("V")


class Core:
    """The state of a rollup, ahead of its file by what :meth:`changes` has not given yet."""

    def __init__(self, shelf: Shelf, start: Start) -> None:
        self._shelf = shelf
        self._start = start
        self.registry = Registry(start.series)
        self._revisions = Revisions(start.revisions)
        self._silence = Silence(start.heard.items(), start.tick_ns, start.listening_ns)
        self._latest = start.latest
        self._looks = Looks(start.looks)
        self._queued = Queued(shelf, self, self._goes_to)
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
                self._other(entry, event)
        self._silence.hear(heard)

    def _other(self, entry: Entry, event: Check | Config | Tick) -> None:
        """An event that is about no canary, or about many."""
        if isinstance(event, Check):
            self._check(entry, event)
            return
        # What time it is now says who was silent until then.
        self._silence.hear(self._heard)
        if isinstance(event, Tick):
            self._tick(event)
        else:
            self._config(event)

    def _check(self, entry: Entry, event: Check) -> None:
        start = self._start
        try:
            kept = event.relay is not None and self._looks.fold(entry.source, event, start.clock_ns)
        except OverflowError:
            start.counters.undecodable += 1
            return
        if not kept:
            start.counters.looks_refused += 1
            return
        at_ns = min(event.at_ns, start.clock_ns)
        self._queued.take(entry.cursor, event, at_ns, start.forget_before_ns)

    def _decode(self, entry: Entry) -> _Decoded:
        decoder = DECODERS.get(entry.kind)
        if decoder is None:
            return entry, None, _NO_KEY
        try:
            event = decoder.decode(entry.body)
        except msgspec.MsgspecError:
            event = None
        if event is None or not fits(event):
            # Nothing of it can be counted, and the log keeps it: it must not stop the rest.
            self._start.counters.undecodable += 1
            return entry, None, _NO_KEY
        if isinstance(event, Check | Config | Tick):
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
            if canary.handed is not None:
                self._queued.handed(self._place(canary, canary.handed[0]), canary.key)

    def _submission(self, canary: Canary, event: Submission) -> None:
        canary.story = canary.story.fold(event)
        if canary.handover is None:
            canary.handover = handover(event)
        queue_id = event.queue_id
        if queue_id and canary.handed is None and event.result is Result.ACCEPTED:
            if len(queue_id) > MAX_ID:
                return
            canary.handed = (queue_id, event.at_ns)
            if canary.series > NO_SERIES:
                self._queued.handed(self._place(canary, queue_id), canary.key)

    def _place(self, canary: Canary, queue_id: str) -> Place:
        return self.registry.tagged(canary.series).path.relay, queue_id

    def _goes_to(self, canary: Canary, recipient: str) -> bool:
        mailbox = self.registry.tagged(canary.series).path.mailbox
        return self._revisions.may_get(mailbox, recipient)

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
        self._looks.forget(start.forget_before_ns)

    def _give_up(self, number: int, key: RowKey) -> None:
        """Nobody is left who could tell the end of this canary."""
        canary = self.known(key)
        if canary is None or canary.number != number:
            return
        if canary.series == NO_SERIES:
            self._start.counters.without_intent += 1
        elif not canary.silent and canary.story.verdict().outcome is Outcome.PENDING:
            canary.silent = True
            self.touch(canary)
            self._silence.closed(number)

    def known(self, key: RowKey) -> Canary | None:
        """The canary of that key as it is now, ``None`` when there is none."""
        canary = self._canaries.get(key)
        if canary is None:
            found = self._shelf.canaries([key])
            canary = found[0] if found else None
        return canary

    def touch(self, canary: Canary) -> None:
        """Something of it has changed."""
        self._canaries[canary.key] = canary
        self._touched[canary.number] = canary

    def _follow(self, canary: Canary) -> None:
        self._silence.opened(canary.number, canary.born_ns, canary.key)
        if canary.series > NO_SERIES:
            path = self.registry.tagged(canary.series).path
            self._silence.awaits(canary.due_ns, canary.number, canary.key, path.agent)
            if canary.handed is not None:
                self._queued.handed((path.relay, canary.handed[0]), canary.key)

    def changes(self) -> Changes:
        """What was changed since this was asked last, to be written in one transaction."""
        added: defaultdict[tuple[int, int], Cell] = defaultdict(dict)
        latest: dict[str, Latest] = {}
        for canary in self._touched.values():
            self._settle(canary, added, latest)
        start = self._start
        start.tick_ns, start.listening_ns = self._silence.tick_ns, self._silence.listening_ns
        looks, forgotten_looks = self._looks.take_changes()
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
            looks=looks,
            forgotten_looks=forgotten_looks,
            sightings=self._queued.take_changes(),
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
        if canary.ended and canary.handed is not None:
            self._queued.ended(self._place(canary, canary.handed[0]), canary.key)
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
        self._queued.shrink()


def _cut(cache: dict[K, V]) -> None:
    for key in list(cache)[: max(0, len(cache) - CACHED)]:
        del cache[key]
