"""A log as JSON lines, and JSON lines as a log: one envelope of ``docs/events.md`` per line."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

import msgspec

from collector.log import files
from collector.log.engine import Batch, Entry, Item, LogError
from collector.log.pending import CHUNK_EVENTS, MAX_SEQ
from collector.log.reader import DamagedSegmentError, Reader, look
from collector.log.store import Store
from probes.contract.errors import MailcanaryError, Problem
from probes.contract.events import EVENTS_VERSION, Envelope, decode
from probes.contract.wire import MAX_EVENT_BYTES

Progress = Callable[[int], None]
_READ = 2000
_COMMIT_EVENTS = 10_000
MAX_PROBLEMS = 100
"""So many are told one by one; of a file that is no export at all a few tell enough."""


@dataclass(frozen=True, slots=True)
class Selection:
    """Which entries are wanted: cursors and times of ingestion, both ends included."""

    after: int = 0
    until: int | None = None
    since_ns: int | None = None
    until_ns: int | None = None
    kinds: frozenset[str] | None = None

    def takes(self, entry: Entry) -> bool:
        """Whether it is one of them."""
        return (
            (self.until is None or entry.cursor <= self.until)
            and (self.since_ns is None or entry.ingested_at_ns >= self.since_ns)
            and (self.until_ns is None or entry.ingested_at_ns <= self.until_ns)
            and (self.kinds is None or entry.kind in self.kinds)
        )


@dataclass(slots=True)
class Exported:
    """``cursor`` is that of the last entry that was looked at, to go on from another time."""

    entries: int = 0
    cursor: int = 0
    problems: list[str] = field(default_factory=list)


def export(
    directory: Path, wanted: Selection, out: BinaryIO, progress: Progress = lambda _: None
) -> Exported:
    """Write the entries that are wanted, as they stand in the log. A collector may be running.

    Segments that cannot be read are left out and told. ``progress`` is given numbers of entries.

    Raises:
        LogError: there is no log, or it cannot be read.
        OSError: ``out`` cannot be written to.
    """
    try:
        view = look(directory)
    except OSError as error:
        raise files.trouble(directory, error) from error
    if not view.segments:
        raise LogError(f"{directory}: found no segment, allowed is a log's directory")
    done = Exported(cursor=wanted.after)
    reader = Reader(lambda: view)
    try:
        for entries in _pieces(reader, wanted.after, done):
            chosen = [entry for entry in entries if wanted.takes(entry)]
            out.write(b"".join([line(entry) for entry in chosen]))
            done.entries += len(chosen)
            done.cursor = entries[-1].cursor
            progress(len(entries))
            if wanted.until is not None and entries[-1].cursor >= wanted.until:
                break
        out.flush()
    finally:
        reader.close()
    return done


def _pieces(reader: Reader, after: int, done: Exported) -> Iterator[list[Entry]]:
    """The entries past ``after``; those of a segment that is broken are left out."""
    while True:
        try:
            entries = reader.read(after, _READ)
        except DamagedSegmentError as error:
            done.problems.append(str(error))
            following = reader.segment_after(error.segment)
            if following is None:
                return
            after = max(after, following.first - 1)
            continue
        if not entries:
            return
        yield entries
        after = entries[-1].cursor


def line(entry: Entry) -> bytes:
    """An entry as one line of an export."""
    envelope = Envelope(
        version=EVENTS_VERSION,
        ingested_at_ns=entry.ingested_at_ns,
        source=entry.source,
        epoch=entry.epoch,
        seq=entry.seq,
        event=msgspec.Raw(entry.body),
    )
    return msgspec.json.encode(envelope) + b"\n"


class ImportFileError(MailcanaryError, ValueError):
    """A file that is no export; carries every problem, as far as there are not too many."""

    exit_code = 2

    def __init__(self, problems: list[Problem], more: int) -> None:
        self.problems = problems
        lines = [str(problem) for problem in problems]
        if more:
            lines.append(f"... and {more} lines more")
        super().__init__("\n".join(lines))


@dataclass(slots=True)
class Imported:
    """What became of a file's lines."""

    accepted: int = 0
    duplicates: int = 0
    missing: int = 0
    """Numbers that the file leaves out, told as gaps."""
    bad: int = 0


