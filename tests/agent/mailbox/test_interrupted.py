"""Delays of canaries whose attempt was cut off: only their intent's moment is on the disk."""

import msgspec
import pytest

from agent.clock import Moment
from agent.mailbox.arrivals import Look, Place, arrival, read_fields
from probes.contract.events import Interval
from tests.agent.fakes import INBOX, S, assignment, canary_mail, flight

START = 1_760_000_000 * S


def at(seconds: float) -> Moment:
    """A moment of one boot, by a wall clock that nobody sets."""
    return Moment(START + round(seconds * S), round(seconds * S), "b1")


def delay(later_s: float, look: Look) -> Interval:
    """What is said of a canary sent, by its token, so long after its intent, which was at 10."""
    known = flight(1, sent=at(10))
    mailed = msgspec.structs.replace(
        known,
        sent=msgspec.structs.replace(known.sent, wall_ns=known.sent.wall_ns + round(later_s * S)),
    )
    message = canary_mail(mailed, 5)
    event = arrival(
        mailed.token,
        read_fields(message),
        message,
        Place("INBOX", junk=False, uidvalidity=7, uid=5),
        look,
        flight=known,
        dot_boot_ns=None,
        wall_error_s=1.0,
        relay=None,
        agent_helo="sfo.monitor.example",
        mailbox=assignment().mailboxes[INBOX],
    )
    return event.delay


def test_the_commit_between_intent_and_canary_widens_the_interval() -> None:
    assert delay(0.5, Look(at(12), at(13))) == Interval(1.5, 3.0)


@pytest.mark.parametrize("set_by_s", [-1800.0, -0.5, 11.0, 1800.0])
def test_a_clock_that_was_set_between_them_says_nothing(set_by_s: float) -> None:
    assert delay(set_by_s, Look(at(12), at(13))) == Interval(0.0, 3.0)


def test_the_interval_is_exact_once_the_send_time_is_known() -> None:
    assert delay(0.0, Look(at(12), at(13))) == Interval(2.0, 3.0)
