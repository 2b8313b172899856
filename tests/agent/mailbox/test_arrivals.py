"""From a mail's header to an arrival: the interval, the clock, the carrier, the verdicts."""

import msgspec
import pytest

from agent.clock import NEVER, Moment
from agent.mailbox.arrivals import (
    Look,
    Place,
    arrival,
    measure,
    read_fields,
    read_token,
    sent_moment,
)
from agent.spool.flight import Flight
from probes.contract.config.models import Relay
from probes.contract.events import Arrival, Interval
from probes.contract.secret import Secret
from probes.contract.token import Judgement, Key, Token
from tests.agent.fakes import (
    INBOX,
    RING,
    HandClock,
    S,
    assignment,
    canary_mail,
    flight,
    other_mail,
)

RECEIVED = (
    b"Authentication-Results: mx.acme.example; spf=pass smtp.mailfrom=monitor.example;\r\n"
    b" dkim=fail header.d=monitor.example\r\n"
    b"Authentication-Results: evil.example; spf=fail\r\n"
    b"Received: from relay-a1.example.net (relay-a1.example.net [203.0.113.11])\r\n"
    b" by mx.acme.example (Postfix) with ESMTPS id 4F2; Thu, 09 Oct 2025 08:53:24 +0000\r\n"
    b"Received: from sfo.monitor.example (unknown [198.51.100.7])\r\n"
    b" by relay-a1.example.net (Postfix) with ESMTP id 4F1; Thu, 09 Oct 2025 08:53:21 +0000\r\n"
)
RELAY = Relay.model_validate(
    {"name": "relay-a1", "host": "relay-a1.example.net", "egress": ["203.0.113.11"]}
)
PLACE = Place("INBOX", junk=False, uidvalidity=7, uid=5)


def at(second: float, boot: str = "b1") -> Moment:
    """A moment; the wall clock is a million seconds ahead of the boot clock."""
    return Moment(round((1_000_000 + second) * S), round(second * S), boot)


# --- the interval ---------------------------------------------------------------------------


def test_it_lay_between_the_last_check_without_it_and_the_answer_with_it() -> None:
    delay, clock = measure(at(10), Look(at(12), at(13)), None, 1.0)
    assert (delay, clock) == (Interval(2.0, 3.0), "boottime")


def test_nothing_arrives_before_its_final_dot() -> None:
    dot = at(12.5).boot_ns
    assert measure(at(10), Look(at(12), at(13)), dot, 1.0)[0] == Interval(2.5, 3.0)
    assert measure(at(10), Look(None, at(13)), dot, 1.0)[0] == Interval(2.5, 3.0)


def test_without_an_earlier_check_it_may_have_come_at_once() -> None:
    assert measure(at(10), Look(None, at(13)), None, 1.0)[0] == Interval(0.0, 3.0)
    assert measure(at(10), Look(NEVER, at(13)), None, 1.0)[0] == Interval(0.0, 3.0)


def test_a_check_before_the_sending_says_nothing() -> None:
    assert measure(at(10), Look(at(4), at(13)), None, 1.0)[0] == Interval(0.0, 3.0)


def test_after_a_reboot_the_wall_clocks_error_is_inside_the_interval() -> None:
    delay, clock = measure(at(10, "b0"), Look(at(20), at(30)), None, 1.0)
    assert (delay, clock) == (Interval(9.0, 21.0), "wall")


def test_a_check_before_the_reboot_has_the_boot_clock_and_the_sighting_has_not() -> None:
    delay, clock = measure(at(10, "b0"), Look(at(15, "b0"), at(30)), None, 1.0)
    assert (delay, clock) == (Interval(5.0, 21.0), "wall")


def test_a_dot_of_another_boot_bounds_nothing() -> None:
    delay, _ = measure(at(10, "b0"), Look(None, at(13)), at(12).boot_ns, 0.0)
    assert delay == Interval(0.0, 3.0)


def test_an_interval_is_never_upside_down_nor_negative() -> None:
    assert measure(at(10), Look(at(14), at(13)), None, 1.0)[0] == Interval(3.0, 3.0)
    assert measure(at(20), Look(None, at(13)), None, 1.0)[0] == Interval(0.0, 0.0)


def test_the_send_time_is_the_tokens_on_the_flights_clock() -> None:
    made = flight(1, sent=at(10))
    token = replace_token(made, round(0.25 * S))
    moment = sent_moment(made, token)
    assert (moment.boot_ns, moment.boot_id) == (round(10.25 * S), "b1")
    assert moment.wall_ns == token.sent_ns
    assert sent_moment(None, token) == Moment(token.sent_ns, 0, "")


