"""The rollup's file: its tables, and how it is opened. What it holds follows from the log."""

import contextlib
import os
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import IO

import msgspec

from collector.log.files import HeldError, free_name, hold, move_sides, side_files
from probes.contract.errors import MailcanaryError

SCHEMA_VERSION = 2
FILE_NAME = "rollup.sqlite3"
LOCK_NAME = "rollup.lock"
JOURNAL_BYTES = 32 << 20

_TABLES = """
CREATE TABLE meta (key TEXT PRIMARY KEY, value BLOB NOT NULL) WITHOUT ROWID;
CREATE TABLE series (
    number INTEGER PRIMARY KEY, dimension TEXT NOT NULL, key TEXT NOT NULL, labels TEXT NOT NULL,
    customer TEXT NOT NULL
);
CREATE INDEX series_by_key ON series (dimension, key);
CREATE INDEX series_by_customer ON series (customer) WHERE dimension = 'path';
-- In the order of time, so that what is new stands together and what is old goes in one piece.
CREATE TABLE cells (
    tier INTEGER NOT NULL, start INTEGER NOT NULL, series INTEGER NOT NULL, cell BLOB NOT NULL,
    PRIMARY KEY (tier, start, series)
) WITHOUT ROWID;
CREATE TABLE canaries (
    number INTEGER PRIMARY KEY, key BLOB NOT NULL UNIQUE, born_ns INTEGER NOT NULL,
    open INTEGER NOT NULL, state BLOB NOT NULL
);
CREATE INDEX canaries_open ON canaries (number) WHERE open;
CREATE TABLE streams (
    name TEXT PRIMARY KEY, used_ns INTEGER NOT NULL, state BLOB NOT NULL
) WITHOUT ROWID;
CREATE TABLE revisions (
    place INTEGER PRIMARY KEY AUTOINCREMENT, revision TEXT NOT NULL UNIQUE, named BLOB NOT NULL
);
CREATE TABLE agents (name TEXT PRIMARY KEY, heard_ns INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE paths (
    path TEXT PRIMARY KEY, customer TEXT NOT NULL, latest BLOB NOT NULL
) WITHOUT ROWID;
CREATE INDEX paths_by_customer ON paths (customer);
"""
_TABLES_OF_2 = """
CREATE TABLE looks (
    name TEXT PRIMARY KEY, relay TEXT NOT NULL, probe TEXT NOT NULL, target TEXT NOT NULL,
    place TEXT NOT NULL, source TEXT NOT NULL, agent TEXT NOT NULL, ok INTEGER NOT NULL,
    stage TEXT NOT NULL, reason TEXT NOT NULL, since_ns INTEGER NOT NULL, at_ns INTEGER NOT NULL,
    told_ns INTEGER NOT NULL, control INTEGER NOT NULL, stale_ns INTEGER NOT NULL,
    said BLOB NOT NULL
);
CREATE INDEX looks_by_relay ON looks (relay, probe);
CREATE TABLE queued (
    number INTEGER PRIMARY KEY, relay TEXT NOT NULL, queue_id TEXT NOT NULL,
    last_ns INTEGER NOT NULL, state BLOB NOT NULL
);
CREATE INDEX queued_by_place ON queued (relay, queue_id);
"""
"""What came with version 2: the checks."""

_DAMAGED = (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)


class RollupError(MailcanaryError, OSError):
    """The rollup's file cannot be read or written now; nothing of the operation was done."""


class RollupFullError(RollupError):
    """The rollup's disk is full: waiting may mend it, a restart does not."""


class RollupDamagedError(RollupError):
    """The rollup's file is damaged; opened again it is moved aside and made anew from the log."""


def _explain(error: sqlite3.Error, file: Path) -> RollupError:
    """The rollup's error for SQLite's: is the file damaged, or the disk at fault?"""
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF
    if code in _DAMAGED:
        return RollupDamagedError(f"{file}: the file is damaged ({error})")
    if code == sqlite3.SQLITE_FULL:
        return RollupFullError(f"{file}: the disk is full ({error})")
    return RollupError(f"{file}: could not be read or written ({error})")


@contextlib.contextmanager
def explained(file: Path) -> Iterator[None]:
    """Errors of SQLite's, and of what is in the rollup's rows, become the rollup's own.

    Raises:
        RollupError: instead of them, of the kind that says whether file or disk is at fault.
    """
    try:
        yield
    except sqlite3.Error as error:
        raise _explain(error, file) from error
    except msgspec.MsgspecError as error:
        raise RollupDamagedError(f"{file}: the file is damaged ({error})") from error


