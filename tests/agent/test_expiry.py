"""When a wait is over: lost only against a complete check of every folder, unknown at the end."""

from collections import Counter
from dataclasses import dataclass, field, replace

import pytest

from agent.air import Air
from agent.assignment import Terms
from agent.clock import WallGuard
from agent.expiry import Expirer
from agent.mailbox.cadence import Budget
from agent.mailbox.watch import FolderStatus, MailboxWatch
from agent.spool.flight import Flight, FlightState
from probes.contract.config.models import Folders
from probes.contract.errors import SpoolError
from probes.contract.events import Expiry
from tests.agent.fakes import (
    INBOX,
    PATH,
    HandClock,
    InlineSpool,
    assignment,
    begun,
    canary_id,
    flight,
    submission_of,
)


@dataclass
class Bench:
    """An expirer over one mailbox with two folders."""

    spool: InlineSpool
    clock: HandClock
    air: Air = field(default_factory=Air)
    counters: Counter[str] = field(default_factory=Counter)
    watches: dict[str, MailboxWatch] = field(default_factory=dict)
    heard: list[Expiry] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.watch = MailboxWatch(
            INBOX, assignment().mailboxes[INBOX], self.air.mailbox(INBOX), Budget(600)
        )
        self.watch.folders = {"INBOX": FolderStatus(), "Junk": FolderStatus()}
        self.watches[INBOX] = self.watch
        self.expirer = Expirer(
            self.air,
            self.watches,
            clock=self.clock,
            spool=self.spool,
            counters=self.counters,
            remember_s=3600.0,
            guard=WallGuard(),
            hear=self.heard.extend,
        )

    def fly(self, number: int, terms: Terms | None = None) -> Flight:
        """A canary is accepted now, and is lost after 30 s."""
        now = self.clock.now()
        self.spool.store.begin()
        [made] = begun(self.spool.store, [flight(number, sent=now)])
        self.spool.store.end_submission(submission_of(made), now, FlightState.AWAITED)
        self.spool.store.commit()
        self.air.expect(made, self.clock.now(), dot=self.clock.now(), terms=terms)
        return made

    def checked(self, *folders: str) -> None:
        """A complete check of the folders begins, and ends, now."""
        for name in folders:
            self.watch.folders[name].checked = self.clock.now()

    def expiries(self) -> list[Expiry]:
        """What is recorded."""
        return self.spool.of(Expiry)


@pytest.fixture
def bench(inline_spool: InlineSpool, clock: HandClock) -> Bench:
    """A bench."""
    return Bench(inline_spool, clock)


async def test_lost_needs_a_check_begun_after_the_wait(bench: Bench) -> None:
    made = bench.fly(1)
    bench.clock.advance(29)
    bench.checked("INBOX", "Junk")
    bench.clock.advance(100)
    assert await bench.expirer.lost() == 0
    bench.checked("INBOX", "Junk")
    mark = bench.clock.now().wall_ns
    bench.clock.advance(5)
    assert await bench.expirer.lost() == 1
    [expiry] = bench.expiries()
    assert (expiry.canary, expiry.lost, expiry.watermark_ns) == (made.canary, True, mark)
    assert expiry.at_ns == bench.clock.now().wall_ns
    assert len(bench.air) == 0
    assert bench.counters == {"waits_lost": 1}
    assert bench.spool.store.find_flights([made.canary])[made.canary].state is FlightState.EXPIRED
    assert await bench.expirer.lost() == 0


async def test_every_folder_must_have_been_checked(bench: Bench) -> None:
    bench.fly(1)
    bench.clock.advance(31)
    bench.checked("INBOX")
    assert await bench.expirer.lost() == 0
    bench.checked("Junk")
    assert await bench.expirer.lost() == 1


async def test_a_check_of_another_boot_says_nothing(bench: Bench) -> None:
    bench.fly(1)
    bench.clock.advance(31)
    bench.checked("INBOX", "Junk")
    bench.clock.reboot()
    assert await bench.expirer.lost() == 0


async def test_a_mailbox_that_nobody_reads_loses_nothing_and_gives_up_at_last(bench: Bench) -> None:
    bench.fly(1)
    del bench.watches[INBOX]
    bench.clock.advance(3600)
    assert await bench.expirer.lost() == 0
    assert await bench.expirer.given_up() == 0
    bench.clock.advance(1)
    assert await bench.expirer.given_up() == 1
    [expiry] = bench.expiries()
    assert (expiry.lost, expiry.watermark_ns) == (False, None)
    assert "not read" in expiry.detail
    assert bench.counters == {"waits_given_up": 1}
    assert len(bench.air) == 0


