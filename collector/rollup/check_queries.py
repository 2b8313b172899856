"""Questions to a rollup's file about what agents see from the relays' own side."""

import sqlite3
from typing import Any

import msgspec

from collector.rollup.canary import id_of, unpack
from collector.rollup.look_rows import sightings_of
from collector.rollup.looks import QueueLook, unpack_said
from collector.rollup.queries import QueryError, path_of
from collector.rollup.queued import Sighting
from probes.contract.checks import EgressPattern, EgressSeen
from probes.contract.names import Path
from probes.contract.stages import Reason, Stage

MAX_LOOKS = 5000
MAX_CANARIES = 1000
_COLUMNS = (
    "relay, probe, target, source, agent, ok, stage, reason, since_ns, at_ns, told_ns, stale_ns,"
    " said, name"
)


class LookView(msgspec.Struct, frozen=True, kw_only=True):
    """One look: what it came to last, by which agent, and since when it comes to that.

    ``stale``: it was not told again for three of its intervals, so it may be otherwise by now.
    """

    relay: str
    probe: str
    target: str | None
    source: str | None
    agent: str
    ok: bool
    stale: bool
    stage: Stage | None
    reason: Reason | None
    detail: str | None
    since_ns: int
    at_ns: int
    told_ns: int
    interval_s: float | None
    egress: EgressSeen | None
    pattern: EgressPattern | None
    queue: QueueLook | None


class StuckCanary(msgspec.Struct, frozen=True, kw_only=True):
    """A canary of ours in a relay's queue, and why it waits there."""

    canary: str
    path: Path | None
    sent_ns: int
    queue: str
    queue_id: str
    first_ns: int
    last_ns: int
    stage: Stage | None
    reason: Reason | None
    text: str | None


class RelayQueue(msgspec.Struct, frozen=True, kw_only=True):
    """The newest look at a relay's queue, and the canaries in it, the longest waiting first.

    ``more`` counts those that wait there, too, and are not in the list.
    """

    look: LookView
    canaries: list[StuckCanary]
    more: int


class LookFigure(msgspec.Struct, frozen=True):
    """A look as a metric has it: of the hosts of one destination, whether one was reached."""

    relay: str
    probe: str
    target: str
    source: str
    agent: str
    ok: bool
    stale: bool
    told_ns: int
    stale_after_ns: int
    reason: str = ""
    """Why it is not well, where the look is about the relay itself or about all destinations."""


def looks(
    connection: sqlite3.Connection,
    *,
    relay: str | None = None,
    probe: str | None = None,
    bad: bool = False,
    after: str = "",
    limit: int = 500,
) -> tuple[list[LookView], str | None]:
    """A page of looks in the order of their names, those after ``after`` only, and the next one's.

    ``bad``: those that are not well, or stale.

    Raises:
        QueryError: ``limit`` is out of bounds.
    """
    if not 1 <= limit <= MAX_LOOKS:
        raise QueryError(f"limit {limit}: allowed is 1 to {MAX_LOOKS}")
    now_ns = clock_ns(connection)
    rows = connection.execute(
        f"SELECT {_COLUMNS} FROM looks WHERE name>?1 AND (?2 IS NULL OR relay=?2)"  # noqa: S608 - our own names
        " AND (?3 IS NULL OR probe=?3) AND (NOT ?4 OR NOT ok OR stale_ns<?5)"
        " ORDER BY name LIMIT ?6",
        (after, relay, probe, bad, now_ns, limit + 1),
    ).fetchall()
    page = rows[:limit]
    found = [_view(row, now_ns) for row in page]
    return found, page[-1][-1] if len(rows) > len(page) else None