@contextlib.contextmanager
def _kept(connection: sqlite3.Connection) -> Iterator[None]:
    """Close a connection that cannot be used after all."""
    try:
        yield
    except BaseException:
        connection.close()
        raise


def for_owner_alone(file: Path) -> None:
    """Keep a file to its owner, and make it where there is none: whoever made the directory
    may have left it open to others.

    Raises:
        OSError: it cannot be made.
    """
    with contextlib.suppress(FileExistsError):
        os.close(os.open(file, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
    # By name: to open and close it would take SQLite's locks from it. SQLite's own files beside
    # one are made as it is, but may be from before.
    for one in (file, *side_files(file)):
        # Not for another user's file, nor on a disk that is read-only.
        with contextlib.suppress(OSError):
            one.chmod(0o600)


def take_lock(file: Path) -> IO[str]:
    """Become the only one that writes to a rollup, as long as what is given stays open.

    A collector that was killed may leave a process that still ends what it began.

    Raises:
        RollupError: another process has it, or the directory cannot be used.
    """
    lock = file.with_name(LOCK_NAME)
    try:
        for_owner_alone(lock)
        return hold(lock)
    except HeldError as error:
        raise RollupError(f"{file}: found it {error}, allowed is one process at a time") from None
    except OSError as error:
        raise RollupError(f"{file}: {error.strerror}") from error


def open_file(file: Path) -> sqlite3.Connection:
    """Open, or create, a rollup's file for its one writer; an older one is brought up to date.

    Raises:
        RollupDamagedError: it is damaged, or no database.
        RollupFullError: the disk is full.
        RollupError: it cannot be used, or a newer version wrote it.
    """
    with contextlib.suppress(OSError):
        # Where it cannot be made, SQLite says why.
        for_owner_alone(file)
    # One thread uses it at a time: whoever owns it may open it in another.
    with explained(file):
        connection = sqlite3.connect(file, isolation_level=None, check_same_thread=False)
    with explained(file), _kept(connection):
        connection.execute("PRAGMA journal_mode=WAL")
        # NORMAL: after a power cut the last batches may be gone, cursor and effect alike.
        connection.execute("PRAGMA synchronous=NORMAL")
        connection.execute("PRAGMA busy_timeout=5000")
        connection.execute("PRAGMA cache_size=-32000")
        connection.execute(f"PRAGMA journal_size_limit={JOURNAL_BYTES:d}")
        version = connection.execute("PRAGMA user_version").fetchone()[0]
        if version == 0:
            _create(connection, _TABLES + _TABLES_OF_2)
        elif version == 1:
            _create(connection, _TABLES_OF_2)
        else:
            _check_version(version, file)
    return connection


def open_to_read(file: Path) -> sqlite3.Connection:
    """A connection that cannot write, beside the writer's.

    Raises:
        RollupError: as :func:`open_file`; or there is no such file.
    """
    with explained(file):
        connection = sqlite3.connect(
            f"{file.absolute().as_uri()}?mode=ro",
            uri=True,
            isolation_level=None,
            check_same_thread=False,
        )
    with explained(file), _kept(connection):
        connection.execute("PRAGMA busy_timeout=5000")
        version = connection.execute("PRAGMA user_version").fetchone()[0]
        _check_version(version, file)
    return connection


def _check_version(version: int, file: Path) -> None:
    if version != SCHEMA_VERSION:
        raise RollupError(
            f"{file}: found schema version {version}, allowed is {SCHEMA_VERSION}; "
            "use the mailcanary version that wrote it"
        )


def _create(connection: sqlite3.Connection, tables: str) -> None:
    """Make the tables that are missing; with them it is a file of this version."""
    connection.execute("BEGIN IMMEDIATE")
    try:
        for statement in tables.split(";"):
            connection.execute(statement)
        connection.execute(f"PRAGMA user_version={SCHEMA_VERSION:d}")
        connection.execute("COMMIT")
    except BaseException:
        with contextlib.suppress(sqlite3.Error):
            connection.execute("ROLLBACK")
        raise


def move_aside(file: Path, why: str) -> Path:
    """Move a rollup and its journal away, under a name that is free; gives the name."""
    target = free_name(file, why)
    file.rename(target)
    move_sides(file, target)
    return target
