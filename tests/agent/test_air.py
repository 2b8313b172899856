"""Canaries in the air: the youngest, the overdue, and what is forgotten."""

import pytest

from agent.air import Air, MailboxAir
from agent.spool.flight import FlightState
from agent.wall import WallLog
from probes.contract.names import Path
from tests.agent.fakes import HandClock, S, assignment, canary_id, flight


def test_nothing_in_the_air() -> None:
    air = Air()
    box = air.mailbox("acme/inbox")
    assert (len(air), len(box), box.oldest()) == (0, 0, None)
    assert box.youngest_age_s(HandClock().now()) is None
    assert box.overdue(10**18) == []
    assert box.forget("nothing") is None


def test_the_youngest_sets_the_pace_until_it_is_forgotten() -> None:
    clock, box = HandClock(), MailboxAir()
    first = flight(1, sent=clock.now())
    box.expect(first, clock.now(), dot=clock.now())
    clock.advance(10)
    box.expect(flight(2, sent=clock.now()), clock.now(), dot=clock.now())
    assert box.youngest_age_s(clock.advance(1)) == 1.0
    assert box.oldest() == first
    box.forget(canary_id(2))
    assert box.youngest_age_s(clock.now()) == 11.0


def test_the_final_dot_bounds_the_arrival_from_below() -> None:
    clock, box = HandClock(), MailboxAir()
    sent = clock.now()
    dot = clock.advance(0.5)
    box.expect(flight(1, sent=sent), dot, dot=dot)
    assert box.dot_ns(canary_id(1)) == dot.boot_ns
    assert box.youngest_age_s(clock.advance(1)) == 1.0
    box.forget(canary_id(1))
    assert box.dot_ns(canary_id(1)) is None


def test_a_flight_of_before_has_no_dot_and_its_age_counts_from_its_sending() -> None:
    clock, box = HandClock(), MailboxAir()
    old = flight(1, sent=clock.now())
    box.expect(old, clock.advance(20), dot=None)
    assert box.dot_ns(old.canary) is None
    assert box.youngest_age_s(clock.now()) == 20.0


def rebooted(clock: HandClock, *, off_s: float = 0.0, set_by_s: float = 0.0) -> WallLog:
    """The machine is off for a while, and starts with a clock that is wrong by that."""
    wall = WallLog()
    wall.note(clock.now())
    clock.advance(off_s)
    clock.reboot()
    clock.step(set_by_s)
    wall.note(clock.now())
    return wall


def test_age_goes_on_by_the_wall_clock_across_a_reboot() -> None:
    clock = HandClock()
    old = flight(1, sent=clock.now())
    clock.advance(20)
    box = MailboxAir(wall=rebooted(clock))
    box.expect(old, clock.now(), dot=None)
    assert box.youngest_age_s(clock.advance(5)) == 25.0


@pytest.mark.parametrize("wrong_by_s", [0.0, 86_400.0, -86_400.0])
def test_across_a_reboot_a_wait_is_as_long_as_the_machine_ran(wrong_by_s: float) -> None:
    """20 s before the reboot, 1 s of the new boot, 9 s more; whatever the wall clock says."""
    clock = HandClock()
    old = flight(1, sent=clock.now(), loss_after_s=30)
    clock.advance(20)
    box = MailboxAir(wall=rebooted(clock, off_s=3600.0, set_by_s=wrong_by_s))
    box.expect(old, clock.now(), dot=None)
    assert box.overdue(clock.advance(8.9).boot_ns) == []
    assert box.older_than(30, clock.now()) == []
    assert box.overdue(clock.advance(0.2).boot_ns) == [old]
    assert box.older_than(30, clock.now()) == [old]


def test_a_wait_is_over_for_a_check_begun_after_it() -> None:
    clock, box = HandClock(), MailboxAir()
    one = flight(1, sent=clock.now(), loss_after_s=30)
    box.expect(one, clock.now(), dot=clock.now())
    end = clock.now().boot_ns + 30 * S
    assert box.overdue(end - 1) == []
    assert box.overdue(end) == [one]
    assert box.overdue(end) == []
    assert box.get(one.canary) == one
    box.wait_again(one, clock.now())
    assert box.overdue(end) == [one]


