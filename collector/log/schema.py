"""A segment's tables, how its file is opened, and what SQLite's errors mean.

Consecutive events of a source lie in one row, a chunk: their JSON lines, packed together. A row
per event would give up the interpreter's lock, and wait for it again, with every single event.
"""

import errno
import os
import sqlite3
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from collector.log import files
from collector.log.engine import LogError, LogFullError

SCHEMA_VERSION = 2
PAGE_BYTES = 16384
JOURNAL_BYTES = 64 << 20
"""What the journal (``-wal``) is cut back to when it was longer: a file that is written over
needs no new length on the disk with every commit."""

_TABLES = """
CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
-- One row per (source, epoch): how far it had come when the segment began, and has come at its end.
CREATE TABLE origins (
    id INTEGER PRIMARY KEY, source TEXT NOT NULL, epoch TEXT NOT NULL, base INTEGER NOT NULL,
    high_water INTEGER NOT NULL, missing INTEGER NOT NULL, first_at_ns INTEGER NOT NULL,
    last_at_ns INTEGER NOT NULL, UNIQUE (source, epoch)
);
-- Events with the cursors from cursor on and the numbers from first_seq on, each one more than
-- the one before: content is a JSON list of their kinds and then their JSON, a line each, length
-- bytes in all, and packed by zlib where it is shorter than that.
CREATE TABLE chunks (
    cursor INTEGER PRIMARY KEY, events INTEGER NOT NULL, ingested_at_ns INTEGER NOT NULL,
    origin INTEGER NOT NULL, first_seq INTEGER NOT NULL, length INTEGER NOT NULL,
    content BLOB NOT NULL
);
CREATE TABLE dead (
    cursor INTEGER PRIMARY KEY, ingested_at_ns INTEGER NOT NULL, origin INTEGER NOT NULL,
    seq INTEGER NOT NULL, reason TEXT NOT NULL, detail TEXT NOT NULL, body BLOB NOT NULL
);
-- cause: 'skipped' by the source, or 'damage' to a segment that held them.
CREATE TABLE gaps (
    id INTEGER PRIMARY KEY, at_ns INTEGER NOT NULL, origin INTEGER NOT NULL,
    first_seq INTEGER NOT NULL, last_seq INTEGER NOT NULL, cause TEXT NOT NULL
);
"""

Migration = Callable[[sqlite3.Connection], None]
MIGRATIONS: Mapping[int, Migration] = {}
"""How a file of the version in the key becomes one of the next."""

# The primary result codes (the low byte) of a file that is damaged or no database at all.
_DAMAGED = (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)


@dataclass(frozen=True, slots=True)
class Head:
    """What a segment says of itself. The totals are those of the whole log before it."""

    log_id: str
    first: int
    begun_at_ns: int
    """When its first event was taken in; 0 while it has none."""
    newest_before_ns: int
    last_before: int
    """The cursor of the last entry before it."""
    entries_before: int
    dead_before: int
    salvaged: bool = False
    """Whether it holds what could be read of a damaged one."""


class DamagedError(Exception):
    """A segment's file is broken."""


def is_damage(error: sqlite3.Error) -> bool:
    """Whether the error says that the file itself is broken, rather than the disk full or busy."""
    code = getattr(error, "sqlite_errorcode", None)
    return code is not None and code & 0xFF in _DAMAGED


def _no_room(directory: Path) -> bool:
    """Whether a few pages cannot be written: SQLite does not tell a quota from a broken disk."""
    probe = directory / "room"
    try:
        descriptor = os.open(probe, os.O_CREAT | os.O_WRONLY, 0o600)
        try:
            os.write(descriptor, b"\0" * 4 * PAGE_BYTES)
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
            probe.unlink()
    except OSError as error:
        return error.errno in (errno.ENOSPC, errno.EDQUOT)
    return False


def explain(error: sqlite3.Error, place: Path) -> LogError:
    """The log's error for SQLite's. ``place`` is the segment or the log's directory."""
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF
    directory = place if place.is_dir() else place.parent
    doubtful = (sqlite3.SQLITE_IOERR, sqlite3.SQLITE_CANTOPEN)
    if code == sqlite3.SQLITE_FULL or (code in doubtful and _no_room(directory)):
        return LogFullError(f"{place}: found {error}, allowed is a disk with room")
    return LogError(f"{place}: found {error}, allowed is a file that can be read and written")


def _set_up(connection: sqlite3.Connection) -> None:
    connection.execute(f"PRAGMA page_size={PAGE_BYTES:d}")
    connection.execute("PRAGMA journal_mode=WAL")
    # FULL: a commit is on the disk, not in the page cache; group commit pays for it.
    connection.execute("PRAGMA synchronous=FULL")
    connection.execute("PRAGMA busy_timeout=5000")
    # See collector.log.journal.
    connection.execute("PRAGMA wal_autocheckpoint=0")
    connection.execute(f"PRAGMA journal_size_limit={JOURNAL_BYTES:d}")


