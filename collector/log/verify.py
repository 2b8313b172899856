"""Whether a log is whole: every segment, every cursor, every number of every source."""

import itertools
import sqlite3
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from collector.log import files, rows, schema
from collector.log.engine import LogError
from collector.log.rows import Chunk, Missing, Origin
from collector.log.salvage import is_event, uncovered
from collector.log.schema import DamagedError, Head
from collector.log.store import GENERATION
from probes.contract.errors import Problem

Progress = Callable[[int], None]
"""Called with the bytes of each segment that was looked through."""


@dataclass(slots=True)
class Report:
    """What was found. ``problems`` is empty when the log is whole; ``notes`` are no faults."""

    problems: list[Problem] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    segments: int = 0
    entries: int = 0
    dead_letters: int = 0
    missing: int = 0
    sources: int = 0


@dataclass(frozen=True, slots=True)
class _End:
    """How a segment ended, for the next one to be compared with."""

    head: Head
    content: rows.Content
    origins: Mapping[tuple[str, str], Origin]


def verify(directory: Path, progress: Progress = lambda _: None) -> Report:
    """Look through a log that nobody writes to, or a backup of one.

    Raises:
        LogError: there is no log, or it cannot be read at all.
    """
    report = Report()
    try:
        firsts = files.list_segments(directory)
        report.notes += [
            f"{file}: a damaged segment that was set aside"
            for file in files.list_damaged(directory)
        ]
        report.notes += [f"{file}: left by a crash" for file in files.list_leftovers(directory)]
    except OSError as error:
        raise files.trouble(directory, error) from error
    if not firsts:
        raise LogError(f"{directory}: found no segment, allowed is a log's directory")
    lost = _lost(directory, firsts)
    before: _End | None = None
    for first in firsts:
        file = files.segment_file(directory, first)
        before = _Segment(report, file, first, lost).check(before)
        report.segments += 1
        progress(files.bytes_of([file]))
    if before is not None:
        report.sources = len(before.origins)
        report.missing = sum(origin.missing for origin in before.origins.values())
    return report


def _open(file: Path) -> sqlite3.Connection:
    return schema.open_reader(file, still=files.journal_bytes(file) == 0)


def _lost(directory: Path, firsts: list[int]) -> list[Missing]:
    """All events that are recorded as lost with a damaged segment, in whichever segment it is."""
    found: list[Missing] = []
    for first in firsts:
        try:
            connection = _open(files.segment_file(directory, first))
            try:
                found += [gap for gap in rows.load_gaps(connection) if gap.cause == rows.DAMAGE]
            finally:
                connection.close()
        except sqlite3.Error:
            continue  # it is told when that segment's turn comes
    return found


