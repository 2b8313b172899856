"""The log's directory: what its files are called, who owns it, how a file comes and goes.

A segment is ``<first cursor>.sqlite3``, so that a directory listing tells which entries stand where
even when a file in it cannot be read.
"""

import contextlib
import errno
import fcntl
import os
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from collector.log.engine import LogError, LogFullError

SUFFIX = ".sqlite3"
TEMPORARY = ".new"
PARTIAL = ".partial"
"""What a copy is called until it is whole."""
SIDE_SUFFIXES = ("-wal", "-shm")
_NAME = re.compile(r"(\d{16})\.sqlite3")
_LEFTOVER = re.compile(r"\d{16}\.sqlite3\.new(-wal|-shm|-journal)?")
_SIDE = re.compile(r"(\d{16}\.sqlite3)(-wal|-shm)")
_DAMAGED = re.compile(r"\d{16}\.sqlite3\.damaged-\d+")


def segment_file(directory: Path, first: int) -> Path:
    """Where the segment whose entries begin at cursor ``first`` lies."""
    return directory / f"{first:016d}{SUFFIX}"


def _names(directory: Path) -> set[str]:
    return {file.name for file in directory.iterdir()}


def list_segments(directory: Path) -> list[int]:
    """The first cursors of all segments, in order."""
    matches = (_NAME.fullmatch(name) for name in _names(directory))
    return sorted(int(match[1]) for match in matches if match)


def list_damaged(directory: Path) -> list[Path]:
    """The damaged segments that were moved aside."""
    return sorted(directory / name for name in _names(directory) if _DAMAGED.fullmatch(name))


def list_leftovers(directory: Path) -> list[Path]:
    """What a crash left: segments that were never finished, journals whose segment is gone."""
    names = _names(directory)
    found = {name for name in names if _LEFTOVER.fullmatch(name)}
    found |= {name for name in names if (side := _SIDE.fullmatch(name)) and side[1] not in names}
    return sorted(directory / name for name in found)


def side_files(file: Path) -> list[Path]:
    """SQLite's journal and shared memory beside ``file``, as far as they exist."""
    sides = (file.with_name(file.name + suffix) for suffix in SIDE_SUFFIXES)
    return [side for side in sides if side.exists()]


def journal_bytes(file: Path) -> int:
    """The length of the journal: 0 when the file holds everything by itself."""
    try:
        return file.with_name(file.name + SIDE_SUFFIXES[0]).stat().st_size
    except FileNotFoundError:
        return 0


def bytes_of(paths: list[Path]) -> int:
    """What the files take together; one that is gone takes nothing."""
    total = 0
    for path in paths:
        with contextlib.suppress(FileNotFoundError):
            total += path.stat().st_size
    return total


def remove(file: Path) -> None:
    """Delete a segment; its journal after it, so that a crash leaves a journal, not half a file."""
    file.unlink(missing_ok=True)
    for side in side_files(file):
        side.unlink(missing_ok=True)


def free_name(file: Path, why: str) -> Path:
    """A name beside ``file`` that nothing bears yet, and that says why it is no longer there."""
    number = 1
    while (target := file.with_name(f"{file.name}.{why}-{number}")).exists():
        number += 1
    return target


def move_sides(file: Path, target: Path) -> None:
    """Put the journal and the shared memory of ``file`` beside ``target``."""
    for side in side_files(file):
        side.rename(target.with_name(target.name + side.name[len(file.name) :]))


def set_aside(file: Path) -> Path:
    """Keep a damaged segment and its journal under a name that is free.

    The segment keeps its own name too, until a repaired one takes that; its journal does not, which
    would be taken for the other's.
    """
    target = free_name(file, "damaged")
    os.link(file, target)
    move_sides(file, target)
    sync_directory(file.parent)
    return target


def take_back(file: Path, target: Path) -> None:
    """Undo :func:`set_aside`, as nothing has taken the place of ``file``."""
    with contextlib.suppress(OSError):
        move_sides(target, file)
        target.unlink()


def publish(temporary: Path, file: Path) -> None:
    """Give a finished file its name, so that it is there whole or not at all."""
    sync_file(temporary)
    temporary.rename(file)
    sync_directory(file.parent)


def must_be_free(target: Path) -> None:
    """See that there is nothing at ``target``, or an empty directory.

    Raises:
        LogError: there is, or it cannot be seen.
    """
    try:
        taken = target.exists() and (not target.is_dir() or any(target.iterdir()))
    except OSError as error:
        raise trouble(target, error) from error
    if taken:
        raise LogError(
            f"{target}: found something there, allowed is a directory that is new or empty"
        )


@contextlib.contextmanager
def made_whole(target: Path) -> Iterator[Path]:
    """A directory to be filled, for its owner alone, that gets the name ``target`` once it is.

    Where that fails nothing of it is left.

    Raises:
        OSError: it cannot be made.
    """
    partial = target.with_name(target.name + PARTIAL)
    shutil.rmtree(partial, ignore_errors=True)
    try:
        partial.mkdir(parents=True, mode=0o700)
        yield partial
        sync_directory(partial)
        with contextlib.suppress(FileNotFoundError):
            target.rmdir()
        partial.rename(target)
        sync_directory(target.absolute().parent)
    except BaseException:
        shutil.rmtree(partial, ignore_errors=True)
        raise


def sync_file(file: Path) -> None:
    """Put a file's content on the disk."""
    descriptor = os.open(file, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def sync_directory(directory: Path) -> None:
    """Make what was renamed in ``directory`` outlast a power cut."""
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


class HeldError(Exception):
    """Another process has the lock; ``owner`` is its number, as far as it is known."""

    def __init__(self, owner: str) -> None:
        super().__init__(f"held by process {owner}")
        self.owner = owner


def hold(file: Path) -> IO[str]:
    """Lock ``file``, made where there is none, for as long as what is given stays open.

    Raises:
        HeldError: another process has it.
        OSError: the file cannot be used.
    """
    lock = file.open("a+", encoding="ascii")
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        lock.seek(0)
        owner = lock.read().strip() or "unknown"
        lock.close()
        raise HeldError(owner) from None
    except BaseException:
        lock.close()
        raise
    # The number is for whoever finds the lock held; on a full disk the lock holds without it.
    with contextlib.suppress(OSError):
        os.ftruncate(lock.fileno(), 0)
        os.write(lock.fileno(), f"{os.getpid()}\n".encode())
    return lock


def take_lock(directory: Path) -> IO[str]:
    """Become the directory's only owner, for as long as the file that is given stays open.

    Raises:
        LogError: another process has it, or the directory cannot be used.
        LogFullError: the disk is full.
    """
    try:
        directory.mkdir(parents=True, exist_ok=True, mode=0o700)
        return hold(directory / "lock")
    except HeldError as error:
        raise LogError(
            f"{directory}: found the lock {error}, allowed is one collector per log"
        ) from None
    except OSError as error:
        raise trouble(directory, error) from error


def trouble(place: Path, error: OSError) -> LogError:
    """The log's error for the operating system's."""
    kind = LogFullError if error.errno in (errno.ENOSPC, errno.EDQUOT) else LogError
    return kind(
        f"{place}: found {error.strerror}, allowed is a directory with room that the collector "
        "may write to"
    )
