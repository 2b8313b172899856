"""What must hold when a schedule is over, whatever happened on the way."""

from collections import Counter, defaultdict
from collections.abc import Iterator
from itertools import pairwise

from collector.log.engine import DeadLetter, Entry
from collector.log.opening import open_store
from collector.log.reader import Reader
from collector.log.store import Limits
from collector.rollup.consumer import RollupConsumer
from probes.contract.events import KINDS
from probes.contract.wire import MAX_EVENT_BYTES, Gap
from tests.collector.rollup.histories import bounds_of
from tests.collector.rollup.recount import Recount, dump, dump_looks, dump_queued
from tests.collector.rollup.recount_checks import CheckRecount
from tests.fleet_simulation.run import Record
from tests.fleet_simulation.world import Key

_ALL = 1_000_000
_LETTER_BYTES = 4096


class Found:
    """What the log's files say, with what retention has dropped."""

    def __init__(self, record: Record) -> None:
        truth = record.world.truth
        store = open_store(record.directory / "log", Limits())
        reader = Reader(lambda: store.view)
        self.log_id = store.head.log_id
        self.entries: list[Entry] = truth.old_entries + reader.read(0, _ALL)
        self.marks = store.marks()
        dead: list[DeadLetter] = truth.old_dead + reader.dead_letters(_ALL)
        gaps: list[tuple[str, str, Gap]] = truth.old_gaps + reader.gaps(_ALL)
        reader.close()
        store.close()
        self.by_key = defaultdict[Key, list[Entry]](list)
        for entry in self.entries:
            self.by_key[entry.source, entry.epoch].append(entry)
        self.dead = defaultdict[Key, list[DeadLetter]](list)
        for letter in dead:
            self.dead[letter.source, letter.epoch].append(letter)
        self.missing: dict[Key, Counter[int]] = {}
        for source, epoch, gap in gaps:
            numbers = range(gap.first_seq, gap.last_seq + 1)
            self.missing.setdefault((source, epoch), Counter()).update(numbers)


def judge(record: Record) -> list[str]:
    """What is wrong; empty when all is well."""
    findings = list(record.world.truth.violations)
    found = Found(record)
    for key in sorted({*record.world.truth.bodies, *found.by_key, *found.dead}):
        findings += _judge_epoch(record, found, key)
    cursors = [entry.cursor for entry in found.entries]
    if any(a >= b for a, b in pairwise(cursors)):
        findings.append("cursors do not rise")
    findings += _judge_counters(record)
    findings += _judge_rollup(record, found)
    return findings


def _judge_epoch(record: Record, found: Found, key: Key) -> Iterator[str]:
    truth = record.world.truth
    bodies = truth.bodies.get(key, {})
    entries, dead = found.by_key.get(key, []), found.dead.get(key, [])
    mark = found.marks.get(key)
    high = 0 if mark is None else mark.high_water
    if any(a.seq >= b.seq for a, b in pairwise(entries)):
        yield f"{key}: not in order: {[entry.seq for entry in entries]}"
    for entry in entries:
        if bodies.get(entry.seq) != entry.body:
            yield f"{key} {entry.seq}: is {entry.body[:80]!r}, was {bodies.get(entry.seq)!r}"
        if entry.body in truth.bad:
            yield f"{key} {entry.seq}: was taken, though it should have been refused"
    for letter in dead:
        body = bodies.get(letter.refusal.seq, b"")
        shown = body if len(body) <= MAX_EVENT_BYTES else body[:_LETTER_BYTES]
        if letter.body != shown or body not in truth.bad:
            yield f"{key} {letter.refusal.seq}: refused as {letter.refusal} {letter.body[:80]!r}"
    places: Counter[int] = Counter(entry.seq for entry in entries)
    places.update(letter.refusal.seq for letter in dead)
    missing = found.missing.get(key, Counter())
    places.update(missing)
    dropped = truth.dropped.get(key, set())
    for seq in bodies:
        if places[seq] > 1 or (places[seq] == 0 and seq <= high):
            yield f"{key} {seq}: is {places[seq]} times in the log"
        if seq > high and key not in truth.damaged and key[0] != "collector":
            yield f"{key} {seq}: is past the mark {high}"
    if wrong := sorted(set(missing) - dropped):
        yield f"{key}: told as missing, but never dropped: {wrong}"
    if mark is not None and mark.missing != missing.total():
        yield f"{key}: {mark.missing} told as missing, gaps of {missing.total()}"


def _judge_counters(record: Record) -> Iterator[str]:
    for agent, source in record.sources.items():
        for counter, count in source.counters.items():
            if counter.startswith("events_dropped"):
                yield f"{agent}: {counter} {count}, though each event is small"


def _judge_rollup(record: Record, found: Found) -> Iterator[str]:
    truth = record.world.truth
    seen = [entry for entry in found.entries if entry.cursor not in truth.missed]
    told = dump(record.directory)
    other = record.directory / "again"
    other.mkdir()
    again = RollupConsumer(other)
    again.open(found.log_id, bounds_of(seen))
    again.take(seen)
    again.close()
    if told != dump(other):
        yield "the rollup differs from one that is counted in one go"
    if dump_looks(record.directory) != dump_looks(other):
        yield "the looks differ from those that are read in one go"
    if dump_queued(record.directory) != dump_queued(other):
        yield "the canaries seen in queues differ from those that are read in one go"
    known = [entry for entry in seen if entry.kind in KINDS]
    if record.world.scenario.ticks:
        return
    if told != Recount(known).as_told():
        yield "the rollup differs from a recount"
    checks = CheckRecount(known)
    if (dump_looks(record.directory), dump_queued(record.directory)) != (checks.looks, checks.seen):
        yield "looks and canaries seen in queues differ from a recount"
