"""What the store does within its transactions, on a real file."""

from functools import partial

import pytest

from agent.clock import NEVER, Moment
from agent.spool.flight import Flight, FlightState
from agent.spool.schema import OpenSpool
from agent.spool.store import Cursor, Store, ends_flight
from probes.contract import events as ev
from probes.contract.events import decode
from probes.contract.names import Path as MailPath
from probes.contract.stages import Result
from tests.agent.fakes import (
    INBOX,
    PATH,
    HandClock,
    S,
    arrival_of,
    canary_id,
    flight,
    submission_of,
)

BIG = 1 << 40


@pytest.fixture
def store(opened: OpenSpool) -> Store:
    """A store in the middle of a transaction."""
    made = Store(opened.connection, opened.epoch)
    made.begin()
    return made


def moment(second: int) -> Moment:
    """A moment of the first boot."""
    return Moment(second * S, second * S, "boot-1")


def test_what_was_sent_to_where_a_mailbox_was_before_stays_so(store: Store) -> None:
    one, two = (store.begin_flight(flight(number, sent=moment(1)), "") for number in (1, 2))
    assert store.sent_elsewhere([one, two], {"other/box"}) == set()
    assert store.sent_elsewhere([one], {PATH.mailbox}) == {one.canary}
    # The next start: its cursors are those of the new account already.
    assert store.sent_elsewhere([one, two], ()) == {one.canary}
    assert store.sent_elsewhere([two], ()) == set()
    assert store.sent_elsewhere([one, two], ()) == set()


def expiry(of: Flight) -> ev.Expiry:
    """That its wait is over."""
    return ev.Expiry(canary=of.canary, path=of.path, at_ns=S, lost=True, watermark_ns=S)


def bounce(of: Flight, action: str) -> ev.Bounce:
    """That a report about a canary came."""
    return ev.Bounce(
        canary=of.canary,
        path=of.path,
        seen_ns=S,
        action=action,
        status="5.1.1",
        diagnostic=None,
        remote_mta=None,
        reporting_mta=None,
    )


def ticks(store: Store, *times: int) -> None:
    """Write events with those times."""
    for at_ns in times:
        store.append(ev.Tick(at_ns=at_ns), at_ns)


# --- events ---------------------------------------------------------------------------------


def test_events_are_numbered_from_one_without_gaps(store: Store) -> None:
    ticks(store, *range(10))
    assert [record.seq for record in store.read_after(0, 100)] == list(range(1, 11))
    assert [record.seq for record in store.read_after(4, 3)] == [5, 6, 7]
    assert decode(store.read_after(4, 1)[0].body) == ev.Tick(at_ns=4)


def test_a_rollback_uses_up_no_number(store: Store) -> None:
    ticks(store, 1, 2)
    store.commit()
    store.begin()
    ticks(store, 3, 4, 5)
    store.rollback()
    store.rollback()
    store.begin()
    ticks(store, 6)
    assert [record.seq for record in store.read_after(0, 100)] == [1, 2, 3]


def test_what_was_shipped_leaves_and_its_numbers_are_not_used_again(store: Store) -> None:
    ticks(store, 1, 2, 3)
    assert store.shipped() == 0
    store.mark_shipped(3)
    ticks(store, 4)
    assert [record.seq for record in store.read_after(0, 100)] == [4]
    store.mark_shipped(2)
    assert store.shipped() == 3


def test_asking_for_the_depth_costs_the_same_at_any_depth(opened: OpenSpool) -> None:
    store = Store(opened.connection, opened.epoch)
    store.begin()
    costs = []
    for _ in range(2):
        ticks(store, *range(2000))
        steps: list[None] = []
        # None lets SQLite go on, and is what append gives.
        opened.connection.set_progress_handler(partial(steps.append, None), 1)
        store.depth()
        opened.connection.set_progress_handler(None, 1)
        costs.append(len(steps))
    assert costs[1] <= costs[0] + 10


