"""Questions to the rollup: what everybody's canaries say, and what one customer's do."""

import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest

from collector.rollup import queries
from collector.rollup.file import FILE_NAME, open_to_read
from collector.rollup.queries import QueryError
from collector.rollup.series import Dimension
from probes.contract.outcome import Outcome
from tests.collector.rollup.histories import (
    ACME,
    T0_S,
    ZENITH,
    accepted,
    arrival,
    canary_id,
    config,
    expiry,
    intent,
    tick,
)
from tests.collector.rollup.recount import rolled_up

HOUR = T0_S // 3600 * 3600
SPAN = (HOUR, HOUR + 7200)


@pytest.fixture
def db(tmp_path: Path) -> Iterator[sqlite3.Connection]:
    """Canary 1 of acme arrived, 2 is lost, 3 came under another label; 4 is zenith's."""
    sent = [intent(1, ACME), intent(2, ACME, 1), intent(3, ACME, 61, revision="r2")]
    sent.append(intent(4, ZENITH, 2))
    rolled_up(
        tmp_path,
        [
            config("r1", "aws"),
            config("r2", "gcp"),
            *accepted(*sent),
            arrival(sent[0]),
            arrival(sent[2], 70, 71),
            arrival(sent[3], 4, 5),
            expiry(sent[1]),
            tick(90),
        ],
    )
    connection = open_to_read(tmp_path / FILE_NAME)
    yield connection
    connection.close()


def counts(points: list[queries.Point]) -> dict[str, int]:
    found: dict[str, int] = {}
    for point in points:
        for outcome, n in point.figures.outcomes.items():
            if n:
                found[outcome] = found.get(outcome, 0) + n
    return found


def test_a_series_in_each_tier(db: sqlite3.Connection) -> None:
    for tier, points in ((60, 2), (3600, 1), (86400, 1)):
        span = (HOUR // 86400 * 86400, HOUR + 7200) if tier == 86400 else SPAN
        found = queries.series(db, Dimension.ALL, "", tier, span)
        assert len(found) == points
        assert counts(found) == {"delivered": 2, "late": 1, "lost": 1}
        assert found[0].start_s == T0_S // tier * tier


def test_figures_of_a_point(db: sqlite3.Connection) -> None:
    (point,) = queries.series(db, Dimension.RELAY, "relay-a", 3600, SPAN)
    figures = point.figures
    assert figures.canaries == 4
    assert figures.loss_ratio is not None
    assert figures.loss_ratio.lo == figures.loss_ratio.hi == 0.25
    assert figures.p50 is not None
    assert figures.p50.lo <= 4 <= 5 <= (figures.p50.hi or 0) < 5.2
    assert figures.p99 is None
    assert figures.timing == {"in-time": 2, "late": 1, "uncertain": 0}
    assert figures.stages == {"transit": 1}
    assert figures.delivered_ratio == 0.5
    assert (figures.order.received, figures.overtaking.judged) == (3, 3)


@pytest.mark.parametrize(
    ("dimension", "key", "whole", "acme"),
    [
        (Dimension.ALL, "", 4, 3),
        (Dimension.RELAY, "relay-a", 4, 3),
        (Dimension.AGENT, "sfo", 4, 3),
        (Dimension.PATH, str(ACME), 3, 3),
        (Dimension.PATH, str(ZENITH), 1, 0),
        (Dimension.CUSTOMER, "zenith", 1, 0),
        (Dimension.MAILBOX, "zenith/box", 1, 0),
        (Dimension.MAILBOX, "acme/inbox", 3, 3),
        (Dimension.LABEL, "relay:provider=aws", 3, 2),
        (Dimension.LABEL, "relay:provider=gcp", 1, 1),
        (Dimension.LABEL, "relay:provider=nobody", 0, 0),
    ],
)
def test_a_customer_sees_what_its_own_canaries_say(
    db: sqlite3.Connection, dimension: Dimension, key: str, whole: int, acme: int
) -> None:
    everybody = queries.series(db, dimension, key, 3600, SPAN)
    own = queries.series(db, dimension, key, 3600, SPAN, customer="acme")
    assert sum(point.figures.canaries for point in everybody) == whole
    assert sum(point.figures.canaries for point in own) == acme


@pytest.mark.parametrize(
    ("tier", "span", "told"),
    [
        (61, SPAN, "tier 61: allowed is 60, 3600, 86400"),
        (60, (5, 5), "allowed is a from before the to"),
        (60, (0, HOUR), "allowed is 2000"),
    ],
)
def test_questions_out_of_bounds(
    db: sqlite3.Connection, tier: int, span: tuple[int, int], told: str
) -> None:
    with pytest.raises(QueryError, match=told):
        queries.series(db, Dimension.ALL, "", tier, span)


def test_paths_as_they_are_now(db: sqlite3.Connection) -> None:
    acme, zenith = queries.paths(db)
    assert (acme.path, zenith.path) == (ACME, ZENITH)
    assert acme.sent is not None
    assert acme.ended is not None
    assert acme.sent.canary == acme.ended.canary == canary_id(3)
    assert (acme.ended.outcome, acme.ended.lo_s, acme.ended.hi_s) == ("late", 70, 71)
    assert acme.recent.canaries == 3
    assert [state.path for state in queries.paths(db, customer="zenith")] == [ZENITH]
    assert [state.path for state in queries.paths(db, limit=1)] == [ACME]
    assert [state.path for state in queries.paths(db, after=str(ACME))] == [ZENITH]
    for limit in (0, queries.MAX_PATHS + 1):
        with pytest.raises(QueryError, match="limit"):
            queries.paths(db, limit=limit)


def test_a_canary_and_who_may_see_it(db: sqlite3.Connection) -> None:
    found = queries.canary(db, canary_id(2))
    assert found is not None
    assert (found.path, found.verdict.outcome) == (ACME, Outcome.LOST)
    assert found.labels == ["customer:tier=gold", "relay:provider=aws"]
    assert found.cursors == [4, 8, 14]
    assert queries.canary(db, canary_id(2), customer="acme") == found
    assert queries.canary(db, canary_id(2), customer="zenith") is None
    assert queries.canary(db, canary_id(99)) is None


def test_keys_of_a_dimension(db: sqlite3.Connection) -> None:
    assert queries.keys(db, Dimension.CUSTOMER) == ["acme", "zenith"]
