"""Questions to a rollup's file, by connections that only read; ``open_to_read`` makes them.

A customer who asks gets what the canaries to that customer's own mailboxes say and nothing of
others': all figures are then added up from the customer's own paths.
"""

import json
import sqlite3
from collections.abc import Sequence

import msgspec

from collector.rollup import cells
from collector.rollup.canary import Canary, id_of, keys_between, unpack
from collector.rollup.cells import Cell
from collector.rollup.latest import Latest, Newest
from collector.rollup.look_rows import sighting
from collector.rollup.queued import Sighting
from collector.rollup.series import Dimension
from collector.rollup.store import MINUTE_S, TIERS
from collector.rollup.view import Figures, figures
from probes.contract.errors import MailcanaryError
from probes.contract.names import Path, parse_path
from probes.contract.outcome import Verdict
from probes.contract.stages import Reason, Stage
from probes.contract.units import NS_PER_S

MAX_POINTS = 2000
MAX_CELLS = 200_000
"""Cells that one question may read."""
MAX_PATHS = 5000
RECENT_S = 900


class QueryError(MailcanaryError, ValueError):
    """A question that cannot be answered as it was asked; the text says what is allowed."""

    exit_code = 2


class Point(msgspec.Struct, frozen=True, kw_only=True):
    """What was sent from ``start_s`` (seconds since the Unix epoch) on, for one tier's length."""

    start_s: int
    figures: Figures


class PathState(msgspec.Struct, frozen=True, kw_only=True):
    """A path's newest canary, the newest whose end is known, and what the last 15 minutes say."""

    path: Path
    sent: Newest | None
    ended: Newest | None
    recent: Figures


class InQueue(msgspec.Struct, frozen=True, kw_only=True):
    """Where a canary was seen waiting: in which relay's queue, from when until when, and why.

    ``arrived_ns`` is when it came into the queue by the relay's clock; the others are times of
    looks by their agent's.
    """

    relay: str
    queue: str
    queue_id: str
    arrived_ns: int
    first_ns: int
    last_ns: int
    stage: Stage | None
    reason: Reason | None
    text: str | None


class CanaryRow(msgspec.Struct, frozen=True, kw_only=True):
    """What is kept of a canary. ``path`` is ``None`` while its intent is not known.

    ``cursors`` are its events' places in the log, those of looks that saw it in a queue among them.
    ``greylisted``: the host behind the relay put it off at first, and then it came.
    """

    canary: str
    path: Path | None
    labels: list[str]
    sent_ns: int | None
    verdict: Verdict
    cursors: list[int]
    queued: InQueue | None = None
    greylisted: bool = False


def clock_s(connection: sqlite3.Connection) -> int:
    """How far the rollup has come, seconds since the Unix epoch; 0 for an empty one."""
    row = connection.execute("SELECT value FROM meta WHERE key='clock_ns'").fetchone()
    return 0 if row is None else int(row[0]) // NS_PER_S


