"""Canaries older than is remembered, and those that the wall clock only makes look so."""

from collections import Counter

import pytest

from agent.mailbox.take import Find, Where, take
from agent.spool.flight import Flight
from probes.contract.events import Arrival, Interval
from probes.contract.names import Path
from probes.imap import Message
from tests.agent.fakes import PATH, HandClock, InlineSpool, canary_mail, flight
from tests.agent.mailbox.benches import Bench

REMEMBERED_S = 3600.0
"""What the bench's reader has; its wall clock counts as a second wrong at least."""


class Hall(Bench):
    """A mailbox to which come copies of a canary that is home, whose flight is forgotten."""

    def sent(self, path: Path = PATH) -> Flight:
        """A canary that was sent now, while the clocks were looked at."""
        now = self.clock.now()
        self.reader.wall.note(now)
        return flight(1, sent=now, path=path).numbered(1, 1, "e1")

    async def taken(self, made: Flight) -> tuple[list[Find], Counter[str]]:
        """What a copy gives that is seen now, when the clocks are looked at again."""
        now = self.clock.now()
        self.reader.wall.note(now)
        mail = canary_mail(made, 9)
        shown = Message(mail.uid, None, mail.header, now.boot_ns)

        async def fetch(uid: int) -> bytes | None:
            raise AssertionError(f"mail {uid} is no bounce")

        where = Where("INBOX", junk=False, uidvalidity=7)
        return await take(self.watch, self.reader, where, [shown], None, fetch)


@pytest.fixture
def hall(inline_spool: InlineSpool, clock: HandClock) -> Hall:
    """A mailbox."""
    return Hall(inline_spool, clock)


@pytest.mark.parametrize(
    ("step_s", "age_s"),
    [
        (7200.0, 5.0),
        (7200.0, REMEMBERED_S - 1.0),
        (0.0, REMEMBERED_S + 0.5),  # within what the clock counts as wrong in any case
    ],
)
async def test_one_that_only_looks_old_has_arrived(
    hall: Hall, clock: HandClock, step_s: float, age_s: float
) -> None:
    made = hall.sent()
    clock.advance(age_s)
    clock.step(step_s)
    [(_, event)], counts = await hall.taken(made)
    assert isinstance(event, Arrival)
    # As old as it looks, and by as much as the clock was set, and a second, it may be older.
    assert event.delay == Interval(0.0, age_s + 2 * step_s + 1.0)
    assert +counts == {"canaries_arrived": 1}


@pytest.mark.parametrize(
    ("before_s", "after_s", "age_s"),
    [
        (0.0, 0.0, REMEMBERED_S + 1.5),
        (0.0, 600.0, REMEMBERED_S + 1.5),  # ten minutes explain no more than ten minutes
        (7200.0, 0.0, REMEMBERED_S + 1.5),  # the clock was set before it was sent
    ],
)
async def test_one_that_is_old_is_a_replay(
    hall: Hall, clock: HandClock, before_s: float, after_s: float, age_s: float
) -> None:
    hall.reader.wall.note(clock.now())
    clock.advance(100)
    clock.step(before_s)
    made = hall.sent()
    clock.advance(age_s)
    clock.step(after_s)
    finds, counts = await hall.taken(made)
    assert (finds, +counts) == ([], {"canaries_replayed": 1})


async def test_in_a_mailbox_that_it_was_not_sent_to_it_is_a_replay_however_old(
    hall: Hall, clock: HandClock
) -> None:
    made = hall.sent(Path("sfo", "relay-a1", "zeta/inbox"))
    clock.advance(5)
    clock.step(7200)
    finds, counts = await hall.taken(made)
    assert (finds, +counts) == ([], {"canaries_replayed": 1})
