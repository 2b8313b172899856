"""The rollup as the API asks it: each question by a connection of its own, in another thread.

A file that was moved aside or rebuilt meanwhile is thus never read on.
"""

import asyncio
import contextlib
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from collector.log.engine import Entry, Log
from collector.rollup import queries
from collector.rollup.file import FILE_NAME, explained, open_to_read

T = TypeVar("T")
QUESTIONS = 4
"""How many are asked at the same time; more wait."""


class LoggedEvent(msgspec.Struct, frozen=True, kw_only=True):
    """One event of a canary as it stands in the log."""

    cursor: int
    ingested_at_ns: int
    source: str
    kind: str
    event: dict[str, Any]


class RollupReader:
    """Asks the rollup in ``directory``; events come from ``log``."""

    def __init__(self, directory: Path, log: Log) -> None:
        self._file = directory / FILE_NAME
        self._log = log
        self._turns = asyncio.Semaphore(QUESTIONS)

    async def ask(self, question: Callable[[sqlite3.Connection], T]) -> T:
        """The answer to one of the questions in :mod:`collector.rollup.queries`.

        Raises:
            RollupError: the file cannot be read now.
            QueryError: the question cannot be answered as it was asked.
        """
        async with self._turns:
            return await asyncio.to_thread(self._ask, question)

    def _ask(self, question: Callable[[sqlite3.Connection], T]) -> T:
        connection = open_to_read(self._file)
        with contextlib.closing(connection), explained(self._file):
            # One snapshot for all that the answer is made of.
            connection.execute("BEGIN")
            return question(connection)

    async def events(self, canary: queries.CanaryRow) -> list[LoggedEvent]:
        """The canary's events that the log still has, in its order.

        Raises:
            LogError: the log cannot be read.
        """
        found = []
        for cursor in canary.cursors:
            entries = await self._log.read(cursor - 1, 1)
            # Of what retention has dropped, the log gives what comes next.
            found += [_told(entry, canary) for entry in entries if entry.cursor == cursor]
        return found


def _told(entry: Entry, canary: queries.CanaryRow) -> LoggedEvent:
    event = msgspec.json.decode(entry.body)
    if entry.kind == "check":
        event = _part_of_look(event, canary)
    return LoggedEvent(
        cursor=entry.cursor,
        ingested_at_ns=entry.ingested_at_ns,
        source=entry.source,
        kind=entry.kind,
        event=event,
    )


_TOLD = ("kind", "agent", "probe", "relay", "at_ns")


def _part_of_look(event: dict[str, Any], canary: queries.CanaryRow) -> dict[str, Any]:
    """What a look at a queue says of one canary: what else waits there is other people's mail."""
    told = {name: event[name] for name in _TOLD if name in event}
    listed = (event.get("queue") or {}).get("canaries", [])
    known = canary.queued
    mine = [one for one in listed if known is not None and one.get("queue_id") == known.queue_id]
    if known is not None and mine:
        # Of two under one id it is the one that came into the queue when this did.
        told |= min(mine, key=lambda one: abs(one["arrived_ns"] - known.arrived_ns))
    return told
