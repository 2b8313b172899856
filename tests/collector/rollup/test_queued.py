"""Canaries in a relay's queue: which is which, what is remembered, which were greylisted."""

from pathlib import Path
from typing import Any

import pytest

from collector.rollup import check_queries, queries
from collector.rollup.cells import Key
from collector.rollup.file import FILE_NAME, open_to_read
from collector.rollup.queued import WITHIN_NS
from probes.contract.outcome import Outcome
from probes.contract.stages import Reason, Stage
from probes.contract.units import NS_PER_S
from tests.collector.rollup.histories import (
    ACME,
    PATHS,
    T0_S,
    ZENITH,
    History,
    arrival,
    canary_id,
    config,
    expiry,
    intent,
    listed,
    log_of,
    queue_look,
    submission,
    tick,
)
from tests.collector.rollup.recount import dump, dump_queued, roll_up

SENT = intent(1, ACME)
BEGUN: History = [config("r1", "aws"), SENT, submission(SENT, queue_id="Q1")]
T0_NS = T0_S * NS_PER_S


def seen(where: Path, events: History, *, restart: bool = True) -> dict[str, dict[str, Any]]:
    entries = log_of(events)
    roll_up(where, [[entry] for entry in entries], [restart] * len(entries))
    return dump_queued(where)


def row(where: Path, number: int = 1) -> queries.CanaryRow:
    connection = open_to_read(where / FILE_NAME)
    found = queries.canary(connection, canary_id(number))
    connection.close()
    assert found is not None
    return found


def test_a_canary_is_known_by_its_relays_id_also_after_it_counted_as_lost(tmp_path: Path) -> None:
    late: History = [expiry(SENT), queue_look(90, listed(SENT, "Q1"))]
    found = seen(tmp_path, [*BEGUN, queue_look(30, listed(SENT, "Q1")), *late])
    assert set(found) == {SENT.canary}
    told = row(tmp_path)
    assert told.verdict.outcome is Outcome.LOST
    assert told.queued is not None
    assert (told.queued.relay, told.queued.queue) == ("relay-a", "deferred")
    # Looks are no later than they were told of.
    assert told.queued.first_ns < told.queued.last_ns
    assert (told.queued.stage, told.queued.reason) == (Stage.EGRESS_CONNECT, Reason.TIMEOUT)
    # The look at which it changed is part of the story, those that only repeat it are not.
    assert told.cursors == [2, 3, 4, 5]


@pytest.mark.parametrize(
    "look",
    [
        queue_look(30, listed(SENT, "Q2")),
        queue_look(30, listed(SENT, "Q1"), relay="relay-b"),
        queue_look(30, listed(SENT, "Q1", recipient="c@elsewhere.example")),
        queue_look(30, listed(SENT, "Q1", arrived_s=WITHIN_NS / NS_PER_S + 1)),
        queue_look(30, listed(SENT, "Q1", arrived_s=-WITHIN_NS / NS_PER_S)),
    ],
    ids=["another id", "another relay", "another recipient", "later", "earlier"],
)
def test_what_does_not_fit_is_another_mail(tmp_path: Path, look: Any) -> None:
    assert seen(tmp_path, [*BEGUN, look]) == {}


def test_a_canary_whose_end_is_known_is_not_looked_for(tmp_path: Path) -> None:
    look = queue_look(30, listed(SENT, "Q1"))
    assert seen(tmp_path, [*BEGUN, arrival(SENT), look]) == {}


@pytest.mark.parametrize("restart", [False, True])
def test_an_id_that_is_used_again_means_the_nearest(tmp_path: Path, *, restart: bool) -> None:
    other = intent(2, ACME, 300)
    events: History = [*BEGUN, (300.0, other), submission(other, queue_id="Q1")]
    near = listed(other, "Q1", arrived_s=299)
    found = seen(tmp_path, [*events, (330.0, queue_look(330, near))], restart=restart)
    assert set(found) == {other.canary}
    both = [(360.0, queue_look(360, near, listed(SENT, "Q1", arrived_s=1)))]
    (tmp_path / "b").mkdir()
    found = seen(tmp_path / "b", [*events, *both], restart=restart)
    assert set(found) == {SENT.canary, other.canary}


def test_one_id_for_very_many_says_nothing_of_any(tmp_path: Path) -> None:
    many = [intent(number, ACME) for number in range(1, 67)]
    handed = [submission(one, queue_id="Q1") for one in many]
    look = queue_look(30, listed(SENT, "Q1"))
    assert seen(tmp_path, [*many, *handed, look], restart=False) == {}
    (tmp_path / "b").mkdir()
    there = [arrival(one) for one in many[2:]]
    found = seen(tmp_path / "b", [*many, *handed, *there, look], restart=True)
    assert set(found) == {many[0].canary}