def test_depth_of_an_empty_and_of_a_used_spool(store: Store) -> None:
    empty = store.depth()
    assert (empty.rows, empty.last_seq, empty.shipped, empty.dropped) == (0, 0, 0, 0)
    assert empty.oldest_ns is None
    ticks(store, *range(1000))
    store.mark_shipped(400)
    used = store.depth()
    assert (used.rows, used.last_seq, used.shipped, used.dropped) == (600, 1000, 400, 0)
    assert used.bytes > empty.bytes
    assert used.oldest_ns == 400
    store.mark_shipped(1000)
    assert (store.depth().rows, store.depth().last_seq) == (0, 1000)


# --- bounds ---------------------------------------------------------------------------------


def test_within_its_bounds_nothing_is_dropped(store: Store) -> None:
    assert store.trim(max_bytes=BIG, min_at_ns=0) == 0
    ticks(store, *range(100))
    assert store.trim(max_bytes=BIG, min_at_ns=0) == 0
    assert store.depth().rows == 100


def test_what_is_too_old_is_dropped_and_counted(store: Store) -> None:
    ticks(store, *range(100))
    assert store.trim(max_bytes=BIG, min_at_ns=30) == 30
    assert store.read_after(0, 1)[0].seq == 31
    assert store.trim(max_bytes=BIG, min_at_ns=31) == 1
    assert store.depth().dropped == 31
    assert store.depth().rows == 69


def test_an_event_with_a_wrong_time_takes_no_good_ones_with_it(store: Store) -> None:
    ticks(store, 1000, 1001, 1, 1002)
    assert store.trim(max_bytes=BIG, min_at_ns=500) == 0
    assert store.trim(max_bytes=BIG, min_at_ns=1001) == 1
    assert store.trim(max_bytes=BIG, min_at_ns=1002) == 2


def test_a_long_backlog_of_old_events_goes_in_parts(store: Store) -> None:
    ticks(store, *([1] * 10_500))
    assert store.trim(max_bytes=BIG, min_at_ns=2) == 10_000
    assert store.trim(max_bytes=BIG, min_at_ns=2) == 500
    assert store.depth().dropped == 10_500


def test_what_is_too_much_is_dropped_oldest_first(store: Store) -> None:
    ticks(store, *range(20_000))
    before = store.depth()
    bound = before.bytes // 2
    dropped = store.trim(max_bytes=bound, min_at_ns=0)
    after = store.depth()
    assert after.bytes <= bound
    assert 0 < dropped < 20_000
    assert (after.dropped, after.rows) == (dropped, 20_000 - dropped)
    assert store.read_after(0, 1)[0].seq == dropped + 1
    # Not much more than was needed.
    assert after.bytes > bound * 0.8


def test_a_bound_below_the_empty_file_ends_with_no_events(store: Store) -> None:
    ticks(store, *range(100))
    assert store.trim(max_bytes=1, min_at_ns=0) == 100
    assert store.depth().rows == 0
    ticks(store, 1)
    assert store.read_after(0, 1)[0].seq == 101


def test_a_dropped_event_leaves_a_gap_that_a_reader_sees(store: Store) -> None:
    ticks(store, *range(10))
    store.trim(max_bytes=BIG, min_at_ns=4)
    records = store.read_after(2, 100)
    assert records[0].seq == 5


# --- flights --------------------------------------------------------------------------------


def test_a_flight_is_numbered_in_both_of_its_streams(store: Store) -> None:
    other_relay = MailPath("sfo", "relay-a2", INBOX)
    other_box = MailPath("sfo", "relay-a1", "zeta/inbox")
    made = [
        store.begin_flight(flight(number, sent=moment(number), path=path), "r1")
        for number, path in enumerate([PATH, PATH, other_relay, other_box, PATH], start=1)
    ]
    assert [one.path_seq for one in made] == [1, 2, 1, 1, 3]
    assert [one.mailbox_seq for one in made] == [1, 2, 3, 1, 4]
    assert {one.stream_epoch for one in made} == {store.epoch}
    assert store.flights() == made
    intents = [decode(record.body) for record in store.read_after(0, 10)]
    assert all(isinstance(intent, ev.Intent) for intent in intents)
    assert isinstance(intents[4], ev.Intent)
    assert (intents[4].path_seq, intents[4].mailbox_seq, intents[4].revision) == (3, 4, "r1")


