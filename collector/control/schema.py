"""The control file: its tables, their versions, and how it is opened."""

import os
import sqlite3
from pathlib import Path

from probes.contract.errors import MailcanaryError

FILE_NAME = "control.sqlite3"

MIGRATIONS: tuple[str, ...] = (
    """
    CREATE TABLE tokens (
        id TEXT PRIMARY KEY, kind TEXT NOT NULL, name TEXT NOT NULL, digest BLOB NOT NULL,
        created_ns INTEGER NOT NULL, created_by TEXT NOT NULL, expires_ns INTEGER,
        revoked_ns INTEGER, last_used_ns INTEGER
    ) WITHOUT ROWID;
    -- AUTOINCREMENT: an entry's number is never used twice.
    CREATE TABLE audit (
        id INTEGER PRIMARY KEY AUTOINCREMENT, at_ns INTEGER NOT NULL, who TEXT NOT NULL,
        verb TEXT NOT NULL, target TEXT NOT NULL, diff TEXT NOT NULL
    );
    CREATE TRIGGER audit_is_not_changed BEFORE UPDATE ON audit
        BEGIN SELECT RAISE(ABORT, 'the audit trail is append-only'); END;
    CREATE TRIGGER audit_is_not_shortened BEFORE DELETE ON audit
        BEGIN SELECT RAISE(ABORT, 'the audit trail is append-only'); END;
    CREATE TABLE agents (
        name TEXT PRIMARY KEY, seen_ns INTEGER, body BLOB NOT NULL
    ) WITHOUT ROWID;
    CREATE TABLE marks (key TEXT PRIMARY KEY, value INTEGER NOT NULL) WITHOUT ROWID;
    CREATE TABLE revisions (
        number INTEGER PRIMARY KEY AUTOINCREMENT, revision TEXT NOT NULL, at_ns INTEGER NOT NULL,
        document BLOB NOT NULL
    );
    CREATE INDEX revisions_by_name ON revisions (revision);
    """,
    """
    -- What the agents were ever given; until_ns is null while it is in force.
    CREATE TABLE grants (body BLOB PRIMARY KEY, until_ns INTEGER) WITHOUT ROWID;
    """,
)
"""Each brings the file from the version that is its index to the next one."""

SCHEMA_VERSION = len(MIGRATIONS)


class ControlError(MailcanaryError, OSError):
    """The control file cannot be read or written: disk, damage, rights, newer schema."""


def open_control(directory: Path) -> sqlite3.Connection:
    """Open, or create, the control file in ``directory``, and bring it to this version.

    Several processes may have it open: the collector, and ``mailcanary token``. A damaged file is
    left as it is: who may do what must not be forgotten in silence.

    Raises:
        ControlError: the directory cannot be used, the file is damaged or a newer version's.
    """
    file = directory / FILE_NAME
    try:
        _create_file(directory, file)
        connection = sqlite3.connect(file, isolation_level=None, check_same_thread=False)
    except (OSError, sqlite3.Error) as error:
        raise ControlError(
            f"{file}: found {error}, allowed is a directory that this user can write"
        ) from error
    try:
        _prepare(connection)
        _migrate(connection, file)
    except sqlite3.Error as error:
        connection.close()
        raise ControlError(
            f"{file}: found {error}, allowed is a sound control file; a backup has one"
        ) from error
    except BaseException:
        connection.close()
        raise
    return connection


def _create_file(directory: Path, file: Path) -> None:
    directory.mkdir(parents=True, exist_ok=True, mode=0o700)
    try:
        handle = os.open(file, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600)
    except FileExistsError:
        return
    try:
        if os.geteuid() == 0:
            # Made by root on the command line, it is for whoever the collector runs as.
            owner = directory.stat()
            os.fchown(handle, owner.st_uid, owner.st_gid)
    finally:
        os.close(handle)


def _prepare(connection: sqlite3.Connection) -> None:
    connection.execute("PRAGMA busy_timeout=5000")
    connection.execute("PRAGMA journal_mode=WAL")
    connection.execute("PRAGMA synchronous=FULL")
    connection.execute("PRAGMA trusted_schema=OFF")
    found = connection.execute("PRAGMA quick_check(1)").fetchone()
    if found is None or found[0] != "ok":
        raise sqlite3.DatabaseError(f"damage ({found[0] if found else 'no answer'})")


def _migrate(connection: sqlite3.Connection, file: Path) -> None:
    if _version(connection, file) == SCHEMA_VERSION:
        return
    connection.execute("BEGIN IMMEDIATE")
    try:
        # Again, now that no other process can: it may have done it in between.
        for number in range(_version(connection, file), SCHEMA_VERSION):
            for statement in _statements(MIGRATIONS[number]):
                connection.execute(statement)
        connection.execute(f"PRAGMA user_version={SCHEMA_VERSION:d}")
        connection.execute("COMMIT")
    except BaseException:
        connection.execute("ROLLBACK")
        raise


def _version(connection: sqlite3.Connection, file: Path) -> int:
    version = int(connection.execute("PRAGMA user_version").fetchone()[0])
    if version > SCHEMA_VERSION:
        raise ControlError(
            f"{file}: found schema version {version}, allowed is at most {SCHEMA_VERSION}; "
            "use the mailcanary version that wrote it"
        )
    return version


def _statements(script: str) -> list[str]:
    """The statements of a script; those of a trigger stay together."""
    statements: list[str] = []
    text = ""
    for line in script.splitlines(keepends=True):
        text += line
        if sqlite3.complete_statement(text):
            statements.append(text)
            text = ""
    return statements
