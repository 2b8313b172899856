"""Rows of the rollup's file to the core's state, and the core's changes to rows."""

import contextlib
import json
import sqlite3
from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path
from typing import TypeVar

import msgspec

from collector.rollup import canary as canaries
from collector.rollup import cells, look_rows, revisions
from collector.rollup.canary import NO_SERIES, Canary, RowKey
from collector.rollup.cells import Cell
from collector.rollup.file import RollupDamagedError, explained
from collector.rollup.latest import Latest
from collector.rollup.queued import Place, Sighting
from collector.rollup.series import Dimension, Registry, Series
from collector.rollup.state import Changes, Counters, Start
from probes.contract.names import parse_path
from probes.contract.units import NS_PER_S

MINUTE_S = 60
HOUR_S = 3600
DAY_S = 86400
TIERS: dict[int, float | None] = {MINUTE_S: 14 * 86400.0, HOUR_S: 400 * 86400.0, DAY_S: None}
"""Length of a tier's cells in seconds, and for how many seconds they are kept (``None``: ever)."""
CACHED_CELLS = 60_000
_CHUNK = 500
_META = (
    "cursor", "clock_ns", "forget_before_ns", "remember_s", "next_number", "kept_before_s",
    "kept_cursor", "tick_ns", "listening_ns",
)  # fmt: skip

K = TypeVar("K")
CellPlace = tuple[int, int, int]
"""Tier, start, series."""


