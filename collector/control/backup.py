"""Copies of files that a running collector writes to, the control file first among them."""

import contextlib
import os
import sqlite3
from dataclasses import dataclass
from pathlib import Path

from collector.control.schema import FILE_NAME, SCHEMA_VERSION, ControlError
from collector.log.files import sync_file

_COUNTED = ("tokens", "audit", "agents", "revisions")


@dataclass(frozen=True, slots=True)
class Counts:
    """What a control file holds, in rows."""

    tokens: int
    audit: int
    agents: int
    revisions: int


def copy_database(file: Path, target: Path) -> None:
    """Copy an SQLite file as it is at one moment, whoever writes to it meanwhile.

    The copy is of mode 0600, on the disk, and sound. ``target`` must not be there.

    Raises:
        sqlite3.Error: ``file`` is none, is damaged, or cannot be read.
        OSError: ``target`` cannot be written.
    """
    os.close(os.open(target, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
    try:
        with (
            contextlib.closing(_existing(file)) as source,
            contextlib.closing(sqlite3.connect(target, isolation_level=None)) as copy,
        ):
            # In one step, so in one transaction: in several it would begin anew with every commit
            # of the collector's.
            source.backup(copy)
            # One file from here on, that can be carried about by itself.
            copy.execute("PRAGMA journal_mode=DELETE")
            _must_be_sound(copy)
        sync_file(target)
    except BaseException:
        target.unlink(missing_ok=True)
        raise


def _existing(file: Path) -> sqlite3.Connection:
    connection = sqlite3.connect(f"{file.absolute().as_uri()}?mode=rw", uri=True)
    connection.execute("PRAGMA busy_timeout=5000")
    connection.execute("PRAGMA query_only=ON")
    return connection


def _must_be_sound(connection: sqlite3.Connection) -> None:
    found = connection.execute("PRAGMA quick_check(1)").fetchone()
    if found is None or found[0] != "ok":
        raise sqlite3.DatabaseError(f"damage ({found[0] if found else 'no answer'})")


def copy_control(directory: Path, target: Path) -> Counts:
    """Copy the control file in ``directory``, of a collector or of a backup, into ``target``.

    Raises:
        ControlError: there is none, it is damaged or a newer version's, or it cannot be copied.
    """
    file, copy = directory / FILE_NAME, target / FILE_NAME
    if not file.is_file():
        raise ControlError(f"{directory}: found no {FILE_NAME}, allowed is a directory with one")
    try:
        copy_database(file, copy)
        return _counts(copy)
    except (sqlite3.Error, OSError) as error:
        copy.unlink(missing_ok=True)
        if isinstance(error, ControlError):
            raise
        raise ControlError(
            f"{file}: found {error}, allowed is a sound control file and a disk with room for it"
        ) from error


def _counts(file: Path) -> Counts:
    with contextlib.closing(_existing(file)) as connection:
        version = connection.execute("PRAGMA user_version").fetchone()[0]
        if not 1 <= version <= SCHEMA_VERSION:
            raise ControlError(
                f"{file}: found schema version {version}, allowed is 1 to {SCHEMA_VERSION}; "
                "use the mailcanary version that wrote it"
            )
        rows = (
            connection.execute(f"SELECT count(*) FROM {table}").fetchone()[0]  # noqa: S608 - our own
            for table in _COUNTED
        )
        return Counts(*rows)