def queue(connection: sqlite3.Connection, relay: str) -> RelayQueue | None:
    """The newest look at the relay's queue; ``None`` where there never was one."""
    row = connection.execute(
        f"SELECT {_COLUMNS} FROM looks WHERE relay=? AND probe='queue'"  # noqa: S608 - our own names
        " ORDER BY at_ns DESC, name LIMIT 1",
        [relay],
    ).fetchone()
    if row is None:
        return None
    look = _view(row, clock_ns(connection))
    complete = look.queue is None or look.queue.complete
    # A listing that was cut off need not list what still waits.
    since_ns = look.at_ns if complete else look.at_ns - (row[11] - row[10])
    found = []
    for seen in sightings_of(connection, relay, since_ns):
        stuck = _stuck(connection, seen)
        if stuck is not None:
            found.append(stuck)
    found.sort(key=lambda one: (one.sent_ns, one.canary))
    waiting = max(len(found), 0 if look.queue is None else look.queue.canaries)
    page = found[:MAX_CANARIES]
    return RelayQueue(look=look, canaries=page, more=waiting - len(page))


def figures(connection: sqlite3.Connection) -> list[LookFigure]:
    """All looks as metrics have them, but for those at control ports."""
    now_ns = clock_ns(connection)
    rows = connection.execute(
        "SELECT relay, probe, target, source, agent, max(ok AND stale_ns>=?1), max(stale_ns)<?1,"
        " max(told_ns), max(stale_ns-told_ns), max(CASE WHEN target='' AND NOT ok THEN reason END)"
        " FROM looks WHERE NOT control GROUP BY relay, probe, target, source, agent",
        [now_ns],
    )
    return [
        LookFigure(
            relay, probe, target, source, agent, bool(ok), bool(stale), told_ns, after_ns, why or ""
        )
        for relay, probe, target, source, agent, ok, stale, told_ns, after_ns, why in rows
    ]


def queue_looks(connection: sqlite3.Connection) -> list[LookView]:
    """The looks at queues that are not stale."""
    now_ns = clock_ns(connection)
    rows = connection.execute(
        f"SELECT {_COLUMNS} FROM looks WHERE probe='queue' AND stale_ns>=?"  # noqa: S608 - our own names
        " ORDER BY at_ns",
        [now_ns],
    )
    return [_view(row, now_ns) for row in rows]


def clock_ns(connection: sqlite3.Connection) -> int:
    """How far the rollup has come, nanoseconds since the Unix epoch; 0 for an empty one."""
    row = connection.execute("SELECT value FROM meta WHERE key='clock_ns'").fetchone()
    return 0 if row is None else int(row[0])


def _view(row: tuple[Any, ...], now_ns: int) -> LookView:
    relay, probe, target, source, agent, ok, stage, reason, since_ns, at_ns, told_ns = row[:11]
    stale_ns, said = row[11], unpack_said(row[12])
    return LookView(
        relay=relay,
        probe=probe,
        target=target or None,
        source=source or None,
        agent=agent,
        ok=bool(ok),
        stale=stale_ns < now_ns,
        stage=Stage(stage) if stage else None,
        reason=Reason(reason) if reason else None,
        detail=said.detail,
        since_ns=since_ns,
        at_ns=at_ns,
        told_ns=told_ns,
        interval_s=said.interval_s,
        egress=said.egress,
        pattern=said.pattern,
        queue=said.queue,
    )


def _stuck(connection: sqlite3.Connection, seen: Sighting) -> StuckCanary | None:
    row = connection.execute(
        "SELECT key, number, born_ns, state FROM canaries WHERE number=?", [seen.number]
    ).fetchone()
    if row is None:
        return None
    one = unpack(*row)
    if one.story.sightings:
        return None
    return StuckCanary(
        canary=id_of(seen.key),
        path=path_of(connection, one.series)[0],
        sent_ns=one.at_ns,
        queue=seen.queue,
        queue_id=seen.queue_id,
        first_ns=seen.first_ns,
        last_ns=seen.last_ns,
        stage=seen.stage,
        reason=seen.reason,
        text=seen.text,
    )
