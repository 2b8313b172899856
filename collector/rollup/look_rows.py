"""Looks, and canaries seen in queues, as rows of the rollup's file."""

import sqlite3
from collections.abc import Iterable

from collector.rollup import queued
from collector.rollup.looks import LookKey, LookRow, LookState
from collector.rollup.queued import Place, Sighting
from collector.rollup.state import Changes


def load(connection: sqlite3.Connection) -> list[tuple[LookKey, LookState]]:
    """All looks, as far as what comes next is judged by them."""
    rows = connection.execute(
        "SELECT relay, probe, target, place, source, agent,"
        " ok, stage, reason, since_ns, at_ns, told_ns FROM looks"
    )
    return [(LookKey(*row[:6]), LookState(bool(row[6]), *row[7:])) for row in rows]


def sightings(connection: sqlite3.Connection, places: Iterable[Place]) -> list[Sighting]:
    """The canaries that were seen in queues under these ids, in the order of their numbers."""
    found: list[Sighting] = []
    for place in places:
        rows = connection.execute(
            "SELECT state FROM queued WHERE relay=? AND queue_id=? ORDER BY number", place
        )
        found.extend(queued.unpack(state) for (state,) in rows)
    return found


def sightings_of(connection: sqlite3.Connection, relay: str, since_ns: int) -> list[Sighting]:
    """The canaries that were seen in a relay's queue at ``since_ns`` or later."""
    rows = connection.execute(
        "SELECT state FROM queued WHERE relay=? AND last_ns>=?", (relay, since_ns)
    )
    return [queued.unpack(state) for (state,) in rows]


def sighting(connection: sqlite3.Connection, number: int) -> Sighting | None:
    """Where the canary of that number was seen in a queue."""
    row = connection.execute("SELECT state FROM queued WHERE number=?", [number]).fetchone()
    return None if row is None else queued.unpack(row[0])


def save(connection: sqlite3.Connection, changes: Changes) -> None:
    """Write what has changed; the transaction is the caller's."""
    connection.executemany(
        "DELETE FROM looks WHERE name=?", [(name_of(key),) for key in changes.forgotten_looks]
    )
    connection.executemany(
        "INSERT OR REPLACE INTO looks VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        [_row(look) for look in changes.looks],
    )
    connection.executemany(
        "INSERT OR REPLACE INTO queued VALUES (?, ?, ?, ?, ?)",
        [
            (one.number, one.relay, one.queue_id, one.last_ns, queued.pack(one))
            for one in changes.sightings
        ],
    )


def name_of(key: LookKey) -> str:
    """A look's name: its parts in the order in which looks are listed."""
    return "|".join(key)


def _row(look: LookRow) -> tuple[object, ...]:
    return (name_of(look.key), *look.key, *look.state, look.control, look.stale_ns, look.said)
