"""All of a collector in one directory, while it runs; and a collector from it.

Each part is copied as it is at one moment, in this order: the rollups, which follow from the log;
the log; the control file, which then has the grants of every path that the log has events of; the
configuration. So none of them knows less than one that follows from it.
"""

import contextlib
import os
import shutil
import sqlite3
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from collector.control.backup import Counts, copy_control, copy_database
from collector.control.schema import FILE_NAME as CONTROL
from collector.log import backup as log_backup
from collector.log import files
from collector.log.verify import Report
from collector.rollup.file import FILE_NAME as ROLLUP
from probes.contract.config.source import CUSTOMERS
from probes.contract.errors import MailcanaryError

LOG = "log"
CONFIG = "config"

Progress = Callable[[int], None]


class BackupError(MailcanaryError, OSError):
    """A backup cannot be made or used; nothing of it was left behind."""


@dataclass(frozen=True, slots=True)
class Copied:
    """What a backup holds, or what was made from it. ``notes`` tell what is not in it, and why."""

    log: Report
    control: Counts
    rollups: bool
    config: int
    bytes: int
    notes: Sequence[str]


def backup(
    state: Path, target: Path, config: Iterable[Path] = (), progress: Progress = lambda _: None
) -> Copied:
    """Copy the collector in ``state``, whether it runs or not, into ``target``, new or empty.

    ``config`` are the files of its settings and configuration; their directories' layout below the
    first one's is kept. The directory gets its name when all is in it, looked through and on the
    disk. ``progress`` is told bytes of the log as they are copied.

    Raises:
        BackupError, LogError, ControlError: there is no collector, a part that cannot be made again
            is damaged, ``target`` is in use, or the disk is full.
    """
    if not (state / LOG).is_dir():
        raise BackupError(f"{state}: found no log, allowed is a collector's state directory")
    files.must_be_free(target)
    notes: list[str] = []
    try:
        with files.made_whole(target) as partial:
            rollups = _copy_rollups(state, partial, notes)
            log = log_backup.backup(state / LOG, partial / LOG, progress)
            control = copy_control(state, partial)
            count = _copy_config(list(config), partial / CONFIG, notes)
            size = files.bytes_of([file for file in partial.rglob("*") if file.is_file()])
    except OSError as error:
        raise error if isinstance(error, MailcanaryError) else _trouble(target, error) from error
    return Copied(log.report, control, rollups, count, size, notes)


def restore(source: Path, state: Path, progress: Progress = lambda _: None) -> Copied:
    """Make the state directory of a collector from a backup; ``state`` is new or empty.

    The log keeps its id and goes on with cursors above all that it ever gave. Run by root, all is
    given to the owner of a ``state`` that is there already. Where it fails ``state`` is left empty.

    Raises:
        BackupError, LogError, ControlError: the backup is none or not whole, ``state`` is in use,
            or the disk is full.
    """
    if not (source / LOG).is_dir() or not (source / CONTROL).is_file():
        raise BackupError(f"{source}: found no backup, allowed is what `mailcanary backup` wrote")
    files.must_be_free(state)
    was_there = state.is_dir()
    try:
        state.mkdir(parents=True, exist_ok=True, mode=0o700)
        notes: list[str] = []
        control = copy_control(source, state)
        rollups = _copy_rollups(source, state, notes)
        log = log_backup.restore(source / LOG, state / LOG, progress)
        if was_there:
            _give_away(state)
        files.sync_directory(state)
    except BaseException as error:
        _clear(state)
        if isinstance(error, OSError) and not isinstance(error, MailcanaryError):
            raise _trouble(state, error) from error
        raise
    size = files.bytes_of([file for file in state.rglob("*") if file.is_file()])
    return Copied(log.report, control, rollups, 0, size, notes)


def config_files(settings: Path | None, main: Path) -> list[Path]:
    """The files that a collector reads: ``main``, the customers' beside it, and its settings."""
    found = [main, *sorted(file for file in (main.parent / CUSTOMERS).glob("*") if file.is_file())]
    return found if settings is None else [*found, settings]


def _copy_rollups(source: Path, target: Path, notes: list[str]) -> bool:
    """Whether they were copied: without them they are counted again, as far as the log reaches."""
    file = source / ROLLUP
    if not file.is_file():
        return False
    try:
        copy_database(file, target / ROLLUP)
    except sqlite3.Error as error:
        notes.append(f"{file}: found {error}: left out; the log has what it follows from")
        return False
    return True


def _copy_config(config: Sequence[Path], target: Path, notes: list[str]) -> int:
    count = 0
    for file in config:
        base = config[0].parent
        place = target / (file.relative_to(base) if file.is_relative_to(base) else file.name)
        try:
            data = file.read_bytes()
        except OSError as error:
            notes.append(f"{file}: found {(error.strerror or str(error)).lower()}: left out")
            continue
        for directory in (target, place.parent):
            directory.mkdir(mode=0o700, exist_ok=True)
        os.close(os.open(place, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
        place.write_bytes(data)
        files.sync_file(place)
        files.sync_directory(place.parent)
        count += 1
    return count


def _give_away(state: Path) -> None:
    if os.geteuid() != 0:
        return
    owner = state.stat()
    for file in state.rglob("*"):
        os.chown(file, owner.st_uid, owner.st_gid)


def _clear(state: Path) -> None:
    with contextlib.suppress(OSError):
        for entry in state.iterdir():
            if entry.is_dir():
                shutil.rmtree(entry, ignore_errors=True)
            else:
                entry.unlink(missing_ok=True)


def _trouble(place: Path, error: OSError) -> BackupError:
    found = (error.strerror or str(error)).lower()
    return BackupError(f"{place}: found {found}, allowed is a directory with room to write to")
