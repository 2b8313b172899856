"""The spool's file: its tables, how it is opened, and what happens to one that cannot be read.

Events, flights, sequence numbers and mailbox cursors live in one file, so that a fact and the state
that follows from it are one transaction: after ``kill -9`` at any moment either both are there or
neither is.
"""

import contextlib
import errno
import fcntl
import os
import secrets
import sqlite3
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from probes.contract.errors import SpoolError

SCHEMA_VERSION = 1
FILE_NAME = "spool.sqlite3"
JOURNAL_BYTES = 16 << 20
"""What the journal (``-wal``) is cut back to when it was longer."""

_TABLES = """
CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
-- AUTOINCREMENT: a sequence number is never used twice, not even after its row was shipped.
CREATE TABLE events (
    seq INTEGER PRIMARY KEY AUTOINCREMENT, at_ns INTEGER NOT NULL, body BLOB NOT NULL
);
CREATE TABLE flights (
    canary TEXT PRIMARY KEY, path TEXT NOT NULL, path_seq INTEGER NOT NULL,
    mailbox_seq INTEGER NOT NULL, due_ns INTEGER NOT NULL, wall_ns INTEGER NOT NULL,
    boot_ns INTEGER NOT NULL, boot_id TEXT NOT NULL, deadline_s REAL NOT NULL,
    loss_after_s REAL NOT NULL, state TEXT NOT NULL
) WITHOUT ROWID;
CREATE TABLE streams (key TEXT PRIMARY KEY, last INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE cursors (
    mailbox TEXT NOT NULL, folder TEXT NOT NULL, uidvalidity INTEGER NOT NULL,
    next_uid INTEGER NOT NULL, wall_ns INTEGER NOT NULL, boot_ns INTEGER NOT NULL,
    boot_id TEXT NOT NULL, account TEXT NOT NULL, PRIMARY KEY (mailbox, folder)
) WITHOUT ROWID;
-- Mails that are accounted for and still have to be deleted from their mailbox.
CREATE TABLE cleanup (
    mailbox TEXT NOT NULL, folder TEXT NOT NULL, uidvalidity INTEGER NOT NULL, uid INTEGER NOT NULL,
    PRIMARY KEY (mailbox, folder, uidvalidity, uid)
) WITHOUT ROWID;
"""

# The primary result codes (the low byte) of a file that is damaged or no database at all.
_DAMAGED = (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)


def is_damage(error: sqlite3.Error) -> bool:
    """Whether the error says that the file itself is broken, rather than the disk full or busy."""
    code = getattr(error, "sqlite_errorcode", None)
    return code is not None and code & 0xFF in _DAMAGED


class SpoolFullError(SpoolError):
    """The spool's disk is full: waiting may mend it, a restart does not."""


class SpoolDamagedError(SpoolError):
    """The spool's file was damaged while it was open: a restart moves it aside."""


def _is_full(error: Exception) -> bool:
    if isinstance(error, sqlite3.Error):
        return getattr(error, "sqlite_errorcode", 0) & 0xFF == sqlite3.SQLITE_FULL
    return isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT)


@dataclass(slots=True)
class OpenSpool:
    """An open spool file. ``quarantined`` is where an unreadable predecessor was moved to."""

    connection: sqlite3.Connection
    epoch: str
    lock: IO[str]
    quarantined: Path | None


def _take_lock(directory: Path) -> IO[str]:
    lock = (directory / "lock").open("a+", encoding="ascii")
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        lock.seek(0)
        owner = lock.read().strip() or "unknown"
        lock.close()
        raise SpoolError(
            f"{directory}: found the lock held by process {owner}, allowed is one agent per state "
            "directory"
        ) from None
    except BaseException:
        lock.close()
        raise
    # The number is for whoever finds the lock held; on a full disk the lock holds without it.
    with contextlib.suppress(OSError):
        os.ftruncate(lock.fileno(), 0)
        os.write(lock.fileno(), f"{os.getpid()}\n".encode())
    return lock


def _damaged(text: str) -> sqlite3.DatabaseError:
    error = sqlite3.DatabaseError(text)
    error.sqlite_errorcode = sqlite3.SQLITE_CORRUPT
    return error


def _check(connection: sqlite3.Connection) -> None:
    found = connection.execute("PRAGMA quick_check(1)").fetchone()
    if found is None or found[0] != "ok":
        raise _damaged(f"quick_check: {found[0] if found else 'no answer'}")