def replace_token(of: Flight, later_ns: int) -> Token:
    """The flight's token, with a send time that much after its intent."""
    token = of.token
    return Token(token.canary, token.path, token.stream_epoch, 1, 1, of.sent.wall_ns + later_ns)


# --- the mail -------------------------------------------------------------------------------


def whole(of: Flight, relay: Relay | None = RELAY, known: Flight | None = None) -> Arrival:
    """The arrival that the flight's mail gives."""
    message = canary_mail(of, 5, internaldate_ns=123, extra=RECEIVED)
    box = assignment().mailboxes[INBOX].model_copy(update={"authserv_id": "mx.acme.example"})
    return arrival(
        of.token,
        read_fields(message),
        message,
        PLACE,
        Look(at(12), at(13)),
        flight=known,
        dot_boot_ns=None,
        wall_error_s=1.0,
        relay=relay,
        agent_helo="sfo.monitor.example",
        mailbox=box,
    )


def test_all_that_the_mail_tells() -> None:
    made = flight(1, sent=at(10)).numbered(4, 9, "e1")
    event = whole(made, known=made)
    assert (event.canary, event.path, event.stream_epoch) == (made.canary, made.path, "e1")
    assert (event.path_seq, event.mailbox_seq) == (4, 9)
    assert (event.delay, event.clock) == (Interval(2.0, 3.0), "boottime")
    assert (event.folder, event.junk, event.uidvalidity, event.uid) == ("INBOX", False, 7, 5)
    assert (event.seen_ns, event.internaldate_ns) == (at(13).wall_ns, 123)
    assert [hop.by for hop in event.hops] == ["relay-a1.example.net", "mx.acme.example"]
    assert [hop.delay_s for hop in event.hops] == [None, 3.0]
    assert event.carrier is not None
    assert event.carrier.relay_as_planned is True
    assert event.carrier.egress_as_planned is True
    assert event.carrier.egress_seen == "203.0.113.11"
    assert event.auth is not None
    assert (event.auth.spf, event.auth.dkim) == ("pass", "fail")


def test_another_egress_is_reported() -> None:
    made = flight(1, sent=at(10)).numbered(1, 1, "e1")
    other = RELAY.model_copy(update={"egress": ("203.0.113.99",)})
    carrier = whole(made, relay=other, known=made).carrier
    assert carrier is not None
    assert carrier.egress_as_planned is False


def test_a_relay_that_is_configured_no_more_is_not_judged() -> None:
    made = flight(1, sent=at(10)).numbered(1, 1, "e1")
    assert whole(made, relay=None, known=made).carrier is None


def test_a_canary_whose_flight_is_not_known_is_measured_by_the_wall() -> None:
    made = flight(1, sent=at(10)).numbered(1, 1, "e1")
    event = whole(made)
    assert event.clock == "wall"
    assert event.delay == Interval(1.0, 4.0)


# --- what the field is ----------------------------------------------------------------------


def judged(
    of: Flight, *, mailbox: str = INBOX, age_s: float = 1.0, key: Key | None = None
) -> object:
    """What the flight's mail is judged to be."""
    message = canary_mail(of, 5) if key is None else canary_mail(of, 5, key=key)
    now_ns = of.sent.wall_ns + round(age_s * S)
    found = read_token(
        read_fields(message), RING, agent="sfo", mailbox=mailbox, now_ns=now_ns, remember_s=3600
    )
    return None if found is None else found[0]


@pytest.fixture
def made(clock: HandClock) -> Flight:
    """A flight."""
    return flight(1, sent=clock.now()).numbered(1, 1, "e1")


def test_genuine_foreign_forged_and_replayed(made: Flight) -> None:
    assert judged(made) is Judgement.GENUINE
    assert judged(made, mailbox="zeta/inbox") is Judgement.REPLAYED
    assert judged(made, age_s=3601) is Judgement.REPLAYED
    strange = Key("k2", Secret("somebody else's signing key", "k2"))
    assert judged(made, key=strange) is Judgement.FOREIGN
    forger = Key("k1", Secret("not the signing key of them", "k1"))
    assert judged(made, key=forger) is Judgement.FORGED
    other = msgspec.structs.replace(made, path=type(made.path)("fra", "relay-a1", INBOX))
    assert judged(other) is Judgement.FOREIGN


def test_a_mail_without_the_field_is_nothing_to_judge() -> None:
    fields = read_fields(other_mail(1))
    assert read_token(fields, RING, agent="sfo", mailbox=INBOX, now_ns=0, remember_s=1) is None
