"""What a segment's rows mean: chunks of events, dead letters, gaps, and how far each source is."""

import sqlite3
import zlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import msgspec

from collector.log.engine import Entry, Item, Mark

_kinds_decoder = msgspec.json.Decoder(list[str])


class Chunk(NamedTuple):
    """A row of ``chunks``, its columns in their order.

    ``content`` is a JSON list of the events' kinds and then the events, a line each: ``length``
    bytes, packed by zlib where that is shorter.
    """

    cursor: int
    events: int
    ingested_at_ns: int
    origin: int
    first_seq: int
    length: int
    content: bytes


class Dead(NamedTuple):
    """A row of ``dead``."""

    cursor: int
    ingested_at_ns: int
    origin: int
    seq: int
    reason: str
    detail: str
    body: bytes


class Missing(NamedTuple):
    """A row of ``gaps``, without its id."""

    at_ns: int
    origin: int
    first_seq: int
    last_seq: int
    cause: str


SKIPPED = "skipped"
DAMAGE = "damage"
_ROWS = 64
"""How many chunks go into one statement."""
_PACKED_FROM = 1024
"""Shorter content stands as it is: to begin packing takes longer than so much is worth."""
_LEVEL = 1


@dataclass(slots=True)
class Origin:
    """A row of ``origins``."""

    id: int
    source: str
    epoch: str
    base: int
    high_water: int
    missing: int
    first_at_ns: int
    last_at_ns: int

    def mark(self) -> Mark:
        """As the log tells it."""
        return Mark(self.high_water, self.missing, self.first_at_ns, self.last_at_ns)


Origins = dict[tuple[str, str], Origin]


def pack(cursor: int, at_ns: int, origin: int, items: Sequence[Item]) -> Chunk:
    """Consecutive events as one row.

    Raises:
        ValueError: one of them is not a single line.
    """
    kinds = msgspec.json.encode([item.kind for item in items])
    plain = b"\n".join([kinds, *(item.body for item in items)])
    if plain.count(b"\n") != len(items):
        raise ValueError("found an event of several lines, allowed is one line each")
    content = (
        plain if len(plain) < _PACKED_FROM else min(plain, zlib.compress(plain, _LEVEL), key=len)
    )
    return Chunk(cursor, len(items), at_ns, origin, items[0].seq, len(plain), content)


def _plain(chunk: Chunk) -> bytes:
    if len(chunk.content) == chunk.length:
        return chunk.content
    stream = zlib.decompressobj()
    try:
        # Nonsense in a damaged file must not unpack into all of the memory.
        plain = stream.decompress(chunk.content, chunk.length)
    except zlib.error as error:
        raise ValueError(f"found {error}, allowed is what zlib has packed") from error
    # What is left is the checksum.
    if len(plain) != chunk.length or stream.decompress(stream.unconsumed_tail, 1) or not stream.eof:
        raise ValueError(f"found {len(plain)} bytes or more, allowed are {chunk.length}")
    return plain


def unpack(chunk: Chunk, source: str, epoch: str) -> list[Entry]:
    """The events of a row.

    Raises:
        ValueError: its parts do not agree.
    """
    listed, *bodies = _plain(chunk).split(b"\n")
    kinds = _kinds_decoder.decode(listed)
    if not chunk.events == len(kinds) == len(bodies):
        raise ValueError(
            f"{chunk.events} events, {len(kinds)} kinds and {len(bodies)} bodies, "
            "allowed are as many of each"
        )
    at_ns = chunk.ingested_at_ns
    return [
        Entry(cursor, at_ns, source, epoch, seq, kind, body)
        for cursor, seq, kind, body in zip(
            range(chunk.cursor, chunk.cursor + chunk.events),
            range(chunk.first_seq, chunk.first_seq + chunk.events),
            kinds,
            bodies,
            strict=True,
        )
    ]


# Whatever is read or written often is one row to SQLite, as JSON or in one statement: Python gives
# up the interpreter's lock for every row, and waits up to 5 ms for it while the event loop is busy.

_HEADS = """
SELECT json_group_array(json_array(cursor, events, length)) FROM (
    SELECT cursor, events, length FROM chunks
    WHERE cursor >= coalesce((SELECT max(cursor) FROM chunks WHERE cursor <= ?), 0)
    ORDER BY cursor LIMIT 256
)
"""
_CHUNKS = """
SELECT json_group_array(
    json_array(cursor, events, ingested_at_ns, origin, first_seq, length, length(content))
), group_concat(hex(content), '')
FROM (SELECT * FROM chunks WHERE cursor BETWEEN ? AND ? ORDER BY cursor)
"""
_heads_decoder = msgspec.json.Decoder(list[tuple[int, int, int]])
_rows_decoder = msgspec.json.Decoder(list[tuple[int, int, int, int, int, int, int]])


