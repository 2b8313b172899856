"""How a log is opened, and what becomes of a segment that cannot be read.

A damaged segment is set aside, never deleted, and what could be read of it takes its place. Marks
claim nothing that is lost: those of a damaged active segment go back to what is there, so that an
agent that still has the rest sends it again; and where an agent has forgotten it, the gap is told.
"""

import sqlite3
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import structlog

from collector.log import files, rows, salvage, schema
from collector.log.engine import LogError
from collector.log.rows import Missing, Origins
from collector.log.salvage import Sifted
from collector.log.schema import DamagedError, Head
from collector.log.store import (
    Limits,
    Segment,
    Store,
    begin,
    make,
    new_head,
    new_log_id,
    next_generation,
)

_logger = structlog.get_logger("collector.log")
_UNREAD = Head("", 0, 0, 0, 0, 0, 0)


def open_store(directory: Path, limits: Limits) -> Store:
    """Open, or create, the log in ``directory`` and take its lock.

    Only the segment that grows is looked through, so that a long log opens as fast as a short one.

    Raises:
        LogFullError: the disk is full.
        LogError: the directory cannot be used, another collector holds it, or a newer version wrote
            a file in it.
    """
    lock = files.take_lock(directory)
    try:
        for leftover in files.list_leftovers(directory):
            leftover.unlink()
        active, finished = open_segments(directory)
        store = Store(directory, lock, limits, active, finished)
    except OSError as error:
        lock.close()
        raise error if isinstance(error, LogError) else files.trouble(directory, error) from error
    except BaseException:
        lock.close()
        raise
    try:
        for segment in reversed(finished):
            if segment.head is _UNREAD:
                repair(store, segment.first)
    except BaseException:
        store.close()
        raise
    return store


def open_segments(
    directory: Path, log_id: str | None = None
) -> tuple[sqlite3.Connection, list[Segment]]:
    """A connection to the segment that grows, and the finished ones.

    ``log_id`` is the log's where that is known, for a log of which no segment can be read.

    Raises:
        LogError: as :func:`open_store` says.
    """
    firsts = files.list_segments(directory)
    if not firsts:
        file = files.segment_file(directory, 1)
        return begin(file, new_head(new_log_id()), lambda _: None), []
    finished = [_finished(files.segment_file(directory, first), first) for first in firsts[:-1]]
    file = files.segment_file(directory, firsts[-1])
    try:
        connection = _open_active(file, firsts[-1])
    except DamagedError as error:
        _logger.error(  # noqa: TRY400 - the traceback tells no more
            "log: the newest segment is damaged", file=str(file), error=str(error)
        )
        connection = None
    if connection is not None:
        if not schema.read_head(connection).salvaged:
            return connection, finished
        connection.close()
    else:
        _rebuild_active(file, firsts[-1], finished, log_id)
    # Cursors past its end may have been seen by consumers before it was damaged.
    segment = _finished(file, firsts[-1])
    return _follow(segment), [*finished, segment]


def _open_active(file: Path, first: int) -> sqlite3.Connection:
    """Open the segment that grows.

    Raises:
        DamagedError: it is damaged.
        LogError: it cannot be used.
    """
    connection: sqlite3.Connection | None = None
    try:
        connection = schema.open_writer(file)
        schema.quick_check(connection)
        schema.check_version(connection, file)
        if schema.read_head(connection).first != first:
            raise DamagedError("it is another segment's file")  # noqa: TRY301 - one way out
        rows.load_origins(connection)
    except sqlite3.Error as error:
        _let_go(connection, file)
        if schema.is_damage(error):
            raise DamagedError(str(error)) from error
        raise schema.explain(error, file) from error
    except BaseException:
        _let_go(connection, file)
        raise
    return connection


def _let_go(connection: sqlite3.Connection | None, file: Path) -> None:
    """Close a connection so that the journal stays: it may be all that can be read."""
    if connection is None:
        return
    journal = file.with_name(file.name + files.SIDE_SUFFIXES[0])
    kept = file.with_name(file.name + files.TEMPORARY + files.SIDE_SUFFIXES[0])
    if journal.exists():
        kept.unlink(missing_ok=True)
        journal.rename(kept)
    connection.close()
    if kept.exists():
        kept.rename(journal)


def _finished(file: Path, first: int) -> Segment:
    """A finished segment, its journal put into the file where a crash left one.

    Where a reader of another process (a backup) is in the way, what it holds up stays in the
    journal: then the segment is not still.
    """
    try:
        still = True
        if files.journal_bytes(file):
            connection = schema.open_writer(file)
            try:
                still = not connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()[0]
            finally:
                connection.close()
        connection = schema.open_reader(file, still=still)
        try:
            version = int(connection.execute("PRAGMA user_version").fetchone()[0])
            if version == schema.SCHEMA_VERSION:
                return Segment(first, file, schema.read_head(connection), still=still)
        finally:
            connection.close()
        connection = schema.open_writer(file)
        try:
            schema.check_version(connection, file)
            return Segment(first, file, schema.read_head(connection), still=still)
        finally:
            connection.close()
    except DamagedError:
        return Segment(first, file, _UNREAD, still=True)
    except sqlite3.Error as error:
        if schema.is_damage(error):
            return Segment(first, file, _UNREAD, still=True)
        raise schema.explain(error, file) from error


