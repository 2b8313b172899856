"""The rollup against a slow recount straight from the events, whatever the batches."""

import sqlite3
from pathlib import Path
from typing import Any

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st

from collector.log.engine import Entry
from collector.rollup.cells import OUTCOMES, Key
from collector.rollup.file import FILE_NAME
from probes.contract.events import Intent
from tests.collector.rollup.histories import events_of, histories, splits
from tests.collector.rollup.recount import (
    Recount,
    directory,
    dump,
    dump_looks,
    dump_queued,
    roll_up,
)
from tests.collector.rollup.recount_checks import CheckRecount


def whole(where: Path) -> list[tuple[Any, ...]]:
    """All that the file holds, as far as it says anything."""
    connection = sqlite3.connect(where / FILE_NAME)
    tables = (
        "meta", "series", "cells", "canaries", "streams", "revisions", "agents", "paths", "queued",
    )  # fmt: skip
    found: list[tuple[Any, ...]] = []
    for table in tables:
        rows = connection.execute(f"SELECT * FROM {table}")  # noqa: S608 - our own names
        found.extend((table, *row) for row in rows)
    # Replaced, not changed: their order in the file says nothing.
    found.extend(("looks", *row) for row in connection.execute("SELECT * FROM looks ORDER BY name"))
    connection.close()
    return found


@settings(max_examples=300)
@given(histories(ticks=False), st.data())
def test_the_rollup_equals_a_recount(entries: list[Entry], data: st.DataObject) -> None:
    batches = data.draw(splits(entries))
    restarts = data.draw(st.lists(st.booleans(), min_size=len(batches), max_size=len(batches)))
    with directory() as where:
        roll_up(where, batches, restarts)
        assert dump(where) == Recount(entries).as_told()
        checks = CheckRecount(entries)
        assert dump_looks(where) == checks.looks
        assert dump_queued(where) == checks.seen


@settings(max_examples=200)
@given(histories(), st.data())
def test_batches_and_restarts_leave_no_trace(entries: list[Entry], data: st.DataObject) -> None:
    batches = data.draw(splits(entries))
    restarts = data.draw(st.lists(st.booleans(), min_size=len(batches), max_size=len(batches)))
    with directory() as one, directory() as other:
        roll_up(one, [[entry] for entry in entries], [False] * len(entries))
        roll_up(other, batches, restarts)
        assert dump(one) == dump(other)
        assert _settled(whole(one)) == _settled(whole(other))


def _settled(rows: list[tuple[Any, ...]]) -> list[tuple[Any, ...]]:
    """Without what is swept once a minute, whose moment depends on the batches."""
    swept = ("canaries", "streams", "cells", "queued")
    return [row for row in rows if row[0] not in swept]


@settings(max_examples=100)
@given(histories())
def test_every_canary_with_an_intent_is_counted_once_in_all(entries: list[Entry]) -> None:
    sent = {event.canary for event in events_of(entries) if isinstance(event, Intent)}
    with directory() as where:
        roll_up(where, [entries], [False])
        told = dump(where)
    days = [cell for place, cell in told.items() if place[0] == 86400 and place[2] == "all"]
    count = sum(cell[Key.CANARIES] for cell in days)
    outcomes = sum(cell.get(n, 0) for cell in days for n in OUTCOMES.values())
    assert count == outcomes
    # One that was forgotten and is heard of again is another canary to the rollup.
    assert count >= len(sent)
    assert msgspec.msgpack.encode(days)
