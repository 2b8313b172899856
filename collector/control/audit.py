"""The audit trail: who did what and when, and what it changed. It only ever grows."""

import difflib
import sqlite3
from collections.abc import Callable

import msgspec

from collector.control.store import ControlStore

MAX_DIFF_CHARS = 256 << 10
"""A longer diff is cut, and says so."""


class AuditEntry(msgspec.Struct, frozen=True, kw_only=True):
    """One thing that was done. ``who`` is ``kind:name/token id``, or ``cli:user`` at a terminal.

    ``diff`` is a unified diff; empty where nothing has a text that changed.
    """

    id: int
    at_ns: int
    who: str
    verb: str
    target: str
    diff: str


def unified_diff(before: str, after: str, name: str) -> str:
    """How ``before`` became ``after``; an empty text stands for something that is not there."""
    lines = difflib.unified_diff(
        before.splitlines(keepends=True),
        after.splitlines(keepends=True),
        name if before else "/dev/null",
        name if after else "/dev/null",
    )
    text = "".join(line if line.endswith("\n") else f"{line}\n" for line in lines)
    if len(text) > MAX_DIFF_CHARS:
        cut = len(text) - MAX_DIFF_CHARS
        return f"{text[:MAX_DIFF_CHARS]}\n... and {cut} characters more\n"
    return text


def write_entry(
    connection: sqlite3.Connection, *, at_ns: int, who: str, verb: str, target: str, diff: str = ""
) -> int:
    """Write one entry within the caller's transaction, so that deed and entry are one."""
    cursor = connection.execute(
        "INSERT INTO audit (at_ns, who, verb, target, diff) VALUES (?, ?, ?, ?, ?)",
        (at_ns, who, verb, target, diff),
    )
    return int(cursor.lastrowid or 0)


class Audit:
    """The audit trail in the control file."""

    def __init__(self, store: ControlStore, clock_ns: Callable[[], int]) -> None:
        self._store = store
        self._clock_ns = clock_ns

    async def record(self, who: str, verb: str, target: str, diff: str = "") -> int:
        """Write an entry for something that was done outside the control file; gives its number.

        Raises:
            ControlError: it could not be written.
        """
        at_ns = self._clock_ns()
        return await self._store.run(
            lambda connection: write_entry(
                connection, at_ns=at_ns, who=who, verb=verb, target=target, diff=diff
            )
        )

    async def entries(self, *, before: int | None = None, limit: int = 100) -> list[AuditEntry]:
        """The newest entries, newest first; those with a number below ``before``.

        Raises:
            ControlError: the file cannot be read.
        """
        bound = (1 << 63) - 1 if before is None else before

        def read(connection: sqlite3.Connection) -> list[AuditEntry]:
            rows = connection.execute(
                "SELECT id, at_ns, who, verb, target, diff FROM audit WHERE id < ?"
                " ORDER BY id DESC LIMIT ?",
                (bound, limit),
            )
            return [
                AuditEntry(id=number, at_ns=at_ns, who=who, verb=verb, target=target, diff=diff)
                for number, at_ns, who, verb, target, diff in rows
            ]

        return await self._store.read(read)
