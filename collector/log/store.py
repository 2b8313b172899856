"""The segments of a log, as their one writer sees them: commit, roll, seal, drop, repair.

Everything here runs in the writer's thread. Readers are given :attr:`Store.view`, which is replaced
and never changed.
"""

import contextlib
import secrets
import sqlite3
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO

import structlog

from collector.log import files, rows, schema
from collector.log.engine import Appended, Batch, LogError, Mark, Retention
from collector.log.journal import Journal
from collector.log.pending import Pending
from collector.log.rows import Missing, Origins
from collector.log.schema import DamagedError, Head

_logger = structlog.get_logger("collector.log")
GENERATION = 1 << 40
"""After a repair or a restore the cursors go on with the next multiple of it, so that none that a
consumer may have seen is used again. Below 2^53 there are 8,191 of them."""


@dataclass(frozen=True, slots=True)
class Limits:
    """When a segment is closed and the next begun, and how long its journal becomes.

    At ``journal_bytes`` the writer itself helps to move the journal. At four times as much, which
    it reaches when a reader does not let go of it, the next segment is begun.
    """

    segment_s: float = 3600.0
    segment_bytes: int = 256 << 20
    journal_bytes: int = 32 << 20


@dataclass(frozen=True, slots=True)
class Segment:
    """A segment of the log. ``still``: nothing is written to it, and it has no journal."""

    first: int
    file: Path
    head: Head
    still: bool


@dataclass(frozen=True, slots=True)
class View:
    """What readers need to know. The last segment is the one that grows."""

    segments: tuple[Segment, ...]
    last_entry: int
    entries: int
    """Ever taken in."""
    dead: int


