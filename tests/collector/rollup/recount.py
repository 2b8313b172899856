"""What a rollup's file says, and what it should say: a slow recount straight from the events."""

import sqlite3
import tempfile
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path as FilePath
from typing import Any

from collector.log.engine import Entry
from collector.rollup import cells, queued
from collector.rollup.canary import id_of
from collector.rollup.cells import (
    DEGREE,
    HI,
    LO,
    MAXIMA,
    MAXIMA_END,
    OUTCOMES,
    STAGES,
    TIMINGS,
    Key,
)
from collector.rollup.consumer import RollupConsumer
from collector.rollup.file import FILE_NAME
from collector.rollup.revisions import named_by
from collector.rollup.streams import LEADS, RANGES
from probes.contract.events import Arrival, Config, Intent, Submission
from probes.contract.metrics.missing import Standing
from probes.contract.metrics.overtaking import Overtaking, crossing, new_mailbox
from probes.contract.metrics.reordering import Reordering, new_stream
from probes.contract.metrics.sketch import DelaySketch
from probes.contract.metrics.spans import arrival_span
from probes.contract.outcome import Outcome, tell
from probes.contract.units import NS_PER_S
from tests.collector.rollup.histories import LOG_ID, History, bounds_of, events_of, log_of
from tests.collector.rollup.recount_checks import CheckRecount

Told = dict[tuple[int, int, str, str], dict[int, int]]
"""By (tier, start, dimension, key): what is counted."""


@contextmanager
def directory() -> Iterator[FilePath]:
    with tempfile.TemporaryDirectory() as name:
        yield FilePath(name)


def roll_up(where: FilePath, batches: Sequence[Sequence[Entry]], restarts: Sequence[bool]) -> None:
    everything = [entry for batch in batches for entry in batch]
    consumer = RollupConsumer(where)
    cursor = consumer.open(LOG_ID, bounds_of(everything))
    for batch, restart in zip(batches, restarts, strict=True):
        if restart:
            consumer.close()
            consumer = RollupConsumer(where)
            assert consumer.open(LOG_ID, bounds_of(everything)) == cursor
        consumer.take(batch)
        cursor = batch[-1].cursor
    consumer.close()


def rolled_up(where: FilePath, events: History) -> list[Entry]:
    """The log of those events, after it was rolled up in one go."""
    entries = log_of(events)
    roll_up(where, [entries], [False])
    return entries


def dump(where: FilePath) -> Told:
    """What the file says, the path's label sets added up."""
    connection = sqlite3.connect(where / FILE_NAME)
    found: defaultdict[tuple[int, int, str, str], dict[int, int]] = defaultdict(dict)
    for tier, start, dimension, key, cell in connection.execute(
        "SELECT tier, start, dimension, key, cell FROM cells JOIN series ON series = number"
    ):
        cells.add(found[tier, start, dimension, key], cells.decode(cell))
    connection.close()
    return {place: cell for place, cell in found.items() if cell}


def dump_looks(where: FilePath) -> dict[str, tuple[Any, ...]]:
    """The looks that the file has, by their names."""
    connection = sqlite3.connect(where / FILE_NAME)
    rows = connection.execute(
        "SELECT name, ok, stage, reason, since_ns, at_ns, told_ns FROM looks"
    ).fetchall()
    connection.close()
    return {name: (bool(ok), *rest) for name, ok, *rest in rows}


def dump_queued(where: FilePath) -> dict[str, dict[str, Any]]:
    """Where canaries were seen in queues, by their ids."""
    connection = sqlite3.connect(where / FILE_NAME)
    rows = connection.execute("SELECT state FROM queued").fetchall()
    connection.close()
    found = {}
    for (state,) in rows:
        seen = queued.unpack(state)
        told = ("relay", "queue_id", "arrived_ns", "first_ns", "last_ns", "stage", "reason")
        found[id_of(seen.key)] = {name: getattr(seen, name) for name in told}
    return found