def _ends(segments: Sequence[Segment]) -> tuple[Segment, Origins, rows.Content] | None:
    """The newest of the segments that can be read, and how things stood at its end."""
    for segment in reversed(segments):
        if segment.head is _UNREAD:
            continue
        try:
            connection = schema.open_reader(segment.file, still=segment.still)
            try:
                return segment, rows.load_origins(connection), rows.content(connection)
            finally:
                connection.close()
        except sqlite3.Error:
            continue
    return None


def _rebuild_active(
    file: Path, first: int, finished: Sequence[Segment], log_id: str | None
) -> None:
    found = salvage.read(file)
    before = _ends(finished)
    sifted = salvage.sift(found, before and before[1], None, (), _newest(found))
    head = found.head or new_head(log_id or new_log_id(), first)
    if before is not None:
        segment, _, content = before
        head = Head(
            log_id=segment.head.log_id,
            first=first,
            begun_at_ns=found.head.begun_at_ns if found.head else 0,
            newest_before_ns=max(content.newest_at_ns, segment.head.newest_before_ns),
            last_before=content.last_entry or segment.head.last_before,
            entries_before=segment.head.entries_before + content.entries,
            dead_before=segment.head.dead_before + content.dead,
        )
    sifted.gaps += sifted.lost
    _exchange(file, replace(head, first=first, salvaged=True), sifted)


def _newest(found: salvage.Salvage) -> int:
    together: list[rows.Chunk | rows.Dead] = [*found.chunks, *found.dead]
    return max((row.ingested_at_ns for row in together), default=0)


def _exchange(file: Path, head: Head, sifted: Sifted) -> None:
    """Set the damaged file aside and put what could be read in its place."""

    def fill(connection: sqlite3.Connection) -> None:
        rows.save_origins(connection, sifted.origins.values())
        rows.insert(connection, sifted.chunks, sifted.dead, sifted.gaps)

    try:
        aside = files.set_aside(file)
    except OSError as error:
        raise files.trouble(file, error) from error
    try:
        make(file, head, fill)
    except BaseException:
        # It is tried again, with each commit: that must find the journal, and no copy of this one.
        files.take_back(file, aside)
        raise
    _logger.error(
        "log: a damaged segment was set aside",
        file=str(aside),
        entries_kept=sum(chunk.events for chunk in sifted.chunks),
        events_lost=sum(gap.last_seq - gap.first_seq + 1 for gap in sifted.lost),
    )


def _follow(segment: Segment) -> sqlite3.Connection:
    """A segment after a salvaged one, with cursors that nobody has seen."""
    ends = _ends([segment])
    if ends is None:
        raise LogError(f"{segment.file}: found that it cannot be read, allowed is a segment")
    _, origins, content = ends
    head = segment.head
    first = next_generation(max(head.first, content.last_cursor))
    following = Head(
        log_id=head.log_id,
        first=first,
        begun_at_ns=0,
        newest_before_ns=max(head.newest_before_ns, content.newest_at_ns),
        last_before=content.last_entry or head.last_before,
        entries_before=head.entries_before + content.entries,
        dead_before=head.dead_before + content.dead,
    )
    file = files.segment_file(segment.file.parent, first)
    return begin(
        file, following, lambda new: rows.save_origins(new, rows.rebased(origins).values())
    )


def repair(store: Store, first: int) -> None:
    """Put what can be read of a damaged finished segment in its place; what is lost is a gap.

    Raises:
        LogError: it could not be done; the segment is as it was.
    """
    segments = store.view.segments
    index = next((i for i, one in enumerate(segments) if one.first == first), None)
    if index is None or index == len(segments) - 1:
        return
    damaged = segments[index]
    store.freeze(first)
    before = _ends(segments[:index])
    after = next((one for one in segments[index + 1 :] if one.head is not _UNREAD), segments[-1])
    found = salvage.read(damaged.file)
    known = [gap for one in segments[index + 1 :] for gap in _known_lost(one)]
    end = _origins_of(after)
    if end is None:
        raise LogError(f"{after.file}: found that it cannot be read, allowed is a segment")
    begin = before[1] if before else None
    sifted = salvage.sift(found, begin, end, known, store.view.segments[-1].head.begun_at_ns)
    head = damaged.head if damaged.head is not _UNREAD else found.head
    if head is None and before is not None:
        segment, _, content = before
        head = replace(
            after.head,
            begun_at_ns=0,
            newest_before_ns=max(content.newest_at_ns, segment.head.newest_before_ns),
            last_before=content.last_entry or segment.head.last_before,
            entries_before=segment.head.entries_before + content.entries,
            dead_before=segment.head.dead_before + content.dead,
        )
    head = replace(head or after.head, first=first, salvaged=True)
    # Recorded before the file is exchanged: a crash between leaves a segment that is damaged still.
    store.note_lost(sifted.lost)
    _exchange(damaged.file, head, sifted)
    store.replace_finished(Segment(first, damaged.file, head, still=False))


def _origins_of(segment: Segment) -> Origins | None:
    ends = _ends([segment])
    return None if ends is None else ends[1]


def _known_lost(segment: Segment) -> list[Missing]:
    """The events that this segment says were lost with an earlier one."""
    if segment.head is _UNREAD:
        return []
    try:
        connection = schema.open_reader(segment.file, still=segment.still)
        try:
            return [gap for gap in rows.load_gaps(connection) if gap.cause == rows.DAMAGE]
        finally:
            connection.close()
    except sqlite3.Error:
        return []