async def test_what_cannot_be_written_is_not_over(bench: Bench) -> None:
    bench.fly(1)
    bench.fly(2)
    bench.clock.advance(31)
    bench.checked("INBOX", "Junk")
    bench.spool.problem = "disk full"
    for _ in range(2):
        with pytest.raises(SpoolError, match="disk full"):
            await bench.expirer.lost()
        assert len(bench.air) == 2
    assert bench.heard == []
    bench.spool.problem = None
    assert await bench.expirer.lost() == 2
    assert len(bench.expiries()) == 2
    assert bench.heard == bench.expiries()
    bench.fly(3)
    bench.clock.advance(4000)
    bench.spool.problem = "disk full"
    with pytest.raises(SpoolError):
        await bench.expirer.given_up()
    bench.spool.problem = None
    assert await bench.expirer.given_up() == 1


async def test_flights_that_expired_long_ago_are_forgotten(bench: Bench) -> None:
    made = bench.fly(1)
    bench.clock.advance(31)
    bench.checked("INBOX", "Junk")
    await bench.expirer.lost()
    bench.clock.advance(3500)
    await bench.expirer.given_up()
    assert bench.spool.store.find_flights([made.canary])
    bench.clock.advance(100)
    assert await bench.expirer.given_up() == 0
    assert bench.spool.store.find_flights([made.canary]) == {}


async def test_where_nobody_looked_nothing_is_lost(bench: Bench) -> None:
    """A canary that was sent to where the mailbox was before is unknown, and so it is said."""
    before = bench.watch.config
    moved = before.model_copy(update={"imap": before.imap.model_copy(update={"user": "new"})})
    junk = before.model_copy(update={"folders": Folders(junk="Spam")})
    address = before.model_copy(update={"address": "other@acme.example", "folders": Folders()})
    for number, home in enumerate((before, moved, junk, address), start=1):
        bench.fly(number, replace(assignment().terms(PATH), mailbox=home))
    bench.clock.advance(31)
    bench.checked("INBOX", "Junk")
    assert await bench.expirer.lost() == 4
    told = {one.canary: one for one in bench.expiries()}
    assert [told[canary_id(number)].lost for number in (1, 2, 3, 4)] == [True, False, False, True]
    assert "moved" in told[canary_id(2)].detail
    assert told[canary_id(2)].watermark_ns is None
    assert bench.counters == {"waits_lost": 2, "waits_given_up": 2}


async def test_another_time_to_remember_holds_from_now_on(bench: Bench) -> None:
    bench.fly(1)
    bench.clock.advance(60)
    assert await bench.expirer.given_up() == 0
    bench.expirer.assign(59.0)
    assert await bench.expirer.given_up() == 1


async def test_what_a_former_run_sent_to_a_mailbox_that_is_another_now_is_not_lost(
    bench: Bench,
) -> None:
    terms = assignment().terms(PATH)
    bench.fly(1, replace(terms, moved=True))
    bench.fly(2, terms)
    bench.clock.advance(31)
    bench.checked("INBOX", "Junk")
    assert await bench.expirer.lost() == 2
    assert {one.canary: one.lost for one in bench.expiries()} == {
        canary_id(1): False,
        canary_id(2): True,
    }


async def test_a_wrong_clock_after_a_reboot_ends_no_wait_and_forgets_no_flight(
    bench: Bench,
) -> None:
    over, made = bench.fly(1), bench.fly(2)
    bench.spool.store.begin()
    bench.spool.store.end_wait(
        Expiry(canary=over.canary, path=PATH, at_ns=0, lost=True, watermark_ns=0)
    )
    bench.spool.store.commit()
    bench.clock.reboot()
    bench.clock.step(30 * 86_400.0)
    assert await bench.expirer.given_up() == 0
    assert set(bench.spool.store.find_flights([over.canary, made.canary])) == {
        over.canary,
        made.canary,
    }
    # A clock that stands for ten minutes after a boot is believed.
    bench.air.forget(made)
    for _ in range(11):
        bench.clock.advance(60)
        await bench.expirer.given_up()
    assert bench.spool.store.find_flights([over.canary]) == {}