def series(
    connection: sqlite3.Connection,
    dimension: Dimension,
    key: str,
    tier: int,
    span: tuple[int, int],
    *,
    customer: str | None = None,
) -> list[Point]:
    """What is counted of ``key`` in each stretch that begins in ``span`` (from, to; to excluded).

    Stretches in which nothing was sent are left out. ``tier`` is their length in seconds.

    Raises:
        QueryError: no such tier; the span is none, or holds too much.
    """
    begin, end = span
    if tier not in TIERS:
        raise QueryError(f"tier {tier}: allowed is {', '.join(map(str, TIERS))} (seconds)")
    if begin >= end:
        raise QueryError(f"from {begin} to {end}: allowed is a from before the to")
    first = -(-begin // tier) * tier
    starts = range(first, end, tier)
    if len(starts) > MAX_POINTS:
        raise QueryError(
            f"{len(starts)} points: allowed is {MAX_POINTS}; ask for a shorter time or longer tiers"
        )
    numbers = _numbers(connection, dimension, key, customer)
    found = _added_up(connection, numbers, tier, starts)
    return [Point(start_s=start, figures=figures(cell)) for start, cell in sorted(found.items())]


def _numbers(
    connection: sqlite3.Connection, dimension: Dimension, key: str, customer: str | None
) -> list[int]:
    if customer is None:
        rows = connection.execute(
            "SELECT number FROM series WHERE dimension=? AND key=?", (dimension.value, key)
        )
        return [number for (number,) in rows]
    rows = connection.execute(
        "SELECT number, key, labels FROM series WHERE dimension='path' AND customer=?", [customer]
    )
    return [number for number, path, labels in rows if _is_about(path, labels, dimension, key)]


def _is_about(text: str, labels: str, dimension: Dimension, key: str) -> bool:
    path = parse_path(text)
    match dimension:
        case Dimension.ALL:
            return key == ""
        case Dimension.PATH:
            return key == text
        case Dimension.RELAY:
            return key == path.relay
        case Dimension.CUSTOMER:
            return key == path.customer
        case Dimension.MAILBOX:
            return key == path.mailbox
        case Dimension.AGENT:
            return key == path.agent
        case Dimension.LABEL:
            return key in json.loads(labels)


def _added_up(
    connection: sqlite3.Connection, numbers: Sequence[int], tier: int, starts: range
) -> dict[int, Cell]:
    """The cells of those series, by their start."""
    found: dict[int, Cell] = {}
    if not numbers or not starts:
        return found
    if len(numbers) * len(starts) <= MAX_CELLS:
        wanted = ((tier, start, number) for start in starts for number in numbers)
        for place in wanted:
            row = connection.execute(
                "SELECT cell FROM cells WHERE tier=? AND start=? AND series=?", place
            ).fetchone()
            if row is not None:
                cells.add(found.setdefault(place[1], {}), cells.decode(row[0]))
        return found
    raise QueryError(
        f"{len(numbers)} paths in {len(starts)} stretches: allowed is {MAX_CELLS} cells; ask for a "
        "shorter time or longer tiers"
    )


def paths(
    connection: sqlite3.Connection,
    *,
    customer: str | None = None,
    after: str = "",
    limit: int = 500,
) -> list[PathState]:
    """How the paths are now, in the order of their names, those after ``after`` only.

    "Now" is the time up to which the rollup has come.

    Raises:
        QueryError: ``limit`` is out of bounds.
    """
    if not 1 <= limit <= MAX_PATHS:
        raise QueryError(f"limit {limit}: allowed is 1 to {MAX_PATHS}")
    now_s = clock_s(connection)
    starts = range(now_s // MINUTE_S * MINUTE_S - RECENT_S + MINUTE_S, now_s + 1, MINUTE_S)
    rows = connection.execute(
        "SELECT path, latest FROM paths WHERE path>? AND (? IS NULL OR customer=?)"
        " ORDER BY path LIMIT ?",
        (after, customer, customer, limit),
    ).fetchall()
    found = []
    for path, latest in rows:
        state = msgspec.msgpack.decode(latest, type=Latest)
        numbers = _numbers(connection, Dimension.PATH, path, None)
        recent: Cell = {}
        for cell in _added_up(connection, numbers, MINUTE_S, starts).values():
            cells.add(recent, cell)
        found.append(
            PathState(
                path=parse_path(path),
                sent=state.sent,
                ended=state.ended,
                recent=figures(recent),
            )
        )
    return found


def canary(
    connection: sqlite3.Connection, name: str, *, customer: str | None = None
) -> CanaryRow | None:
    """What is kept of a canary; ``None`` for one that is not known, or not that customer's."""
    found = connection.execute(
        "SELECT key, number, born_ns, state FROM canaries WHERE key>=? AND key<? ORDER BY number",
        keys_between(name),
    )
    # Of several agents' that have one id, at most one is genuine; the first one came first.
    rows = [_row(connection, name, unpack(*row)) for row in found if id_of(row[0]) == name]
    if customer is not None:
        rows = [row for row in rows if row.path is not None and row.path.customer == customer]
    return min(rows, key=lambda row: row.path is None, default=None)


def _row(connection: sqlite3.Connection, name: str, one: Canary) -> CanaryRow:
    path, labels = path_of(connection, one.series)
    verdict = one.verdict()
    seen = sighting(connection, one.number)
    return CanaryRow(
        canary=name,
        path=path,
        labels=labels,
        sent_ns=one.at_ns or None,
        verdict=verdict,
        cursors=one.cursors,
        queued=None if seen is None else _in_queue(seen),
        greylisted=one.put_off and verdict.delay is not None,
    )


def _in_queue(seen: Sighting) -> InQueue:
    return InQueue(
        relay=seen.relay,
        queue=seen.queue,
        queue_id=seen.queue_id,
        arrived_ns=seen.arrived_ns,
        first_ns=seen.first_ns,
        last_ns=seen.last_ns,
        stage=seen.stage,
        reason=seen.reason,
        text=seen.text,
    )


def path_of(connection: sqlite3.Connection, number: int) -> tuple[Path | None, list[str]]:
    """The path of a path's series, and its labels; none for a canary without an intent."""
    if number <= 0:
        return None, []
    path, labels = connection.execute(
        "SELECT key, labels FROM series WHERE number=?", [number]
    ).fetchone()
    return parse_path(path), json.loads(labels)


def keys(connection: sqlite3.Connection, dimension: Dimension, limit: int = 1000) -> list[str]:
    """The keys of a dimension, in order, at most ``limit`` of them."""
    rows = connection.execute(
        "SELECT DISTINCT key FROM series WHERE dimension=? ORDER BY key LIMIT ?",
        (dimension.value, limit),
    )
    return [key for (key,) in rows]