def next_generation(cursor: int) -> int:
    """The first cursor of the generation after that of ``cursor``."""
    return (cursor // GENERATION + 1) * GENERATION


def new_head(log_id: str, first: int = 1) -> Head:
    """That of a log's first segment."""
    return Head(log_id, first, 0, 0, first - 1, 0, 0)


class Store:
    """A log's directory, open for writing; see :func:`collector.log.opening.open_store`."""

    def __init__(
        self,
        directory: Path,
        lock: IO[str],
        limits: Limits,
        active: sqlite3.Connection,
        finished: Sequence[Segment],
    ) -> None:
        self.directory = directory
        self.limits = limits
        self._lock = lock
        self.put: Callable[[Journal], None] = Journal.work
        """Has a journal moved; at once, unless somebody else is there to do it."""
        self._unsealed: dict[int, Journal] = {}
        self._finished = list(finished)
        self._broken = self._overdue = False
        self._take(active)
        self._journal = self._new_journal()

    def _new_journal(self) -> Journal:
        return Journal(self.file, self.limits.journal_bytes)

    def _take(self, active: sqlite3.Connection) -> None:
        """Make ``active`` the segment that grows, with what is in it."""
        self._active = active
        self._stale = False
        self.head = schema.read_head(active)
        self.file = files.segment_file(self.directory, self.head.first)
        self.origins: Origins = rows.load_origins(active)
        content = rows.content(active)
        self._cursor = max(self.head.first, content.last_cursor + 1)
        self._last_entry = content.last_entry or self.head.last_before
        self._entries = content.entries
        self._dead = content.dead
        self._newest_at_ns = max(content.newest_at_ns, self.head.newest_before_ns)
        self._bytes = content.bytes
        self._show()

    def _show(self) -> None:
        growing = Segment(self.head.first, self.file, self.head, still=False)
        self.view = View(
            segments=(*self._finished, growing),
            last_entry=self._last_entry,
            entries=self.head.entries_before + self._entries,
            dead=self.head.dead_before + self._dead,
        )

    @property
    def next_cursor(self) -> int:
        """The one that the next event gets."""
        return self._cursor

    def marks(self) -> dict[tuple[str, str], Mark]:
        """How far each source is."""
        self._refresh()
        return {key: origin.mark() for key, origin in self.origins.items()}

    def commit(self, batches: Sequence[Batch]) -> list[Appended]:
        """Write the batches in one transaction.

        Raises:
            ValueError: a batch is none; nothing was written.
            LogError: nothing was written.
        """
        self._refresh()
        self.tidy()
        if batches:
            self._roll_when_due(batches[0].ingested_at_ns)
        pending = Pending(self.origins, self._cursor, self._last_entry)
        answers = [pending.add(batch) for batch in batches]
        if pending.touched:
            self._write(pending)
        return answers

    def _write(self, pending: Pending) -> None:
        head = self.head
        if not head.begun_at_ns:
            head = replace(head, begun_at_ns=pending.oldest_at_ns)
        with self._transaction() as connection:
            rows.insert(connection, pending.chunks, pending.dead, pending.gaps)
            rows.save_origins(connection, pending.touched.values())
            if head is not self.head:
                schema.write_head(connection, head)
        self.head = head
        self.origins.update(pending.touched)
        self._cursor = pending.cursor
        self._last_entry = pending.last_entry
        self._entries += pending.entries
        self._dead += len(pending.dead)
        self._newest_at_ns = max(self._newest_at_ns, pending.newest_at_ns)
        self._bytes += pending.bytes
        self._journal.wrote(pending.pages())
        self._show()

    @contextlib.contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        """Commit what is done within; after any failure what is in the file is read again."""
        try:
            self._active.execute("BEGIN IMMEDIATE")
            yield self._active
            self._active.execute("COMMIT")
        except BaseException as error:
            self._stale = True
            with contextlib.suppress(sqlite3.Error):
                if self._active.in_transaction:
                    self._active.execute("ROLLBACK")
            if isinstance(error, sqlite3.Error) and not isinstance(
                error, sqlite3.IntegrityError | sqlite3.ProgrammingError | sqlite3.DataError
            ):
                self._raise(error)
            raise

    def _raise(self, error: sqlite3.Error) -> None:
        if schema.is_damage(error):
            raise DamagedError(str(error)) from error
        raise schema.explain(error, self.file) from error

    def _refresh(self) -> None:
        """Know again what is in the file: a commit that failed may have come to the disk."""
        if self._broken:
            raise DamagedError("the damaged segment could not be replaced yet")
        if self._stale:
            try:
                self._take(self._active)
            except sqlite3.Error as error:
                self._raise(error)

    def _due(self, now_ns: int) -> bool:
        if not self._entries and not self._dead:
            return False
        begun = self.head.begun_at_ns
        return (
            self._bytes >= self.limits.segment_bytes
            or self._journal.length >= 4 * self.limits.journal_bytes
            or now_ns - begun >= self.limits.segment_s * 1e9
        )

    def _roll_when_due(self, now_ns: int) -> None:
        """Begin a new segment, or go on with this one: too long is better than events refused."""
        if not self._due(now_ns):
            return
        try:
            self.roll()
        except LogError as error:
            if not self._overdue:
                _logger.warning("log: could not begin a new segment", error=str(error))
            self._overdue = True
        else:
            self._overdue = False

    def roll(self, first: int | None = None) -> None:
        """Close the segment and begin the next, at cursor ``first`` or the next free one.

        Raises:
            LogError: there is no new one, and the old one goes on.
        """
        head = Head(
            log_id=self.head.log_id,
            first=first or self._cursor,
            begun_at_ns=0,
            newest_before_ns=self._newest_at_ns,
            last_before=self._last_entry,
            entries_before=self.head.entries_before + self._entries,
            dead_before=self.head.dead_before + self._dead,
        )
        origins = rows.rebased(self.origins)
        file = files.segment_file(self.directory, head.first)
        connection = begin(file, head, lambda new: rows.save_origins(new, origins.values()))
        self._journal.finish(self._active)
        self._unsealed[self.head.first] = self._journal
        self._finished.append(Segment(self.head.first, self.file, self.head, still=False))
        self._take(connection)
        self._journal = self._new_journal()
        self.tidy()

    def tidy(self) -> None:
        """See to the journals, between two commits; a segment whose journal is at its end is still.

        A reader that is in the way of one is tried again the next time.
        """
        self._journal.tidy(self.put)
        for first, journal in list(self._unsealed.items()):
            journal.tidy(self.put)
            if journal.sealed:
                del self._unsealed[first]
                self._finished = [
                    replace(one, still=True) if one.first == first else one
                    for one in self._finished
                ]
                self._show()

    def journals(self) -> list[Journal]:
        """Those whose segments are not still."""
        return [*self._unsealed.values(), self._journal]

    def trim(self, retention: Retention, now_ns: int) -> int:
        """Drop the oldest segments past the bounds; how many entries went.

        Raises:
            LogError: a file could not be deleted.
        """
        self._refresh()
        self._roll_when_due(now_ns)
        before = self.view.segments[0].head.entries_before
        oldest_ns = now_ns - int(retention.age_s * 1e9)
        excess = self.bytes() - retention.bytes
        while self._finished:
            oldest, after = self.view.segments[:2]
            if excess <= 0 and after.head.newest_before_ns >= oldest_ns:
                break
            excess -= files.bytes_of([oldest.file, *files.side_files(oldest.file)])
            journal = self._unsealed.pop(oldest.first, None)
            del self._finished[0]
            self._show()
            try:
                files.remove(oldest.file)
            except OSError as error:
                raise files.trouble(oldest.file, error) from error
            finally:
                if journal is not None:
                    journal.close()
        gone = self.view.segments[0].head.entries_before - before
        if gone:
            _logger.info("log: old entries dropped", entries=gone)
        return gone

    def bytes(self) -> int:
        """What the directory's files take."""
        return files.bytes_of(list(self.directory.iterdir()))

    def note_lost(self, gaps: Sequence[Missing]) -> None:
        """Record events that went with a damaged segment.

        Raises:
            LogError: they are not recorded.
        """
        self._refresh()
        by_id = {origin.id: replace(origin) for origin in self.origins.values()}
        for gap in gaps:
            by_id[gap.origin].missing += gap.last_seq - gap.first_seq + 1
        with self._transaction() as connection:
            rows.insert(connection, (), (), gaps)
            rows.save_origins(connection, by_id.values())
        self.origins = {(origin.source, origin.epoch): origin for origin in by_id.values()}

    def freeze(self, first: int) -> None:
        """Let nobody move the journal of the segment that begins at ``first``: it is repaired."""
        if first in self._unsealed:
            self._unsealed[first].freeze()

    def replace_finished(self, segment: Segment) -> None:
        """Take the repaired segment in the place of the damaged one."""
        journal = self._unsealed.pop(segment.first, None)
        if journal is not None:
            journal.close()
        self._finished = sorted(
            [one for one in self._finished if one.first != segment.first] + [segment],
            key=lambda one: one.first,
        )
        self._show()

    def restart(self, open_active: Callable[[], tuple[sqlite3.Connection, list[Segment]]]) -> None:
        """Let go of a damaged active segment and go on with what ``open_active`` gives.

        Raises:
            LogError: there is nothing to go on with yet; it may be tried again.
        """
        self._broken = True
        self._journal.freeze()
        # Closed last: SQLite would clear away the journal of a file that was not set aside yet.
        connection, finished = open_active()
        self._journal.close()
        self._active.close()
        self._broken = False
        self._finished = finished
        self._take(connection)
        self._journal = self._new_journal()

    def close(self) -> None:
        """Release the files and the lock."""
        for journal in self.journals():
            journal.close()
        self._active.close()
        self._lock.close()


def new_log_id() -> str:
    """A name for a log that is like no other's."""
    return secrets.token_hex(6)


def make(file: Path, head: Head, fill: schema.Fill) -> None:
    """Create a segment, whole or not at all.

    Raises:
        LogError: it could not be made.
    """
    try:
        schema.create(file, head, fill)
    except sqlite3.Error as error:
        raise schema.explain(error, file) from error
    except OSError as error:
        raise files.trouble(file, error) from error


def begin(file: Path, head: Head, fill: schema.Fill) -> sqlite3.Connection:
    """Create a segment and open it for writing, or leave nothing of it.

    Raises:
        LogError: it could not be made.
    """
    make(file, head, fill)
    try:
        return schema.open_writer(file)
    except sqlite3.Error as error:
        # Left there, it would be taken for the one that grows at the next start.
        files.remove(file)
        raise schema.explain(error, file) from error
