"""How deep the spool is, and which of its events are too many or too old.

Questions only, asked within the transaction that the writer opened.
"""

import sqlite3
from dataclasses import dataclass

_TRIM = 10_000


@dataclass(frozen=True, slots=True)
class Depth:
    """What lies in the spool, and what was dropped since its epoch began.

    ``bytes`` is the part of the file that is in use, flights and cursors included, ``oldest_ns``
    the wall time of the oldest event that is still there.
    """

    rows: int
    bytes: int
    last_seq: int
    shipped: int
    dropped: int
    oldest_ns: int | None = None


def overdue(db: sqlite3.Connection, min_at_ns: int) -> int:
    """The last of the oldest events that are all too old; 0 when the first one is not.

    A single event with a wrong time, of a clock that was not set yet, takes none with it. No
    more than a batch is looked at, so that the transaction stays short.
    """
    last = 0
    for seq, at_ns in db.execute("SELECT seq, at_ns FROM events ORDER BY seq LIMIT ?", (_TRIM,)):
        if at_ns >= min_at_ns:
            break
        last = seq
    return last


def excess(db: sqlite3.Connection, max_bytes: int) -> int:
    """About the last event to drop for the spool to be no larger; 0 when it is not.

    Rows differ in size: drop up to there, and ask again.
    """
    now = depth(db)
    if now.bytes <= max_bytes or now.rows == 0:
        return 0
    share = max(1, now.rows * (now.bytes - max_bytes) // now.bytes)
    return int(db.execute("SELECT min(seq) FROM events").fetchone()[0]) + share - 1


def depth(db: sqlite3.Connection) -> Depth:
    """The spool's depth; cheap at any depth, since sequence numbers are contiguous."""
    # One by one they are looked up; asked for together, all rows would be gone through.
    first, last = db.execute(
        "SELECT (SELECT min(seq) FROM events), (SELECT max(seq) FROM events)"
    ).fetchone()
    oldest = db.execute("SELECT at_ns FROM events WHERE seq = ?", (first,)).fetchone()
    used = db.execute("SELECT seq FROM sqlite_sequence WHERE name = 'events'").fetchone()
    pages, free, size = (
        db.execute(f"PRAGMA {name}").fetchone()[0]
        for name in ("page_count", "freelist_count", "page_size")
    )
    meta = dict(db.execute("SELECT key, value FROM meta"))
    return Depth(
        rows=0 if first is None else last - first + 1,
        bytes=(pages - free) * size,
        last_seq=0 if used is None else used[0],
        shipped=int(meta["shipped"]),
        dropped=int(meta["dropped"]),
        oldest_ns=None if oldest is None else oldest[0],
    )
