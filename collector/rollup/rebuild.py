"""The rollup made anew from the log, beside the one that is there, and put in its place at once.

What the log reaches is counted from it. Retention may have dropped its beginning; then there is a
boundary, the first full hour that begins a minute or more after the oldest entry was taken in: all
canaries sent from there on are in the log whole. What was sent before is kept from the old file:
its cells, and the states of its canaries, so that the log can go on correcting them.
"""

import contextlib
import shutil
import sqlite3
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path

import msgspec

from collector.log.engine import Bounds, Log
from collector.log.files import publish, side_files
from collector.rollup import canary as canaries
from collector.rollup import cells
from collector.rollup.consumer import RollupConsumer
from collector.rollup.file import (
    FILE_NAME,
    RollupDamagedError,
    RollupError,
    explained,
    move_aside,
    open_file,
    take_lock,
)
from collector.rollup.latest import Latest
from collector.rollup.store import DAY_S, HOUR_S, MINUTE_S
from probes.contract.units import NS_PER_S

NEW = "rollup.new"
"""The directory in which the new file grows."""
BATCH = 5000
MARGIN_S = 60
"""By how much the clock of an agent may be ahead of the collector's."""


def boundary_s(bounds: Bounds) -> int | None:
    """From when on the log has all; ``None`` where it reaches back to its beginning."""
    if bounds.first <= 1 or bounds.oldest_at_ns is None:
        return None
    return -(-(bounds.oldest_at_ns // NS_PER_S + MARGIN_S) // HOUR_S) * HOUR_S


async def rebuild(log: Log, directory: Path, advance: Callable[[int], None]) -> int:
    """Count all of the log into a new ``rollup.sqlite3`` in ``directory``; gives how many entries.

    ``advance`` is told the number of entries of each batch. Until the end the old file is as it
    was, whatever happens.

    Raises:
        RollupError: a file cannot be read or written, a process is at work on the old one, or the
            log is empty and was not always so.
        LogError: the log cannot be read.
    """
    bounds = await log.bounds()
    if bounds.first > 1 and bounds.first > bounds.last:
        raise RollupError("the log is empty: allowed is one with entries to count")
    with take_lock(directory / FILE_NAME):
        new = directory / NEW
        try:
            shutil.rmtree(new, ignore_errors=True)
            new.mkdir(parents=True, mode=0o700)
        except OSError as error:
            raise RollupError(f"{new}: {error.strerror}") from error
        try:
            count = await _fill(log, bounds, directory / FILE_NAME, new, advance)
            _swap(new / FILE_NAME, directory / FILE_NAME)
        finally:
            shutil.rmtree(new, ignore_errors=True)
    return count


async def _fill(
    log: Log, bounds: Bounds, old: Path, new: Path, advance: Callable[[int], None]
) -> int:
    before_s = boundary_s(bounds)
    if before_s is not None:
        _keep(old, new / FILE_NAME, log.log_id, before_s, bounds)
    consumer = RollupConsumer(new)
    count, cursor = 0, consumer.open(log.log_id, bounds)
    try:
        while cursor < bounds.last:
            entries = await log.read(cursor, BATCH)
            if not entries:
                break
            consumer.take(entries)
            cursor = entries[-1].cursor
            count += len(entries)
            advance(len(entries))
    finally:
        consumer.close()
    return count


def _swap(new: Path, old: Path) -> None:
    """Put the new file in the old one's place; at any moment one of them is there, whole."""
    try:
        if old.exists():
            # What is in the old journal must not be taken for the new file's.
            try:
                open_file(old).close()
            except RollupDamagedError:
                move_aside(old, "damaged")
        for side in side_files(old):
            side.unlink(missing_ok=True)
        publish(new, old)
    except RollupError:
        raise
    except OSError as error:
        raise RollupError(f"{old}: {error.strerror}") from error


def _keep(old: Path, new: Path, log_id: str, before_s: int, bounds: Bounds) -> None:
    """Take over what the log no longer tells; nothing from a file that is damaged or not there."""
    if not old.exists():
        return
    try:
        _take_over(old, new, log_id, before_s, bounds)
    except RollupDamagedError:
        for half in new.parent.glob(f"{new.name}*"):
            half.unlink()


def _take_over(old: Path, new: Path, log_id: str, before_s: int, bounds: Bounds) -> None:
    with (
        contextlib.closing(open_file(old)) as source,
        contextlib.closing(open_file(new)) as target,
        explained(old),
    ):
        known = dict(source.execute("SELECT key, value FROM meta"))
        if known.get("log_id") != log_id:
            raise RollupError(f"{old}: is not of this log; allowed is its own, or no file")
        target.execute("BEGIN IMMEDIATE")
        _copy(source, target, "series", 5)
        _copy(source, target, "revisions", 3)
        _keep_cells(source, target, before_s)
        next_number = _keep_canaries(source, target, before_s, bounds)
        _keep_paths(source, target, before_s)
        _copy(source, target, "looks", 16)
        _keep_sightings(source, target)
        meta = {
            "log_id": log_id,
            "kept_before_s": before_s,
            "kept_cursor": known.get("cursor", 0),
            "remember_s": known["remember_s"],
            "next_number": next_number,
        }
        target.executemany("INSERT INTO meta VALUES (?, ?)", list(meta.items()))
        target.execute("COMMIT")


def _copy(source: sqlite3.Connection, target: sqlite3.Connection, table: str, width: int) -> None:
    marks = ",".join("?" * width)
    rows = source.execute(f"SELECT * FROM {table}")  # noqa: S608 - our own names
    target.executemany(f"INSERT INTO {table} VALUES ({marks})", rows)  # noqa: S608 - as above


def _keep_cells(source: sqlite3.Connection, target: sqlite3.Connection, before_s: int) -> None:
    whole = "SELECT tier, start, series, cell FROM cells WHERE tier=? AND start<?"
    day_s = before_s - before_s % DAY_S
    for tier, end in ((MINUTE_S, before_s), (HOUR_S, before_s), (DAY_S, day_s)):
        target.executemany(
            "INSERT INTO cells VALUES (?, ?, ?, ?)", source.execute(whole, (tier, end))
        )
    # The day in which the boundary lies: of its first hours what was, of the others what comes.
    parts: defaultdict[int, cells.Cell] = defaultdict(dict)
    for series, cell in source.execute(
        "SELECT series, cell FROM cells WHERE tier=? AND start>=? AND start<?",
        (HOUR_S, day_s, before_s),
    ):
        cells.add(parts[series], cells.decode(cell))
    target.executemany(
        "INSERT INTO cells VALUES (?, ?, ?, ?)",
        [(DAY_S, day_s, series, cells.encode(cell)) for series, cell in parts.items()],
    )


def _keep_canaries(
    source: sqlite3.Connection, target: sqlite3.Connection, before_s: int, bounds: Bounds
) -> int:
    """Take over the canaries sent before the boundary; gives the next free number."""
    next_number = 1
    for number, key, born_ns, is_open, state in source.execute(
        "SELECT number, key, born_ns, open, state FROM canaries ORDER BY number"
    ):
        one = canaries.unpack(key, number, born_ns, state)
        if one.series <= canaries.NO_SERIES or one.start_s >= before_s:
            continue
        one.kept = True
        # They are the oldest in the new file, too.
        oldest_ns = min(born_ns, bounds.oldest_at_ns or born_ns)
        row = (number, key, oldest_ns, is_open, canaries.pack(one))
        target.execute("INSERT INTO canaries VALUES (?, ?, ?, ?, ?)", row)
        next_number = number + 1
    return next_number


def _keep_sightings(source: sqlite3.Connection, target: sqlite3.Connection) -> None:
    """Those of the canaries that are kept."""
    rows = source.execute("SELECT number, relay, queue_id, last_ns, state FROM queued")
    target.executemany(
        "INSERT INTO queued SELECT ?1, ?2, ?3, ?4, ?5"
        " WHERE EXISTS (SELECT 1 FROM canaries WHERE number = ?1)",
        rows,
    )


def _keep_paths(source: sqlite3.Connection, target: sqlite3.Connection, before_s: int) -> None:
    for path, customer, packed in source.execute("SELECT path, customer, latest FROM paths"):
        latest = msgspec.msgpack.decode(packed, type=Latest)
        if latest.sent is not None and latest.sent.sent_ns < before_s * NS_PER_S:
            target.execute("INSERT INTO paths VALUES (?, ?, ?)", (path, customer, packed))
