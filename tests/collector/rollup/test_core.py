"""Silent agents, unknown revisions, what is forgotten, what cannot be read."""

from pathlib import Path

import msgspec
import pytest

from collector.rollup.cells import OUTCOMES, Key
from collector.rollup.consumer import RollupConsumer
from probes.contract.names import Path as CanaryPath
from probes.contract.outcome import Outcome
from probes.contract.stages import Result, Stage
from tests.collector.rollup.histories import (
    LOG_ID,
    PATHS,
    History,
    accepted,
    arrival,
    bounds_of,
    config,
    expiry,
    intent,
    log_of,
    submission,
    tick,
)
from tests.collector.rollup.recount import Told, dump, roll_up


def told(where: Path, events: History) -> Told:
    entries = log_of(events)
    roll_up(where, [[entry] for entry in entries], [True] * len(entries))
    return dump(where)


def outcomes(cells: Told) -> dict[str, int]:
    day = [cell for place, cell in cells.items() if place[0] == 86400 and place[2] == "all"]
    found = {o.value: sum(cell.get(key, 0) for cell in day) for o, key in OUTCOMES.items()}
    return {outcome: count for outcome, count in found.items() if count}


def labels(cells: Told) -> set[str]:
    return {place[3] for place in cells if place[2] == "label"}


SENT = intent(1)
ON_TIME = [(float(at), tick(at)) for at in range(10, 1840, 10)]


def test_a_canary_of_a_silent_agent_is_unknown_after_its_time_and_never_lost(
    tmp_path: Path,
) -> None:
    begun: History = [config("r1", "aws"), SENT, submission(SENT)]
    before = told(tmp_path / "a", [*begun, *ON_TIME[:-1]])
    assert outcomes(before) == {"pending": 1}
    after = told(tmp_path / "b", [*begun, *ON_TIME])
    assert outcomes(after) == {"unknown": 1}


@pytest.fixture(autouse=True)
def _directories(tmp_path: Path) -> None:
    for name in ("a", "b", "c"):
        (tmp_path / name).mkdir()


def test_an_agent_that_is_heard_keeps_its_canary_pending(tmp_path: Path) -> None:
    other = intent(2, PATHS[1], 1800)
    cells = told(tmp_path, [SENT, submission(SENT), *ON_TIME[:-2], other, *ON_TIME[-2:]])
    assert outcomes(cells) == {"pending": 2}


def test_what_another_agent_says_of_the_same_canary_changes_nothing(tmp_path: Path) -> None:
    path = CanaryPath("mallory", SENT.path.relay, SENT.path.mailbox)
    lies = [
        msgspec.structs.replace(event, path=path)
        for event in (submission(SENT), arrival(SENT), expiry(SENT))
    ]
    before = told(tmp_path / "a", [*lies, SENT, submission(SENT), *lies])
    assert outcomes(before) == {"pending": 1}
    after = told(tmp_path / "b", [*lies, SENT, submission(SENT), *lies, arrival(SENT)])
    assert outcomes(after) == {"delivered": 1}


def test_an_agent_that_comes_back_corrects_what_was_unknown(tmp_path: Path) -> None:
    begun: History = [SENT, submission(SENT), *ON_TIME]
    assert outcomes(told(tmp_path / "a", [*begun, arrival(SENT)])) == {"delivered": 1}
    assert outcomes(told(tmp_path / "b", [*begun, expiry(SENT)])) == {"lost": 1}


def test_while_the_collector_was_away_nobody_was_silent(tmp_path: Path) -> None:
    cells = told(tmp_path, [SENT, (10.0, tick(10)), (9000.0, tick(9000)), (9010.0, tick(9010))])
    assert outcomes(cells) == {"pending": 1}
    more = [(float(at), tick(at)) for at in range(9020, 9040, 10)]
    begun: History = [SENT, (10.0, tick(10)), (9000.0, tick(9000)), (9010.0, tick(9010))]
    assert outcomes(told(tmp_path / "a", [*begun, *more])) == {"unknown": 1}