def test_a_rollback_takes_back_the_streams_too(store: Store) -> None:
    store.begin_flight(flight(1, sent=moment(1)), "")
    store.commit()
    store.begin()
    store.begin_flight(flight(2, sent=moment(2)), "")
    store.rollback()
    store.begin()
    assert store.begin_flight(flight(3, sent=moment(3)), "").path_seq == 2


def test_an_accepted_canary_stays_in_the_air_with_its_send_time(store: Store) -> None:
    made = store.begin_flight(flight(1, sent=moment(1)), "")
    store.end_submission(submission_of(made), moment(2), FlightState.AWAITED)
    [kept] = store.flights()
    assert kept == made.moved(FlightState.AWAITED, moment(2))


def test_a_refused_canary_leaves_the_air(store: Store) -> None:
    made = store.begin_flight(flight(1, sent=moment(1)), "")
    store.end_submission(submission_of(made, Result.REJECTED), moment(2), FlightState.CLOSED)
    assert store.flights() == []
    assert store.find_flights([made.canary]) == {}


def test_an_arrival_before_the_submissions_end_is_kept_until_that_is_told(store: Store) -> None:
    made = store.begin_flight(flight(1, sent=moment(1)), "")
    store.record_check(INBOX, "INBOX", Cursor(7, 6, moment(3)), [(5, arrival_of(made, 5))])
    assert store.flights() == [made.moved(FlightState.ARRIVED_UNTOLD)]
    assert store.find_flights([made.canary]) == {}, "a second copy is not the one awaited"
    store.end_wait(expiry(made))
    store.record_check(INBOX, "INBOX", Cursor(7, 7, moment(3)), [(6, arrival_of(made, 6))])
    assert store.flights() == [made.moved(FlightState.ARRIVED_UNTOLD)]
    store.end_submission(submission_of(made), moment(2), FlightState.AWAITED)
    assert store.flights() == []


def test_a_wait_that_was_over_before_the_submissions_end_stays_over(store: Store) -> None:
    made = store.begin_flight(flight(1, sent=moment(1)), "")
    store.end_wait(expiry(made))
    assert store.flights() == [made.moved(FlightState.EXPIRED_UNTOLD)]
    store.end_submission(submission_of(made), moment(2), FlightState.AWAITED)
    assert store.flights() == []
    assert store.find_flights([made.canary]) == {
        made.canary: made.moved(FlightState.EXPIRED, moment(2))
    }


def test_a_lost_canary_is_kept_for_its_late_arrival_and_then_forgotten(store: Store) -> None:
    made = store.begin_flight(flight(1, sent=moment(100)), "")
    store.begin_flight(flight(2, sent=moment(100)), "")
    store.end_submission(submission_of(made), moment(100), FlightState.AWAITED)
    store.end_wait(expiry(made))
    assert [one.canary for one in store.flights()] == [canary_id(2)]
    assert made.canary in store.find_flights([made.canary, "unknown"])
    assert store.forget_flights(moment(100)) == 0
    assert store.forget_flights(moment(101)) == 1
    assert store.find_flights([made.canary]) == {}
    assert len(store.flights()) == 1


def test_flights_come_back_oldest_first(store: Store) -> None:
    for number, second in ((1, 30), (2, 10), (3, 20)):
        store.begin_flight(flight(number, sent=moment(second)), "")
    assert [one.canary for one in store.flights()] == [canary_id(n) for n in (2, 3, 1)]


def test_the_boot_of_a_flight_is_kept(store: Store) -> None:
    clock = HandClock()
    made = store.begin_flight(flight(1, sent=clock.now()), "")
    clock.reboot()
    assert store.flights() == [made]
    assert made.sent.boot_id != clock.now().boot_id


# --- mailboxes ------------------------------------------------------------------------------