_decoder = msgspec.json.Decoder(Envelope)


def _parse(text: bytes) -> tuple[Envelope, Item]:
    """An export's line.

    Raises:
        ValueError: it is none; the text is the problem's "found" and "allowed".
    """
    if not text.endswith(b"\n"):
        raise ValueError("a line that is cut short", "a whole line")
    try:
        envelope = _decoder.decode(text)
        event = decode(bytes(envelope.event))
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise ValueError(f"{error}", "an envelope with an event") from None
    if envelope.version != EVENTS_VERSION:
        raise ValueError(f"version {envelope.version}", f"{EVENTS_VERSION}")
    if not 1 <= envelope.seq <= MAX_SEQ or not 0 <= envelope.ingested_at_ns <= MAX_SEQ:
        raise ValueError(f"seq {envelope.seq}, ingested_at_ns {envelope.ingested_at_ns}", "64 bits")
    if len(envelope.event) > MAX_EVENT_BYTES:
        raise ValueError(f"an event of {len(envelope.event)} bytes", f"up to {MAX_EVENT_BYTES}")
    body = bytes(envelope.event)
    kind = getattr(event, "kind", None) or type(event).__struct_config__.tag
    return envelope, Item(envelope.seq, str(kind), body)


def check_file(file: Path, progress: Progress = lambda _: None) -> int:
    """How many lines the file has, if all are sound.

    Raises:
        ImportFileError: some are not.
        LogError: it cannot be read.
    """
    problems: list[Problem] = []
    more = count = 0
    for number, text in _lines(file):
        count += 1
        progress(len(text))
        try:
            _parse(text)
        except ValueError as error:
            if len(problems) < MAX_PROBLEMS:
                problems.append(Problem(str(file), number, "", *error.args))
            else:
                more += 1
    if problems:
        raise ImportFileError(problems, more)
    return count


def _lines(file: Path) -> Iterator[tuple[int, bytes]]:
    try:
        with file.open("rb") as stream:
            yield from enumerate(stream, 1)
    except OSError as error:
        raise LogError(f"{file}: found {error.strerror}, allowed is an export") from error


def load(store: Store, file: Path, progress: Progress = lambda _: None) -> Imported:
    """Put a file's events into a log, each as when it was taken in first. Bad lines are left out.

    The marks decide what is a duplicate, so an import that broke off may be run again. Numbers that
    the file leaves out become gaps.

    Raises:
        LogError: the log takes no more; what was put into it before stays.
    """
    done = Imported()
    waiting: list[Batch] = []
    events = 0
    for batch in _batches(file, done, progress):
        waiting.append(batch)
        events += len(batch.items)
        if events >= _COMMIT_EVENTS:
            _commit(store, waiting, done)
            waiting, events = [], 0
    _commit(store, waiting, done)
    return done


def _commit(store: Store, batches: list[Batch], done: Imported) -> None:
    for answer in store.commit(batches):
        done.accepted += answer.accepted
        done.duplicates += answer.duplicates
        if answer.gap is not None:
            done.missing += answer.gap.last_seq - answer.gap.first_seq + 1


def _batches(file: Path, done: Imported, progress: Progress) -> Iterator[Batch]:
    """The file's events, those that follow each other in number together."""
    key: tuple[str, str, int] | None = None
    items: list[Item] = []
    for _, text in _lines(file):
        progress(len(text))
        try:
            envelope, item = _parse(text)
        except ValueError:
            done.bad += 1
            continue
        of = envelope.source, envelope.epoch, envelope.ingested_at_ns
        follows = items and of == key and item.seq == items[-1].seq + 1
        if items and (not follows or len(items) == CHUNK_EVENTS):
            yield _batch(key, items)
            items = []
        key = of
        items.append(item)
    if items:
        yield _batch(key, items)


def _batch(key: tuple[str, str, int] | None, items: list[Item]) -> Batch:
    source, epoch, at_ns = key or ("", "", 0)
    return Batch(source, epoch, items[0].seq, items[-1].seq, items, [], at_ns)