class Recount:
    """What the rollup should say, from the set of each canary's events."""

    def __init__(self, entries: Sequence[Entry]) -> None:
        self.told: defaultdict[tuple[int, int, str, str], Counter[int]] = defaultdict(Counter)
        self.judged: dict[str, Counter[int]] = {}
        self.revisions: dict[str, Any] = {}
        self.tags: dict[str, list[tuple[str, str]]] = {}
        self._orders: dict[tuple[Any, ...], Reordering] = {}
        self._mailboxes: dict[tuple[Any, ...], Overtaking] = {}
        events = events_of(entries)
        self._put_off = CheckRecount(entries).put_off
        self.by_canary: dict[str, list[Any]] = {}
        for event in events:
            if isinstance(event, Config):
                self.revisions[event.revision] = named_by(event.document)
            elif (canary := getattr(event, "canary", None)) is not None:
                if isinstance(event, Intent) and canary not in self.tags:
                    self.tags[canary] = self.dimensions(event)
                if isinstance(event, Arrival) and canary not in self.judged:
                    self.judged[canary] = self.judge(event)
                self.by_canary.setdefault(canary, []).append(event)
        for canary, mine in self.by_canary.items():
            self.count(canary, mine)

    def dimensions(self, sent: Intent) -> list[tuple[str, str]]:
        path = sent.path
        order = [sent.revision, *reversed(self.revisions)]
        known = [self.revisions[name] for name in order if name in self.revisions]
        labels: tuple[str, ...] = ()
        for named in known:
            if (found := named.labels_of(path)) is not None:
                labels = found
                break
        return [
            ("all", ""),
            ("path", str(path)),
            ("relay", path.relay),
            ("agent", path.agent),
            ("mailbox", path.mailbox),
            ("customer", path.customer),
            *(("label", label) for label in labels),
        ]

    def judge(self, event: Arrival) -> Counter[int]:
        found: Counter[int] = Counter()
        arrived = arrival_span(event.sent_ns, event.delay)
        stream = self._orders.setdefault(
            (event.path, event.stream_epoch, event.folder), new_stream(limit=RANGES)
        )
        told = stream.fold(event.path_seq, arrived)
        if told.standing in (Standing.COPY, Standing.UNJUDGED):
            found[Key.UNJUDGED] = 1
        else:
            found[Key.RECEIVED] = 1
            if told.gap:
                found[Key.DISCONTINUITIES], found[Key.GAP_PACKETS] = 1, told.gap
            if told.extent is not None and told.late is not None:
                found[Key.REORDERED] = 1
                found[Key.EXTENT_SUM] = found[Key.EXTENT_MAX] = told.extent
                found[Key.LATE_LO_NS] = int(told.late.lo * NS_PER_S)
                found[Key.LATE_HI_NS] = -int(-told.late.hi * NS_PER_S // 1)
                if told.degree:
                    found[DEGREE + told.degree] = 1
        before = self.by_canary.get(event.canary, [])
        given = next((e for e in before if isinstance(e, Submission)), None)
        mailbox = self._mailboxes.setdefault(
            (event.path.agent, event.path.mailbox, event.stream_epoch), new_mailbox(limit=LEADS)
        )
        over = mailbox.fold(crossing(given, event))
        if over.standing in (Standing.COPY, Standing.UNJUDGED):
            found[Key.OVERTAKING_UNJUDGED] = 1
        else:
            found[Key.JUDGED] = 1
            if over.extent is not None and over.late is not None:
                found[Key.OVERTAKEN] = 1
                found[Key.OVERTAKEN_EXTENT_SUM] = over.extent
                found[Key.OVERTAKEN_EXTENT_MAX] = over.extent
                found[Key.OVERTAKEN_LATE_LO_NS] = int(over.late.lo * NS_PER_S)
                found[Key.OVERTAKEN_LATE_HI_NS] = -int(-over.late.hi * NS_PER_S // 1)
        return found

    def count(self, canary: str, events: list[Any]) -> None:
        sent = next((event for event in events if isinstance(event, Intent)), None)
        if sent is None:
            return
        verdict = tell(events).verdict()
        counted = Counter({int(Key.CANARIES): 1, OUTCOMES[verdict.outcome]: 1})
        if verdict.delay is not None:
            sketch = DelaySketch()
            sketch.fold(verdict.delay)
            counted.update({LO + i: n for i, n in sketch.los.items()})
            counted.update({HI + i: n for i, n in sketch.his.items()})
            if verdict.timing is not None:
                counted[TIMINGS[verdict.timing]] = 1
        elif verdict.stage is not None and verdict.outcome is not Outcome.PENDING:
            counted[STAGES[verdict.stage]] = 1
        greylisted = canary in self._put_off and verdict.delay is not None
        counted[Key.GREYLISTED] = int(greylisted)
        counted[Key.JUNK] = int(verdict.junk)
        counted[Key.DUPLICATES] = verdict.duplicates
        counted[Key.REPLICATED] = int(verdict.duplicates > 0)
        counted[Key.DELAYED_DSN] = int(verdict.delayed_dsn)
        carriers = [e.carrier for e in events if isinstance(e, Arrival) and e.carrier is not None]
        counted[Key.WRONG_RELAY] = int(any(c.relay_as_planned is False for c in carriers))
        counted.update(self.judged.get(canary, {}))
        for tier in (60, 3600, 86400):
            start = sent.at_ns // NS_PER_S // tier * tier
            for dimension, key in self.tags[canary]:
                cell = self.told[tier, start, dimension, key]
                for what, n in counted.items():
                    if MAXIMA <= what < MAXIMA_END:
                        cell[what] = max(cell[what], n) if what in cell else n
                    else:
                        cell[what] += n

    def as_told(self) -> Told:
        return {
            place: {int(key): n for key, n in cell.items() if n or MAXIMA <= key < MAXIMA_END}
            for place, cell in self.told.items()
        }