def read_chunks(connection: sqlite3.Connection, cursor: int, events: int, size: int) -> list[Chunk]:
    """The chunks from the one with ``cursor`` on: about so many events, about so many bytes.

    Raises:
        ValueError: their parts do not agree.
        sqlite3.Error: they cannot be read.
    """
    wanted: list[int] = []
    heads = _heads_decoder.decode(connection.execute(_HEADS, (cursor,)).fetchone()[0])
    for first, count, length in heads:
        if first + count <= cursor:
            continue
        wanted.append(first)
        events -= count
        size -= length
        if events <= 0 or size <= 0:
            break
    if not wanted:
        return []
    described, joined = connection.execute(_CHUNKS, (wanted[0], wanted[-1])).fetchone()
    found = _rows_decoder.decode(described)
    contents = bytes.fromhex(joined or "")
    if [row[0] for row in found] != wanted or sum(row[-1] for row in found) != len(contents):
        raise ValueError(f"found {len(found)} rows, allowed are {len(wanted)}, in order")
    chunks = []
    at = 0
    for row in found:
        chunks.append(Chunk(*row[:-1], content=contents[at : at + row[-1]]))
        at += row[-1]
    return chunks


def load_origins(connection: sqlite3.Connection) -> Origins:
    """How far each source is at the segment's end."""
    rows = connection.execute(
        "SELECT json_group_array(json_array(id, source, epoch, base, high_water, missing, "
        "first_at_ns, last_at_ns)) FROM origins"
    ).fetchone()[0]
    return {(row[1], row[2]): Origin(*row) for row in _origins_decoder.decode(rows)}


_origins_decoder = msgspec.json.Decoder(list[tuple[int, str, str, int, int, int, int, int]])


def save_origins(connection: sqlite3.Connection, origins: Iterable[Origin]) -> None:
    """Write down how far these sources are."""
    connection.execute(
        "INSERT OR REPLACE INTO origins SELECT "  # noqa: S608 - numbers of columns only
        + ", ".join(f"json_extract(value, '$[{column}]')" for column in range(8))
        + " FROM json_each(?)",
        (
            msgspec.json.encode(
                [
                    (
                        o.id,
                        o.source,
                        o.epoch,
                        o.base,
                        o.high_water,
                        o.missing,
                        o.first_at_ns,
                        o.last_at_ns,
                    )
                    for o in origins
                ]
            ).decode(),
        ),
    )


def rebased(origins: Origins) -> Origins:
    """How the same sources stand at the beginning of the next segment."""
    return {key: replace(origin, base=origin.high_water) for key, origin in origins.items()}


def insert(
    connection: sqlite3.Connection,
    chunks: Sequence[Chunk],
    dead: Sequence[Dead],
    gaps: Sequence[Missing],
) -> None:
    """Add rows."""
    for at in range(0, len(chunks), _ROWS):
        part = chunks[at : at + _ROWS]
        places = ", ".join(["(?, ?, ?, ?, ?, ?, ?)"] * len(part))
        connection.execute(
            f"INSERT INTO chunks VALUES {places}",  # noqa: S608 - question marks only
            [value for chunk in part for value in chunk],
        )
    if dead:
        connection.executemany("INSERT INTO dead VALUES (?, ?, ?, ?, ?, ?, ?)", dead)
    if gaps:
        connection.executemany("INSERT INTO gaps VALUES (NULL, ?, ?, ?, ?, ?)", gaps)


def load_gaps(connection: sqlite3.Connection) -> list[Missing]:
    """The gaps that a segment tells, oldest first."""
    found = connection.execute(
        "SELECT at_ns, origin, first_seq, last_seq, cause FROM gaps ORDER BY id"
    )
    return [Missing(*row) for row in found]


@dataclass(frozen=True, slots=True)
class Content:
    """How much is in a segment. ``last_entry`` and ``last_cursor`` are 0 where there is none."""

    entries: int
    dead: int
    last_entry: int
    last_cursor: int
    newest_at_ns: int
    bytes: int


def content(connection: sqlite3.Connection) -> Content:
    """Count a segment; it reads the rows' heads, not the events."""
    entries, newest = connection.execute(
        "SELECT coalesce(sum(events), 0), coalesce(max(ingested_at_ns), 0) FROM chunks"
    ).fetchone()
    last = connection.execute(
        "SELECT cursor + events - 1 FROM chunks ORDER BY cursor DESC LIMIT 1"
    ).fetchone()
    dead, last_dead, newest_dead = connection.execute(
        "SELECT count(*), coalesce(max(cursor), 0), coalesce(max(ingested_at_ns), 0) FROM dead"
    ).fetchone()
    pages = connection.execute("PRAGMA page_count").fetchone()[0]
    page_bytes = connection.execute("PRAGMA page_size").fetchone()[0]
    last_entry = int(last[0]) if last else 0
    return Content(
        entries=int(entries),
        dead=int(dead),
        last_entry=last_entry,
        last_cursor=max(last_entry, int(last_dead)),
        newest_at_ns=max(int(newest), int(newest_dead)),
        bytes=int(pages) * int(page_bytes),
    )