def _prepare(connection: sqlite3.Connection) -> None:
    connection.execute("PRAGMA journal_mode=WAL")
    # FULL: a commit is on the disk, not in the page cache; group commit pays for it.
    connection.execute("PRAGMA synchronous=FULL")
    connection.execute("PRAGMA busy_timeout=5000")
    # The journal goes into the file with every commit past some 4 MiB and is begun anew; how long
    # it once became behind a slow reader's back, or in one great commit, it need not stay.
    connection.execute("PRAGMA wal_autocheckpoint=1000")
    connection.execute(f"PRAGMA journal_size_limit={JOURNAL_BYTES:d}")
    _check(connection)


def _create(connection: sqlite3.Connection) -> str:
    epoch = secrets.token_hex(6)
    connection.execute("BEGIN IMMEDIATE")
    try:
        for statement in _TABLES.split(";"):
            connection.execute(statement)
        connection.executemany(
            "INSERT INTO meta VALUES (?, ?)", [("epoch", epoch), ("shipped", "0"), ("dropped", "0")]
        )
        connection.execute(f"PRAGMA user_version={SCHEMA_VERSION:d}")
        connection.execute("COMMIT")
    except BaseException:
        connection.execute("ROLLBACK")
        raise
    return epoch


def _epoch(connection: sqlite3.Connection, file: Path) -> str:
    version = connection.execute("PRAGMA user_version").fetchone()[0]
    if version == 0:
        return _create(connection)
    if version != SCHEMA_VERSION:
        raise SpoolError(
            f"{file}: found schema version {version}, allowed is {SCHEMA_VERSION}; "
            "use the mailcanary version that wrote it"
        )
    row = connection.execute("SELECT value FROM meta WHERE key='epoch'").fetchone()
    if row is None:
        raise _damaged("no epoch")
    return str(row[0])


def _quarantine(file: Path) -> Path:
    """Move a damaged spool and its journal aside, under a name that is free."""
    number = 1
    while (target := file.with_name(f"{file.name}.damaged-{number}")).exists():
        number += 1
    file.rename(target)
    for suffix in ("-wal", "-shm"):
        side = file.with_name(file.name + suffix)
        if side.exists():
            side.rename(target.with_name(target.name + suffix))
    return target


class _DamagedError(Exception):
    """The file was damaged and has been moved."""

    def __init__(self, moved_to: Path) -> None:
        super().__init__(str(moved_to))
        self.moved_to = moved_to


def _open_file(file: Path) -> tuple[sqlite3.Connection, str]:
    """The connection and the epoch.

    Raises:
        _DamagedError: the file was damaged and has been moved aside; there is room for a new one.
    """
    connection = sqlite3.connect(file, isolation_level=None, check_same_thread=False)
    try:
        _prepare(connection)
        return connection, _epoch(connection, file)
    except sqlite3.Error as error:
        if is_damage(error):
            # Before the connection is closed: SQLite would delete the journal then.
            moved_to = _quarantine(file)
            connection.close()
            raise _DamagedError(moved_to) from error
        connection.close()
        raise
    except BaseException:
        connection.close()
        raise


def open_spool(directory: Path) -> OpenSpool:
    """Open, or create, the spool in ``directory`` and take its lock.

    A damaged file is moved aside, never deleted, and a new one with a new epoch takes its place: an
    agent that stays down is worse than one with a gap that everybody can see.

    Raises:
        SpoolFullError: the disk is full.
        SpoolError: the directory cannot be used, another agent holds it, or a newer version wrote
            the file.
    """
    try:
        directory.mkdir(parents=True, exist_ok=True, mode=0o700)
        lock = _take_lock(directory)
    except SpoolError:
        raise
    except OSError as error:
        kind = SpoolFullError if _is_full(error) else SpoolError
        raise kind(
            f"{directory}: found {error.strerror}, allowed is a directory that the "
            "agent may write to"
        ) from error
    file = directory / FILE_NAME
    quarantined: Path | None = None
    try:
        try:
            connection, epoch = _open_file(file)
        except _DamagedError as damaged:
            quarantined = damaged.moved_to
            connection, epoch = _open_file(file)
    except sqlite3.Error as error:
        lock.close()
        kind = SpoolFullError if _is_full(error) else SpoolError
        raise kind(
            f"{file}: found {error}, allowed is a disk with room that the agent may write to"
        ) from error
    except BaseException:
        lock.close()
        raise
    return OpenSpool(connection, epoch, lock, quarantined)
