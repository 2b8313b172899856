"""The audit trail: who did what and when, and what it changed. It only ever grows."""

import difflib
import hashlib
import sqlite3
from collections.abc import Callable, Iterator

import msgspec

from collector.control.store import ControlStore

MAX_DIFF_BYTES = 64 << 10
"""A longer diff is cut, since the trail is never shortened, and says so."""
MAX_COMPARED = 4_000_000
"""Pairs of lines that are compared, about a second's work; longer texts are told whole."""


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
    """How ``before`` became ``after``; an empty text stands for something that is not there.

    Of a diff of more than :data:`MAX_DIFF_BYTES` the rest is left out. Its last line then tells how
    much, and the SHA-256 of both texts, so that a copy of either can be held to the trail.
    """
    old, new = before.splitlines(keepends=True), after.splitlines(keepends=True)
    names = (name if before else "/dev/null", name if after else "/dev/null")
    if len(old) * len(new) <= MAX_COMPARED:
        lines = difflib.unified_diff(old, new, *names)
    else:
        lines = _replaced(old, new, *names)
    text = "".join(line if line.endswith("\n") else f"{line}\n" for line in lines)
    data = text.encode(errors="replace")
    if len(data) <= MAX_DIFF_BYTES:
        return text
    kept = data[:MAX_DIFF_BYTES].decode(errors="ignore")
    return (
        f"{kept}\n... and {len(text) - len(kept)} characters more; "
        f"SHA-256 before {_hash(before)}, after {_hash(after)}\n"
    )


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode(errors="replace")).hexdigest() if text else "(nothing)"


def _replaced(old: list[str], new: list[str], before: str, after: str) -> Iterator[str]:
    """A diff in which all between the first and the last line that differ is replaced.

    The best one takes time with the product of the lines, for texts that are made so.
    """
    least = min(len(old), len(new))
    head = next((at for at in range(least) if old[at] != new[at]), least)
    rest = least - head
    tail = next((at for at in range(rest) if old[-1 - at] != new[-1 - at]), rest)
    gone, come = old[head : len(old) - tail], new[head : len(new) - tail]
    if gone or come:
        yield f"--- {before}\n"
        yield f"+++ {after}\n"
        yield f"@@ -{head + 1},{len(gone)} +{head + 1},{len(come)} @@\n"
    yield from (f"-{line}" for line in gone)
    yield from (f"+{line}" for line in come)


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
