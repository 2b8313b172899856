"""What can still be read of a damaged segment, and what of it may be believed.

SQLite keeps no checksums, and a chunk has one only where it is packed. So a row counts only when
its parts agree, its bodies are events of the kinds that it names, and its numbers go on from those
before it.
"""

import sqlite3
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from collector.log import rows, schema
from collector.log.engine import Entry
from collector.log.rows import DAMAGE, Chunk, Dead, Missing, Origin, Origins
from collector.log.schema import DamagedError, Head

T = TypeVar("T")


class _Kind(msgspec.Struct):
    kind: str


_kind_decoder = msgspec.json.Decoder(_Kind)


@dataclass(slots=True)
class Salvage:
    """What was read of a damaged segment, each part as far as it could be."""

    head: Head | None = None
    origins: Origins = field(default_factory=dict)
    chunks: list[Chunk] = field(default_factory=list)
    dead: list[Dead] = field(default_factory=list)
    gaps: list[Missing] = field(default_factory=list)


@dataclass(slots=True)
class Sifted:
    """What of it stands in the log, and which events are lost."""

    origins: Origins
    chunks: list[Chunk]
    dead: list[Dead]
    gaps: list[Missing]
    lost: list[Missing]


def _try(part: Callable[[], T], otherwise: T) -> T:
    try:
        return part()
    except (sqlite3.Error, DamagedError, TypeError, ValueError):
        return otherwise


def _from_both_ends(connection: sqlite3.Connection, table: str, key: str) -> list[tuple[Any, ...]]:
    """The rows before the first damage and those after the last."""
    ahead: list[tuple[Any, ...]] = []
    behind: list[tuple[Any, ...]] = []
    try:
        ahead.extend(connection.execute(f"SELECT * FROM {table} ORDER BY {key}"))  # noqa: S608 - ours
    except sqlite3.Error:
        reached = ahead[-1][0] if ahead else -1
        try:
            for row in connection.execute(f"SELECT * FROM {table} ORDER BY {key} DESC"):  # noqa: S608
                if row[0] <= reached:
                    break
                behind.append(row)
        except sqlite3.Error:
            pass
    return ahead + behind[::-1]


def is_event(entry: Entry) -> bool:
    """Whether the body is an event of the entry's kind."""
    try:
        return _kind_decoder.decode(entry.body).kind == entry.kind
    except (msgspec.DecodeError, UnicodeDecodeError):
        return False


def _sound_chunk(chunk: Chunk) -> bool:
    return all(is_event(entry) for entry in rows.unpack(chunk, "", ""))


def _sound_dead(row: tuple[Any, ...]) -> bool:
    numbers, texts, body = row[:4], row[4:6], row[6]
    return (
        all(isinstance(number, int) for number in numbers)
        and all(isinstance(text, str) for text in texts)
        and isinstance(body, bytes)
    )


def read(file: Path) -> Salvage:
    """Read what there is. Never fails: of a file that is no database at all there is nothing."""
    found = Salvage()
    try:
        connection = schema.open_reader(file, still=False)
    except sqlite3.Error:
        return found
    try:
        found.head = _try(lambda: schema.read_head(connection), None)
        found.origins = _try(lambda: rows.load_origins(connection), {})
        for row in _from_both_ends(connection, "chunks", "cursor"):
            if _try(lambda row=row: _sound_chunk(Chunk(*row)), False):  # type: ignore[misc]  # bound now
                found.chunks.append(Chunk(*row))
        for row in _from_both_ends(connection, "dead", "cursor"):
            if _try(lambda row=row: _sound_dead(row), False):  # type: ignore[misc]  # bound now
                found.dead.append(Dead(*row))
        for row in _from_both_ends(connection, "gaps", "id"):
            if all(isinstance(number, int) for number in row[1:5]):
                found.gaps.append(Missing(*row[1:]))
    finally:
        connection.close()
    return found


def sift(
    found: Salvage, begin: Origins | None, end: Origins | None, known: Iterable[Missing], at_ns: int
) -> Sifted:
    """Fit what was read between the segments beside it.

    ``begin`` is how the sources stood at the end of the segment before, ``None`` when there is none
    to ask; ``end`` how they stood when the next one began. ``known`` are events that are recorded
    as lost already. Without ``end``, nothing past the last event that was read is claimed.
    """
    origins = _origins(found, begin, end)
    highs = {number: origin.base for number, origin in origins.items()}
    spans: dict[int, list[tuple[int, int]]] = {number: [] for number in origins}
    chunks: list[Chunk] = []
    dead: list[Dead] = []
    together: list[Chunk | Dead] = [*found.chunks, *found.dead]
    for row in sorted(together, key=lambda row: row.cursor):
        first, last = _span(row)
        if row.origin not in origins or first <= highs[row.origin]:
            continue
        if isinstance(row, Chunk):
            chunks.append(row)
        else:
            dead.append(row)
        highs[row.origin] = last
        spans[row.origin].append((first, last))
    lost: list[Missing] = []
    gaps: list[Missing] = []
    for number, origin in origins.items():
        high = highs[number] if end is None else origin.high_water
        for gap in (gap for gap in found.gaps if gap.origin == number):
            if origin.base < gap.first_seq and gap.last_seq <= high and _free(gap, spans[number]):
                gaps.append(gap)
                spans[number].append((gap.first_seq, gap.last_seq))
        spans[number] += [(gap.first_seq, gap.last_seq) for gap in known if gap.origin == number]
        for first, last in uncovered(origin.base + 1, high, spans[number]):
            lost.append(Missing(at_ns, number, first, last, DAMAGE))
        if end is None:
            mine = [gap for gap in (*gaps, *lost) if gap.origin == number]
            origin.missing += sum(gap.last_seq - gap.first_seq + 1 for gap in mine)
            origin.high_water = high
    by_key = {(o.source, o.epoch): o for o in origins.values() if o.high_water}
    return Sifted(by_key, chunks, dead, gaps, lost)


def _origins(found: Salvage, begin: Origins | None, end: Origins | None) -> dict[int, Origin]:
    """Every source with its base; without ``end`` its mark is the base, for now."""
    bases: Mapping[tuple[str, str], Origin] = begin if begin is not None else {}
    chosen: dict[int, Origin] = {}
    for key, origin in (end if end is not None else {**found.origins, **bases}).items():
        if key in bases:
            base, missing = bases[key].high_water, bases[key].missing
        elif begin is not None:
            base, missing = 0, 0
        elif key in found.origins:
            base, missing = found.origins[key].base, 0
        else:
            seqs = [chunk.first_seq for chunk in found.chunks if chunk.origin == origin.id]
            base, missing = min(seqs, default=origin.base + 1) - 1, 0
        if end is None:
            chosen[origin.id] = replace(origin, base=base, high_water=base, missing=missing)
        else:
            chosen[origin.id] = replace(origin, base=base, high_water=origin.base)
    return chosen


def _span(row: Chunk | Dead) -> tuple[int, int]:
    if isinstance(row, Chunk):
        return row.first_seq, row.first_seq + row.events - 1
    return row.seq, row.seq


def _free(gap: Missing, spans: list[tuple[int, int]]) -> bool:
    return all(gap.last_seq < first or last < gap.first_seq for first, last in spans)


def uncovered(first: int, last: int, spans: Iterable[tuple[int, int]]) -> list[tuple[int, int]]:
    """The numbers from ``first`` to ``last`` that are in none of the spans."""
    holes = []
    at = first
    for begin, end in sorted(spans):
        if at < begin <= last:
            holes.append((at, begin - 1))
        at = max(at, end + 1)
    if at <= last:
        holes.append((at, last))
    return holes