def test_labels_are_those_of_the_revision_it_was_sent_under(tmp_path: Path) -> None:
    sent = [intent(1, revision="r1"), intent(2, revision="r2"), intent(3, revision="gone")]
    events: History = [config("r1", "aws"), config("r2", "gcp"), *sent]
    cells = told(tmp_path, events)
    assert labels(cells) == {"relay:provider=aws", "relay:provider=gcp", "customer:tier=gold"}
    day = 1_760_000_000 // 86400 * 86400
    assert cells[86400, day, "label", "relay:provider=aws"][Key.CANARIES] == 1
    # A revision that nobody knows: the newest one that names the path.
    assert cells[86400, day, "label", "relay:provider=gcp"][Key.CANARIES] == 2


def test_without_any_revision_a_canary_has_names_only(tmp_path: Path) -> None:
    cells = told(tmp_path, [intent(1)])
    assert {place[2] for place in cells} == {
        "all", "path", "relay", "customer", "mailbox", "agent",
    }  # fmt: skip


def test_a_correction_goes_where_the_canary_was_counted(tmp_path: Path) -> None:
    events: History = [
        config("r1", "aws"), SENT, submission(SENT), expiry(SENT), config("r2", "gcp"),
        arrival(SENT, 4000, 4001),
    ]  # fmt: skip
    cells = told(tmp_path, events)
    assert outcomes(cells) == {"late": 1}
    assert labels(cells) == {"relay:provider=aws", "customer:tier=gold"}


def test_what_is_not_remembered_any_more_is_forgotten_and_its_end_unknown(tmp_path: Path) -> None:
    begun: History = [config("r1", "aws", "1h"), SENT, submission(SENT)]
    other = intent(2, PATHS[0], 3500)
    # The agent is heard all the time, and says nothing of its canary.
    cells = told(tmp_path, [*begun, (3590.0, other), (3611.0, tick(3611)), arrival(SENT)])
    assert outcomes(cells) == {"pending": 1, "unknown": 1}


def test_a_canary_without_intent_counts_nowhere_and_is_told(tmp_path: Path) -> None:
    events: History = [config("r1", "aws", "1h"), arrival(SENT), (3700.0, tick(3700))]
    entries = log_of(events)
    consumer = RollupConsumer(tmp_path)
    consumer.open(LOG_ID, bounds_of(entries))
    consumer.take(entries)
    assert consumer.counters.without_intent == 1
    consumer.close()
    assert dump(tmp_path) == {}


def test_what_cannot_be_read_is_counted_and_stops_nothing(tmp_path: Path) -> None:
    entries = log_of([SENT, submission(SENT), arrival(SENT)])
    bad = [
        b"{",
        b'{"kind":"arrival"}',
        entries[2].body.replace(b'"uid":1', b'"uid":99999999999999999999999'),
        entries[2].body.replace(b'"hi":2.0', b'"hi":1e999'),
    ]
    noise = [entries[2]._replace(body=body, cursor=10 + n) for n, body in enumerate(bad)]
    strange = entries[0]._replace(kind="config", cursor=20, source="collector")
    config_body = msgspec.json.encode(
        {"kind": "config", "revision": "x", "at_ns": 1, "document": {"version": 9}}
    )
    consumer = RollupConsumer(tmp_path)
    consumer.open(LOG_ID, bounds_of(entries))
    consumer.take([*noise, strange._replace(body=config_body)])
    consumer.take([entry._replace(cursor=entry.cursor + 30) for entry in entries])
    assert (consumer.counters.undecodable, consumer.counters.bad_revisions) == (4, 1)
    consumer.close()
    assert outcomes(dump(tmp_path)) == {Outcome.DELIVERED: 1}


def test_a_rejected_canary_counts_the_stage(tmp_path: Path) -> None:

    cells = told(tmp_path, [SENT, submission(SENT, Result.REJECTED, Stage.RCPT)])
    assert outcomes(cells) == {"rejected": 1}
    assert all(cell[47] == 1 for cell in cells.values())


def test_the_order_of_arrival_is_judged_across_batches(tmp_path: Path) -> None:
    sent = [intent(n) for n in (1, 2, 3)]
    events = accepted(*sent)
    events += [arrival(sent[2], uid=1), arrival(sent[0], uid=2), arrival(sent[1], uid=3)]
    cells = told(tmp_path, events)
    day = cells[86400, 1_760_000_000 // 86400 * 86400, "path", str(PATHS[0])]
    assert (day[Key.RECEIVED], day[Key.REORDERED]) == (3, 2)
    assert (day[Key.EXTENT_SUM], day[Key.EXTENT_MAX]) == (3, 2)