def write_head(connection: sqlite3.Connection, head: Head) -> None:
    """Put down what the segment says of itself."""
    values = {
        "log_id": head.log_id,
        "first": head.first,
        "begun_at_ns": head.begun_at_ns,
        "newest_before_ns": head.newest_before_ns,
        "last_before": head.last_before,
        "entries_before": head.entries_before,
        "dead_before": head.dead_before,
        "salvaged": int(head.salvaged),
    }
    rows = [(key, str(value)) for key, value in values.items()]
    connection.executemany("INSERT OR REPLACE INTO meta VALUES (?, ?)", rows)


def read_head(connection: sqlite3.Connection) -> Head:
    """What the segment says of itself.

    Raises:
        DamagedError: it says nothing of the kind.
        sqlite3.Error: it cannot be read.
    """
    meta = dict(connection.execute("SELECT key, value FROM meta"))
    try:
        return Head(
            log_id=meta["log_id"],
            first=int(meta["first"]),
            begun_at_ns=int(meta["begun_at_ns"]),
            newest_before_ns=int(meta["newest_before_ns"]),
            last_before=int(meta["last_before"]),
            entries_before=int(meta["entries_before"]),
            dead_before=int(meta["dead_before"]),
            salvaged=meta["salvaged"] == "1",
        )
    except (KeyError, ValueError) as error:
        raise DamagedError(f"meta: {error}") from error


Fill = Callable[[sqlite3.Connection], None]


def create(file: Path, head: Head, fill: Fill) -> None:
    """Make a segment: whole, with what ``fill`` puts into it, or not at all.

    Raises:
        sqlite3.Error, OSError: it could not be made; nothing of it is left.
    """
    temporary = file.with_name(file.name + files.TEMPORARY)
    files.remove(temporary)
    try:
        connection = sqlite3.connect(temporary, isolation_level=None)
        try:
            _set_up(connection)
            connection.execute("BEGIN IMMEDIATE")
            for statement in _TABLES.split(";"):
                connection.execute(statement)
            write_head(connection, head)
            fill(connection)
            connection.execute(f"PRAGMA user_version={SCHEMA_VERSION:d}")
            connection.execute("COMMIT")
            connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        finally:
            connection.close()
        files.publish(temporary, file)
    except BaseException:
        files.remove(temporary)
        raise


def open_writer(file: Path) -> sqlite3.Connection:
    """A connection that may write to an existing segment."""
    connection = sqlite3.connect(
        f"{file.absolute().as_uri()}?mode=rw",
        uri=True,
        isolation_level=None,
        check_same_thread=False,
    )
    try:
        _set_up(connection)
    except BaseException:
        connection.close()
        raise
    return connection


def open_reader(file: Path, *, still: bool) -> sqlite3.Connection:
    """A connection that only reads. ``still``: nobody writes to the file and it has no journal."""
    mode = "mode=ro&immutable=1" if still else "mode=ro"
    connection = sqlite3.connect(
        f"{file.absolute().as_uri()}?{mode}",
        uri=True,
        isolation_level=None,
        check_same_thread=False,
    )
    connection.execute("PRAGMA busy_timeout=5000")
    return connection


def check_version(
    connection: sqlite3.Connection,
    file: Path,
    migrations: Mapping[int, Migration] = MIGRATIONS,
    version: int = SCHEMA_VERSION,
) -> bool:
    """Bring an older file to our schema, one transaction per step; whether it was older.

    Raises:
        LogError: a newer version of mailcanary wrote it, or one that is too old.
        DamagedError: it has no version.
    """
    found = int(connection.execute("PRAGMA user_version").fetchone()[0])
    if found == version:
        return False
    if found == 0 and 0 not in migrations:
        raise DamagedError("found no schema version")
    if found > version or found not in migrations:
        raise LogError(
            f"{file}: found schema version {found}, allowed is {version}; "
            "use the mailcanary version that wrote it"
        )
    while found != version:
        connection.execute("BEGIN IMMEDIATE")
        try:
            migrations[found](connection)
            connection.execute(f"PRAGMA user_version={found + 1:d}")
            connection.execute("COMMIT")
        except BaseException:
            if connection.in_transaction:
                connection.execute("ROLLBACK")
            raise
        found += 1
    return True


def quick_check(connection: sqlite3.Connection) -> None:
    """Look through the whole file for damage.

    Raises:
        DamagedError: there is some.
        sqlite3.Error: it cannot be read.
    """
    found = connection.execute("PRAGMA quick_check(1)").fetchone()
    if found is None or found[0] != "ok":
        raise DamagedError(f"quick_check: {found[0] if found else 'no answer'}")