class _Segment:
    """One segment's check."""

    def __init__(self, report: Report, file: Path, first: int, lost: list[Missing]) -> None:
        self._report = report
        self._file = file
        self._first = first
        self._lost = lost

    def _wrong(self, path: str, found: object, allowed: object) -> None:
        self._report.problems.append(Problem(str(self._file), 0, path, str(found), str(allowed)))

    def check(self, before: _End | None) -> _End | None:
        """Check it against the one before; how it ends, ``None`` when that cannot be told."""
        try:
            connection = _open(self._file)
            try:
                return self._check(connection, before)
            finally:
                connection.close()
        except (sqlite3.Error, DamagedError, LogError, TypeError, ValueError) as error:
            self._wrong("", error, "a segment that can be read")
            return None

    def _check(self, connection: sqlite3.Connection, before: _End | None) -> _End:
        version = int(connection.execute("PRAGMA user_version").fetchone()[0])
        if version != schema.SCHEMA_VERSION:
            self._wrong("user_version", version, schema.SCHEMA_VERSION)
        for (line,) in connection.execute("PRAGMA integrity_check(20)"):
            if line != "ok":
                self._wrong("integrity_check", line, "ok")
        head = schema.read_head(connection)
        origins = rows.load_origins(connection)
        end = _End(head, rows.content(connection), origins)
        if head.first != self._first:
            self._wrong("meta.first", head.first, f"{self._first}, as the file is called")
        if before is not None:
            self._follows(before, end)
        spans = self._walk(connection, head, {origin.id for origin in origins.values()})
        gaps = [gap for gap in rows.load_gaps(connection) if gap.cause == rows.SKIPPED]
        for gap in gaps:
            spans.setdefault(gap.origin, []).append((gap.first_seq, gap.last_seq))
        for origin in origins.values():
            self._numbers(origin, sorted(spans.get(origin.id, [])))
        self._report.entries += end.content.entries
        self._report.dead_letters += end.content.dead
        return end

    def _follows(self, before: _End, end: _End) -> None:
        """What the head and the marks say of the segments before."""
        was = before.head
        expected: list[tuple[str, object, object]] = [
            ("meta.log_id", end.head.log_id, was.log_id),
        ]
        # What was lost with a damaged segment was counted while it was there.
        if not was.salvaged:
            entries, dead = before.content.entries, before.content.dead
            expected += [
                ("meta.entries_before", end.head.entries_before, was.entries_before + entries),
                ("meta.dead_before", end.head.dead_before, was.dead_before + dead),
            ]
            following = max(was.first, before.content.last_cursor + 1)
            if end.head.first != following and end.head.first % GENERATION:
                expected.append(("meta.first", end.head.first, following))
        for path, found, allowed in expected:
            if found != allowed:
                self._wrong(path, found, allowed)
        for key, origin in end.origins.items():
            mark = before.origins[key].high_water if key in before.origins else 0
            if origin.base != mark:
                self._wrong(f"origins[{'/'.join(key)}].base", origin.base, mark)
        for key in before.origins.keys() - end.origins.keys():
            self._wrong(f"origins[{'/'.join(key)}]", "nothing", "the mark of the segment before")

    def _walk(
        self, connection: sqlite3.Connection, head: Head, known: set[int]
    ) -> dict[int, list[tuple[int, int]]]:
        """Go through all events; which numbers there are of each source."""
        spans: dict[int, list[tuple[int, int]]] = {}
        taken = [(cursor, cursor) for (cursor,) in connection.execute("SELECT cursor FROM dead")]
        for origin, seq in connection.execute("SELECT origin, seq FROM dead"):
            spans.setdefault(origin, []).append((seq, seq))
        for row in connection.execute("SELECT * FROM chunks ORDER BY cursor"):
            chunk = Chunk(*row)
            taken.append((chunk.cursor, chunk.cursor + chunk.events - 1))
            span = (chunk.first_seq, chunk.first_seq + chunk.events - 1)
            spans.setdefault(chunk.origin, []).append(span)
            self._chunk(chunk)
        for origin in spans.keys() - known:
            self._wrong(f"origins[{origin}]", "nothing", "the source that events name")
        taken.sort()
        for (_, last), (first, _) in itertools.pairwise(taken):
            if first <= last:
                self._wrong(f"cursor {first}", "twice", "once")
        if taken and not head.salvaged:
            for first, last in uncovered(head.first, taken[-1][1], taken):
                self._wrong(f"cursor {first} to {last}", "nothing", "an event or a dead letter")
        return spans

    def _chunk(self, chunk: Chunk) -> None:
        try:
            entries = rows.unpack(chunk, "", "")
        except (TypeError, ValueError) as error:
            self._wrong(f"cursor {chunk.cursor}", error, "as many of each")
            return
        for entry in entries:
            if not is_event(entry):
                self._wrong(
                    f"cursor {entry.cursor}", entry.body[:80], f"an event of kind {entry.kind}"
                )

    def _numbers(self, origin: Origin, spans: list[tuple[int, int]]) -> None:
        """Each number between the marks is there once, or is told to be missing."""
        name = f"{origin.source}/{origin.epoch}"
        for (_, last), (first, _) in itertools.pairwise(spans):
            if first <= last:
                self._wrong(f"{name} seq {first}", "twice", "once")
        if spans and (spans[0][0] <= origin.base or spans[-1][1] > origin.high_water):
            self._wrong(
                f"{name} seq {spans[0][0]} to {spans[-1][1]}",
                "numbers outside the marks",
                f"{origin.base + 1} to {origin.high_water}",
            )
        lost = [(gap.first_seq, gap.last_seq) for gap in self._lost if gap.origin == origin.id]
        for first, last in uncovered(origin.base + 1, origin.high_water, spans + lost):
            self._wrong(f"{name} seq {first} to {last}", "nothing", "events, dead letters or a gap")