class Store:
    """The file, as its one writer sees it. Every method is one thread's.

    Methods raise :class:`collector.rollup.file.RollupError`.
    """

    def __init__(self, connection: sqlite3.Connection, file: Path) -> None:
        self._db = connection
        self._file = file
        self._cells: dict[CellPlace, Cell] = {}
        self._swept_minute = 0

    def load(self) -> Start:
        """Where the file stands."""
        try:
            with explained(self._file):
                return self._load()
        except (ValueError, TypeError) as error:
            raise RollupDamagedError(f"{self._file}: the file is damaged ({error})") from error

    def _load(self) -> Start:
        meta = dict(self._db.execute("SELECT key, value FROM meta"))
        start = Start(**{key: meta[key] for key in _META if key in meta})
        if "counters" in meta:
            start.counters = Counters(**json.loads(meta["counters"]))
        start.series = [
            Series(number, dimension, key, tuple(json.loads(labels)))
            for number, dimension, key, labels in self._db.execute(
                "SELECT number, dimension, key, labels FROM series ORDER BY number"
            )
        ]
        start.revisions = [
            (revision, revisions.unpack(named))
            for revision, named in self._db.execute(
                "SELECT revision, named FROM revisions ORDER BY place"
            )
        ]
        start.heard = dict(self._db.execute("SELECT name, heard_ns FROM agents"))
        start.latest = {
            path: msgspec.msgpack.decode(latest, type=Latest)
            for path, latest in self._db.execute("SELECT path, latest FROM paths")
        }
        start.looks = look_rows.load(self._db)
        start.open = [
            canaries.unpack(key, number, born_ns, state)
            for key, number, born_ns, state in self._db.execute(
                "SELECT key, number, born_ns, state FROM canaries WHERE open ORDER BY number"
            )
        ]
        return start

    def log_id(self) -> str | None:
        """The log that the file was made from; ``None`` for a new file."""
        with explained(self._file):
            row = self._db.execute("SELECT value FROM meta WHERE key='log_id'").fetchone()
        return None if row is None else str(row[0])

    def set_log_id(self, log_id: str) -> None:
        """Note the log that the file is made from."""
        with explained(self._file):
            self._db.execute("INSERT OR REPLACE INTO meta VALUES ('log_id', ?)", [log_id])

    def canaries(self, keys: Iterable[RowKey]) -> list[Canary]:
        """Those of the canaries that are there."""
        wanted = list(keys)
        found: list[Canary] = []
        with explained(self._file):
            for at in range(0, len(wanted), _CHUNK):
                chunk = wanted[at : at + _CHUNK]
                marks = ",".join("?" * len(chunk))
                rows = self._db.execute(
                    # Nothing but question marks is put into the text.
                    f"SELECT key, number, born_ns, state FROM canaries WHERE key IN ({marks})",  # noqa: S608
                    chunk,
                )
                found.extend(canaries.unpack(*row) for row in rows)
        return found

    def stream(self, name: str) -> tuple[bytes, int] | None:
        """A stream's state, and the log's time when it was used last."""
        with explained(self._file):
            row = self._db.execute(
                "SELECT state, used_ns FROM streams WHERE name=?", [name]
            ).fetchone()
        return None if row is None else (row[0], row[1])

    def sightings(self, places: Iterable[Place]) -> list[Sighting]:
        """The canaries that were seen in queues under these ids."""
        with explained(self._file):
            return look_rows.sightings(self._db, places)

    def save(self, changes: Changes, registry: Registry) -> None:
        """Write all changes in one transaction. After an error the state in memory is worthless."""
        with explained(self._file):
            self._db.execute("BEGIN IMMEDIATE")
            try:
                self._save_cells(changes, registry)
                self._save_canaries(changes)
                self._save_rest(changes)
                look_rows.save(self._db, changes)
                self._save_meta(changes.start)
                self._sweep(changes.start)
                self._db.execute("COMMIT")
            except BaseException:
                with contextlib.suppress(sqlite3.Error):
                    self._db.execute("ROLLBACK")
                raise
        for canary in changes.canaries:
            canary.stored = True
        for place in list(self._cells)[: max(0, len(self._cells) - CACHED_CELLS)]:
            del self._cells[place]

    def _save_cells(self, changes: Changes, registry: Registry) -> None:
        clock_s = changes.start.clock_ns // NS_PER_S
        since = {
            tier: -(1 << 62) if kept is None else clock_s - int(kept)
            for tier, kept in TIERS.items()
        }
        rows = []
        for place, change in spread(changes.cells, registry).items():
            if place[1] < since[place[0]]:
                # Swept away: what is left of a correction alone would be no cell.
                continue
            cell = self._cell(place)
            cells.add(cell, change)
            rows.append((*place, cells.encode(cell)))
        self._db.executemany("INSERT OR REPLACE INTO cells VALUES (?, ?, ?, ?)", rows)

    def _cell(self, place: CellPlace) -> Cell:
        cell = self._cells.get(place)
        if cell is None:
            row = self._db.execute(
                "SELECT cell FROM cells WHERE tier=? AND start=? AND series=?", place
            ).fetchone()
            cell = self._cells[place] = {} if row is None else cells.decode(row[0])
        return cell

    def _save_canaries(self, changes: Changes) -> None:
        new, old = [], []
        for one in changes.canaries:
            if one.stored:
                old.append((_is_open(one), canaries.pack(one), one.number))
            else:
                new.append((one.number, one.key, one.born_ns, _is_open(one), canaries.pack(one)))
        self._db.executemany("UPDATE canaries SET open=?, state=? WHERE number=?", old)
        self._db.executemany("INSERT OR REPLACE INTO canaries VALUES (?, ?, ?, ?, ?)", new)

    def _save_rest(self, changes: Changes) -> None:
        self._db.executemany(
            "INSERT INTO series VALUES (?, ?, ?, ?, ?)",
            [
                (one.number, one.dimension, one.key, json.dumps(one.labels), _customer(one))
                for one in changes.series
            ],
        )
        self._db.executemany(
            "INSERT OR REPLACE INTO streams VALUES (?, ?, ?)",
            [(name, used_ns, state) for name, (state, used_ns) in changes.streams.items()],
        )
        self._db.executemany(
            "INSERT OR REPLACE INTO revisions (revision, named) VALUES (?, ?)",
            [(revision, revisions.pack(named)) for revision, named in changes.revisions],
        )
        self._db.executemany(
            "DELETE FROM revisions WHERE revision=?",
            [(revision,) for revision in changes.forgotten_revisions],
        )
        self._db.executemany(
            "INSERT OR REPLACE INTO agents VALUES (?, ?)", list(changes.heard.items())
        )
        self._db.executemany(
            "INSERT OR REPLACE INTO paths VALUES (?, ?, ?)",
            [
                (path, parse_path(path).customer, msgspec.msgpack.encode(latest))
                for path, latest in changes.latest.items()
            ],
        )

    def _save_meta(self, start: Start) -> None:
        rows: list[tuple[str, object]] = [(key, getattr(start, key)) for key in _META]
        rows.append(("counters", json.dumps(asdict(start.counters))))
        self._db.executemany("INSERT OR REPLACE INTO meta VALUES (?, ?)", rows)

    def _sweep(self, start: Start) -> None:
        """Once a minute of the log's time: forget what is past its time."""
        minute = start.clock_ns // (MINUTE_S * NS_PER_S)
        if minute == self._swept_minute:
            return
        self._swept_minute = minute
        for tier, kept in TIERS.items():
            if kept is not None:
                since = start.clock_ns // NS_PER_S - int(kept)
                self._db.execute("DELETE FROM cells WHERE tier=? AND start<?", (tier, since))
        self._db.execute("DELETE FROM streams WHERE used_ns<?", [start.forget_before_ns])
        while True:
            oldest = self._db.execute(
                "SELECT number, born_ns FROM canaries ORDER BY number LIMIT 2000"
            ).fetchall()
            last = max((n for n, born in oldest if born < start.forget_before_ns), default=None)
            if last is None:
                return
            self._db.execute("DELETE FROM canaries WHERE number<=?", [last])
            self._db.execute("DELETE FROM queued WHERE number<=?", [last])


def spread(changes: dict[tuple[int, int], Cell], registry: Registry) -> dict[CellPlace, Cell]:
    """What is added to the minute cells of paths, as what is added to every cell concerned."""
    minutes: dict[tuple[int, int], Cell] = {}
    grouped: dict[tuple[int, tuple[int, ...]], Cell] = {}
    for (series, start), change in changes.items():
        minutes[start, series] = change
        for group in registry.tagged(series).groups:
            _add_to(grouped, (start, group), change)
    for (start, group), change in grouped.items():
        for number in group:
            _add_to(minutes, (start, number), change)
    found: dict[CellPlace, Cell] = {}
    for (start, number), change in minutes.items():
        found[MINUTE_S, start, number] = change
        for tier in (HOUR_S, DAY_S):
            _add_to(found, (tier, start - start % tier, number), change)
    return found


def _add_to(sums: dict[K, Cell], key: K, change: Cell) -> None:
    known = sums.get(key)
    if known is None:
        sums[key] = dict(change)
    else:
        cells.add(known, change)


def _is_open(canary: Canary) -> bool:
    return canary.series == NO_SERIES or (canary.series > NO_SERIES and not canary.ended)


def _customer(series: Series) -> str:
    if series.dimension == Dimension.PATH:
        return parse_path(series.key).customer
    return ""
