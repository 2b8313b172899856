"""The revisions that were in force, in the control file: what they said, whom they let do what."""

import asyncio
import sqlite3
import zlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import msgspec

from collector.config.assigned import Grant
from collector.control.store import ControlStore

KEEP = 100
"""Revisions whose documents are kept; older ones are in the log, as long as that reaches."""


@dataclass(frozen=True, slots=True)
class Revision:
    """A revision and its configuration, in the file's words."""

    revision: str
    at_ns: int
    document: dict[str, Any]


class Revisions:
    """What was in force."""

    def __init__(self, store: ControlStore) -> None:
        self._store = store

    async def last(self) -> Revision | None:
        """The last revision that was in force; ``None`` before the first.

        Raises:
            ControlError: the control file cannot be read.
        """
        return await self._store.read(_last)

    async def grants(self, since_ns: int) -> list[Grant]:
        """Every grant that was in force at ``since_ns`` or later.

        Raises:
            ControlError: the control file cannot be read.
        """
        return await self._store.read(lambda connection: _grants(connection, since_ns))

    async def put_in_force(self, revision: Revision, grants: Iterable[Grant], keep_ns: int) -> None:
        """Record that a revision came into force, and with it its grants.

        Grants that ended more than ``keep_ns`` nanoseconds before are forgotten.

        Raises:
            ControlError: nothing was written.
        """
        # A large configuration is long to compress: not in the loop.
        record = await asyncio.to_thread(_recording, revision, tuple(grants), keep_ns)
        await self._store.run(record)


def _last(connection: sqlite3.Connection) -> Revision | None:
    row = connection.execute(
        "SELECT revision, at_ns, document FROM revisions ORDER BY number DESC LIMIT 1"
    ).fetchone()
    if row is None:
        return None
    return Revision(row[0], row[1], msgspec.json.decode(zlib.decompress(row[2])))


def _grants(connection: sqlite3.Connection, since_ns: int) -> list[Grant]:
    rows = connection.execute(
        "SELECT body FROM grants WHERE until_ns IS NULL OR until_ns >= ?", (since_ns,)
    )
    return [msgspec.msgpack.decode(body, type=Grant) for (body,) in rows]


def _recording(
    revision: Revision, grants: tuple[Grant, ...], keep_ns: int
) -> Callable[[sqlite3.Connection], None]:
    document = zlib.compress(msgspec.json.encode(revision.document))
    bodies = [(msgspec.msgpack.encode(grant),) for grant in grants]

    def record(connection: sqlite3.Connection) -> None:
        connection.execute(
            "INSERT INTO revisions (revision, at_ns, document) VALUES (?, ?, ?)",
            (revision.revision, revision.at_ns, document),
        )
        connection.execute(
            "DELETE FROM revisions WHERE number <= (SELECT max(number) FROM revisions) - ?", (KEEP,)
        )
        connection.execute(
            "UPDATE grants SET until_ns = ? WHERE until_ns IS NULL", (revision.at_ns,)
        )
        connection.executemany(
            "INSERT INTO grants (body, until_ns) VALUES (?, NULL)"
            " ON CONFLICT (body) DO UPDATE SET until_ns = NULL",
            bodies,
        )
        connection.execute("DELETE FROM grants WHERE until_ns < ?", (revision.at_ns - keep_ns,))

    return record
