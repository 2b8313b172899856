"""A copy of a log that is being written to, and a log from such a copy."""

import shutil
import sqlite3
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from collector.log import files, schema
from collector.log.engine import LogError
from collector.log.opening import open_store
from collector.log.store import Limits, next_generation
from collector.log.verify import Report, verify

Progress = Callable[[int], None]


@dataclass(frozen=True, slots=True)
class Copied:
    """A finished copy. ``report`` is what looking through it has shown."""

    segments: int
    bytes: int
    report: Report


def _copy(file: Path, target: Path, *, still: bool) -> None:
    """Copy a segment as it is at one moment, however much is written to it meanwhile.

    Raises:
        sqlite3.Error, OSError: it could not be copied.
    """
    source = schema.open_reader(file, still=still)
    try:
        copy = sqlite3.connect(target, isolation_level=None)
        try:
            # In one step, so in one transaction: in several it would begin anew with every commit.
            source.backup(copy)
            copy.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        finally:
            copy.close()
    finally:
        source.close()


def backup(directory: Path, target: Path, progress: Progress = lambda _: None) -> Copied:
    """Copy the log in ``directory``, whether a collector writes to it or not.

    The copy is the log as it was at one moment, when the newest segment was copied: the older ones
    do not change any more. It is looked through before it gets its name.

    Raises:
        LogError: there is no log, ``target`` is in use, or the disk is full.
    """
    files.must_be_free(target)
    try:
        with files.made_whole(target) as partial:
            _copy_segments(directory, partial, progress)
            report = verify(partial)
            size = files.bytes_of(list(partial.iterdir()))
    except sqlite3.Error as error:
        raise schema.explain(error, target.parent) from error
    except OSError as error:
        raise error if isinstance(error, LogError) else files.trouble(target, error) from error
    return Copied(report.segments, size, report)


def _copy_segments(directory: Path, target: Path, progress: Progress) -> None:
    firsts = files.list_segments(directory)
    if not firsts:
        raise LogError(f"{directory}: found no segment, allowed is a log's directory")
    # From the newest on: what retention drops meanwhile is the oldest, and leaves no hole.
    for first in reversed(firsts):
        file = files.segment_file(directory, first)
        still = first != firsts[-1] and files.journal_bytes(file) == 0
        copy = files.segment_file(target, first)
        try:
            _copy(file, copy, still=still)
        except sqlite3.OperationalError:
            if file.exists() or first == firsts[-1]:
                raise
            files.remove(copy)
            break
        files.sync_file(copy)
        progress(files.bytes_of([copy]))


def restore(source: Path, directory: Path, progress: Progress = lambda _: None) -> Copied:
    """Make the log in ``directory`` from a backup. It keeps its id; its cursors begin far above.

    What was taken in after the backup is missing from it, and no consumer takes an event that comes
    from now on for one that it has seen.

    Raises:
        LogError: the backup is none or not whole, ``directory`` is in use, or the disk is full.
    """
    report = verify(source)
    if report.problems:
        raise LogError("\n".join(str(problem) for problem in report.problems))
    files.must_be_free(directory)
    lock = files.take_lock(directory)
    try:
        # Under other names until all are there: half a log is none.
        pairs = []
        for first in files.list_segments(source):
            file = files.segment_file(directory, first)
            temporary = file.with_name(file.name + files.TEMPORARY)
            shutil.copyfile(files.segment_file(source, first), temporary)
            progress(files.bytes_of([temporary]))
            pairs.append((temporary, file))
        for temporary, file in reversed(pairs):
            files.publish(temporary, file)
    except OSError as error:
        for leftover in files.list_leftovers(directory):
            leftover.unlink()
        raise files.trouble(directory, error) from error
    finally:
        lock.close()
    store = open_store(directory, Limits())
    try:
        store.roll(next_generation(store.next_cursor))
        size = store.bytes()
    finally:
        store.close()
    return Copied(report.segments, size, report)