def test_what_has_arrived_is_not_overdue() -> None:
    clock, box = HandClock(), MailboxAir()
    for number in (1, 2):
        box.expect(flight(number, sent=clock.now()), clock.now(), dot=clock.now())
    box.forget(canary_id(1))
    assert [over.canary for over in box.overdue(10**18)] == [canary_id(2)]


def test_listeners_hear_of_every_start() -> None:
    clock, box = HandClock(), MailboxAir()
    heard: list[int] = []
    box.on_expect(lambda: heard.append(len(box)))
    box.expect(flight(1, sent=clock.now()), clock.now(), dot=clock.now())
    box.expect(flight(2, sent=clock.now()), clock.now(), dot=clock.now())
    assert heard == [1, 2]


def test_those_in_the_air_for_too_long() -> None:
    clock, box = HandClock(), MailboxAir()
    box.expect(flight(1, sent=clock.now()), clock.now(), dot=None)
    clock.advance(50)
    box.expect(flight(2, sent=clock.now()), clock.now(), dot=None)
    clock.advance(11)
    assert [one.canary for one in box.older_than(60, clock.now())] == [canary_id(1)]


def test_each_mailbox_has_an_air_of_its_own() -> None:
    clock, air = HandClock(), Air()
    one = flight(1, sent=clock.now())
    other = flight(2, sent=clock.now(), path=Path("sfo", "relay-a1", "zeta/inbox"))
    air.expect(one, clock.now(), dot=None)
    air.expect(other, clock.now(), dot=None)
    assert (len(air), len(air.mailbox("zeta/inbox"))) == (2, 1)
    found = air.mailbox("acme/inbox").get(one.canary)
    assert found is not None
    assert found.state is FlightState.AWAITED
    air.forget(one)
    assert len(air) == 1


def test_what_has_come_home_leaves_nothing_behind_where_nobody_asks_what_is_overdue() -> None:
    clock, box = HandClock(), MailboxAir()
    kept = flight(1, sent=clock.now(), loss_after_s=30)
    box.expect(kept, clock.now(), dot=clock.now())
    for number in range(2, 5000):
        box.expect(flight(number, sent=clock.now()), clock.now(), dot=clock.now())
        box.forget(canary_id(number))
    assert len(box._waits) < 1100
    assert box.overdue(10**18) == [kept]


def test_what_a_canary_was_sent_under_is_known_until_it_is_not_awaited_any_more() -> None:
    clock, air = HandClock(), Air()
    now, mine = clock.now(), assignment()
    one, other = flight(1, sent=now), flight(2, sent=now)
    terms = mine.terms(one.path)
    air.expect(one, now, dot=None, terms=terms)
    air.expect(one, now, dot=now, terms=terms)
    air.expect(other, now, dot=now)
    box = air.mailbox("acme/inbox")
    assert (box.terms(one.canary), box.terms(other.canary)) == (terms, None)
    assert terms.relay == mine.relays["relay-a1"]
    assert air.returning("monitor/bounces") == 1
    air.forget(one)
    air.forget(one)
    assert (box.terms(one.canary), air.returning("monitor/bounces")) == (None, 0)


def test_a_mailbox_that_nobody_watches_wakes_nobody_and_keeps_what_is_awaited() -> None:
    clock, air = HandClock(), Air()
    box, heard = air.mailbox("acme/inbox"), []
    box.on_expect(lambda: heard.append(1))
    one = flight(1, sent=clock.now())
    air.expect(one, clock.now(), dot=None)
    air.leave("acme/inbox")
    air.expect(flight(2, sent=clock.now()), clock.now(), dot=None)
    assert (heard, len(air)) == ([1], 2)
    assert box.canaries() == [canary_id(1), canary_id(2)]
    for canary in box.canaries():
        box.forget(canary)
    air.leave("acme/inbox")
    air.leave("acme/never-watched")
    assert air.mailboxes() == {}