def test_an_intent_that_comes_after_its_submission_is_found_all_the_same(tmp_path: Path) -> None:
    events: History = [submission(SENT, queue_id="Q1"), SENT, queue_look(30, listed(SENT, "Q1"))]
    assert set(seen(tmp_path, events)) == {SENT.canary}


def test_what_is_forgotten_is_not_seen_again(tmp_path: Path) -> None:
    begun: History = [config("r1", "aws", "1h"), SENT, submission(SENT, queue_id="Q1")]
    first = queue_look(30, listed(SENT, "Q1"))
    events: History = [*begun, first, (3700.0, tick(3700)), queue_look(3700, listed(SENT, "Q1"))]
    entries = log_of(events)
    roll_up(tmp_path, [entries], [False])
    assert dump_queued(tmp_path) == {}


def greylisted(where: Path, events: History) -> int:
    seen(where, events)
    cells = dump(where)
    return cells[86400, T0_S // 86400 * 86400, "all", ""].get(Key.GREYLISTED, 0)


@pytest.mark.parametrize(
    ("stage", "reason", "counts"),
    [
        (Stage.EGRESS_RCPT, Reason.GREYLISTED, 1),
        (Stage.EGRESS_RCPT, Reason.REPLY_4XX, 1),
        (Stage.EGRESS_DATA, Reason.REPLY_4XX, 1),
        (Stage.EGRESS_MAIL, Reason.REPLY_4XX, 1),
        (Stage.EGRESS_BANNER, Reason.REPLY_4XX, 0),
        (Stage.EGRESS_CONNECT, Reason.TIMEOUT, 0),
        (None, None, 0),
    ],
)
def test_put_off_and_then_there_is_greylisted(
    tmp_path: Path, stage: Stage | None, reason: Reason | None, counts: int
) -> None:
    look = queue_look(30, listed(SENT, "Q1", stage=stage, reason=reason))
    # Of what it waits for afterwards nothing is taken back.
    after = queue_look(60, listed(SENT, "Q1", queue="active", stage=None, reason=None))
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
    assert greylisted(tmp_path / "a", [*BEGUN, look, after]) == 0
    there = arrival(SENT, 300, 301)
    assert greylisted(tmp_path / "b", [*BEGUN, look, after, there]) == counts
    assert row(tmp_path / "b").greylisted is bool(counts)
    assert row(tmp_path / "b").verdict.outcome is Outcome.LATE


def test_a_canary_that_was_put_off_and_never_came_is_lost_and_no_more(tmp_path: Path) -> None:
    look = queue_look(30, listed(SENT, "Q1", stage=Stage.EGRESS_RCPT, reason=Reason.GREYLISTED))
    assert greylisted(tmp_path, [*BEGUN, look, expiry(SENT)]) == 0
    assert row(tmp_path).greylisted is False


def test_changes_of_why_it_waits_leave_room_for_its_own_events(tmp_path: Path) -> None:
    looks = [
        queue_look(number, listed(SENT, "Q1", reason=(Reason.TIMEOUT, Reason.REFUSED)[number % 2]))
        for number in range(100)
    ]
    seen(tmp_path, [*BEGUN, (100.0, looks[0]), *looks[1:], arrival(SENT)], restart=False)
    cursors = row(tmp_path).cursors
    assert len(cursors) == 33
    assert cursors[-1] == 104


def test_the_canaries_of_a_queue_are_those_that_its_newest_look_lists(tmp_path: Path) -> None:
    others = [intent(2, ZENITH), intent(3, PATHS[0])]
    events: History = [*BEGUN]
    events = [
        *events,
        *others,
        *(submission(one, queue_id=f"Q{n}") for n, one in enumerate(others, 2)),
    ]
    first = queue_look(30, listed(SENT, "Q1"), listed(others[0], "Q2"), listed(others[1], "Q3"))
    then = queue_look(60, listed(others[0], "Q2"), listed(others[1], "Q3"))
    seen(tmp_path, [*events, (40.0, first), (70.0, then), arrival(others[1])])
    connection = open_to_read(tmp_path / FILE_NAME)
    found = check_queries.queue(connection, "relay-a")
    none = check_queries.queue(connection, "relay-b")
    connection.close()
    assert none is None
    assert found is not None
    assert found.look.at_ns == T0_NS + 60 * NS_PER_S
    assert [one.canary for one in found.canaries] == [others[0].canary]