def test_a_check_writes_its_finds_and_how_far_it_read_together(store: Store) -> None:
    made = [store.begin_flight(flight(number, sent=moment(number)), "") for number in (1, 2)]
    cursor = Cursor(7, 11, moment(9))
    for one in made:
        store.end_submission(submission_of(one), one.sent, FlightState.AWAITED)
    store.record_check(
        INBOX, "INBOX", cursor, [(5, arrival_of(made[0], 5)), (10, arrival_of(made[1], 10))]
    )
    assert store.cursors() == {(INBOX, "INBOX"): cursor}
    assert store.flights() == []
    assert store.cleanup(INBOX, "INBOX", 7) == [5, 10]
    store.commit()
    store.begin()
    store.record_check(INBOX, "INBOX", Cursor(7, 99, moment(10)), [(98, arrival_of(made[0], 98))])
    store.rollback()
    store.begin()
    assert store.cursors() == {(INBOX, "INBOX"): cursor}
    assert store.cleanup(INBOX, "INBOX", 7) == [5, 10]


def test_a_bounce_ends_the_flight_only_when_it_is_for_good(store: Store) -> None:
    made = [store.begin_flight(flight(number, sent=moment(number)), "") for number in (1, 2)]
    for one in made:
        store.end_submission(submission_of(one), one.sent, FlightState.AWAITED)
    finds = [(1, bounce(made[0], "delayed")), (2, bounce(made[1], "failed"))]
    store.record_check("monitor/bounces", "INBOX", Cursor(7, 3, NEVER), list(finds))
    assert [one.canary for one in store.flights()] == [canary_id(1)]
    assert [ends_flight(event) for _, event in finds] == [False, True]


def test_cleaning_up_is_remembered_until_it_is_done(store: Store) -> None:
    made = store.begin_flight(flight(1, sent=moment(1)), "")
    store.record_check(INBOX, "INBOX", Cursor(7, 6, NEVER), [(5, arrival_of(made, 5))])
    store.record_check(INBOX, "INBOX", Cursor(7, 9, NEVER), [(8, arrival_of(made, 8))])
    store.cleaned(INBOX, "INBOX", 7, [5])
    assert store.cleanup(INBOX, "INBOX", 7) == [8]
    assert store.cleanup(INBOX, "Junk", 7) == []


def test_uids_of_an_older_validity_mean_other_mails_now(store: Store) -> None:
    made = store.begin_flight(flight(1, sent=moment(1)), "")
    store.record_check(INBOX, "INBOX", Cursor(7, 6, NEVER), [(5, arrival_of(made, 5))])
    assert store.cleanup(INBOX, "INBOX", 8) == []
    assert store.cleanup(INBOX, "INBOX", 7) == []


def test_uids_of_another_account_mean_other_mails(store: Store) -> None:
    made = store.begin_flight(flight(1, sent=moment(1)), "")
    here = Cursor(7, 6, moment(2), "account-1")
    for folder in ("INBOX", "Junk"):
        store.record_check(INBOX, folder, here, [(5, arrival_of(made, 5))])
    assert store.take_up(INBOX, "INBOX", here) == [5]
    elsewhere = Cursor(7, 1, NEVER, "account-2")
    assert store.take_up(INBOX, "INBOX", elsewhere) == []
    assert store.take_up(INBOX, "INBOX", here) == []
    assert store.take_up(INBOX, "Junk", Cursor(8, 1, NEVER, "account-1")) == []
    assert store.cursors()[INBOX, "INBOX"] == here


def test_cursors_are_kept_per_folder(store: Store) -> None:
    store.save_cursor(INBOX, "INBOX", Cursor(7, 5, moment(3)))
    store.save_cursor(INBOX, "Junk", Cursor(9, 1, NEVER))
    store.save_cursor(INBOX, "INBOX", Cursor(7, 8, moment(4)))
    assert store.cursors() == {
        (INBOX, "INBOX"): Cursor(7, 8, moment(4)),
        (INBOX, "Junk"): Cursor(9, 1, NEVER),
    }
