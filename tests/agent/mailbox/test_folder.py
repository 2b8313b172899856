"""Watching a folder, in virtual time: nothing missed, nothing twice, whatever the server does."""

import asyncio
from functools import partial

from agent.mailbox.account import fingerprint
from agent.spool.store import Cursor
from probes.contract.token import HEADER
from tests.agent.fakes import (
    BOUNCES,
    INBOX,
    InlineSpool,
    arrival_of,
    bounce_mail,
    canary_mail,
    dsn,
    flight,
    other_mail,
)
from tests.agent.mailbox.benches import CLOSED, NO_CONNECTION, Bench, play, virtual_clock

# --- where it begins -----------------------------------------------------------------------------


def test_a_first_start_begins_at_uidnext_whatever_lies_there(inline_spool: InlineSpool) -> None:
    async def story() -> None:
        bench = Bench(inline_spool, virtual_clock())
        for _ in range(50_000):
            bench.inbox.deliver(other_mail)
        async with bench.watching():
            await asyncio.sleep(1)
            assert bench.inbox.searches == []
            assert bench.counters["other_mail"] == 0
            # Kept at once: what comes while the agent is down is not missed.
            assert inline_spool.store.cursors()[INBOX, "INBOX"].next_uid == 50_001

    play(story)


def test_a_canary_that_came_home_before_the_first_look_is_found(inline_spool: InlineSpool) -> None:
    async def story() -> None:
        bench = Bench(inline_spool, virtual_clock())
        bench.inbox.deliver(other_mail)
        bench.inbox.refuses = NO_CONNECTION
        async with bench.watching():
            await asyncio.sleep(1)
            made = bench.fly(1)
            bench.deliver()
            bench.inbox.refuses = None
            await asyncio.sleep(60)
        assert [event.canary for event in bench.arrivals()] == [made.canary]
        assert [field for field, _ in bench.inbox.searches] == [HEADER]

    play(story)


def test_a_restart_finds_what_came_meanwhile_without_a_search(inline_spool: InlineSpool) -> None:
    async def story() -> None:
        bench = Bench(inline_spool, virtual_clock())
        async with bench.watching():
            await asyncio.sleep(1)
            bench.fly(1)
        bench.deliver()
        again = bench.restart()
        async with again.watching():
            await asyncio.sleep(1)
        assert len(bench.arrivals()) == 1
        assert bench.inbox.searches == []

    play(story)


def test_what_was_in_flight_when_a_folder_is_new_is_searched_for(inline_spool: InlineSpool) -> None:
    async def story() -> None:
        bench = Bench(inline_spool, virtual_clock())
        bench.fly(1)
        stranger = flight(9, sent=bench.clock.now()).numbered(1, 1, "e0")
        bench.inbox.deliver(partial(canary_mail, stranger))
        bench.deliver()
        async with bench.watching():
            await asyncio.sleep(1)
        assert [event.uid for event in bench.arrivals()] == [2]

    play(story)


def test_a_rebuilt_spool_counts_what_its_predecessor_may_have_counted(
    inline_spool: InlineSpool,
) -> None:
    async def story() -> None:
        bench = Bench(inline_spool, virtual_clock(), rebuilt=True)
        forgotten = flight(9, sent=bench.clock.now()).numbered(1, 1, "e0")
        for _ in range(5):
            bench.inbox.deliver(other_mail)
        bench.inbox.deliver(partial(canary_mail, forgotten))
        async with bench.watching():
            await asyncio.sleep(1)
        [event] = bench.arrivals()
        assert (event.canary, event.clock) == (forgotten.canary, "wall")
        [(field, since)] = bench.inbox.searches
        assert field == HEADER
        assert since.isoformat() == "2025-10-08"
        assert bench.counters["other_mail"] == 0

    play(story)


def test_after_a_change_of_uidvalidity_only_the_awaited_count_and_each_once(
    inline_spool: InlineSpool,
) -> None:
    async def story() -> None:
        bench = Bench(inline_spool, virtual_clock())
        bench.inbox.uidplus = False
        async with bench.watching():
            await asyncio.sleep(1)
            home = bench.fly(1)
            bench.deliver()
            await asyncio.sleep(5)
            awaited = bench.fly(2)
            bench.inbox.dies = CLOSED
            bench.inbox.deliver(other_mail)
            bench.inbox.deliver(partial(canary_mail, awaited))
            bench.inbox.renumber(8, first=100)
            await asyncio.sleep(1)
            bench.inbox.dies = None
            await asyncio.sleep(60)
        assert [(e.canary, e.uidvalidity, e.uid) for e in bench.arrivals()] == [
            (home.canary, 7, 1),
            (awaited.canary, 8, 102),
        ]
        assert len(bench.inbox.searches) == 1
        assert inline_spool.store.cursors()[INBOX, "INBOX"].uidvalidity == 8

    play(story)


def test_uids_of_the_old_validity_are_not_deleted_under_the_new_one(
    inline_spool: InlineSpool,
) -> None:
    async def story() -> None:
        bench = Bench(inline_spool, virtual_clock())
        made = bench.fly(1)
        seen = Cursor(7, 6, bench.clock.now(), fingerprint(bench.watch.config.imap))
        event = arrival_of(made, 5)
        await inline_spool.run(lambda s: s.record_check(INBOX, "INBOX", seen, [(5, event)]))
        bench.inbox.uidvalidity = 8
        for _ in range(9):
            bench.inbox.deliver(other_mail)
        async with bench.restart().watching():
            await asyncio.sleep(60)
        assert bench.inbox.deleted == []
        assert len(bench.inbox.mails) == 9

    play(story)


# --- what is deleted -----------------------------------------------------------------------------


def test_only_its_own_are_deleted_and_only_when_they_are_durable(inline_spool: InlineSpool) -> None:
    async def story() -> None:
        bench = Bench(inline_spool, virtual_clock())
        async with bench.watching():
            await asyncio.sleep(1)
            bench.fly(1)
            stranger = flight(9, sent=bench.clock.now()).numbered(1, 1, "e0")
            bench.inbox.deliver(other_mail)
            inline_spool.problem = "disk full"
            bench.deliver()
            await asyncio.sleep(300)
            assert bench.inbox.deleted == []
            assert bench.watch.folders["INBOX"].state == "spool"
            assert bench.watch.folders["INBOX"].detail == "disk full"
            inline_spool.problem = None
            await asyncio.sleep(60)
            assert bench.watch.folders["INBOX"].state == "ok"
            assert stranger.canary not in {event.canary for event in bench.arrivals()}
        assert bench.inbox.deleted == [2]
        assert list(bench.inbox.mails) == [1]
        assert len(bench.arrivals()) == 1
        # What could not be written was not read: the delay is still that of the first look.
        assert bench.counters["canaries_arrived"] == 1

    play(story)


def test_deleting_goes_on_after_a_restart(inline_spool: InlineSpool) -> None:
    async def story() -> None:
        bench = Bench(inline_spool, virtual_clock())
        async with bench.watching():
            await asyncio.sleep(1)
            bench.fly(1)
            bench.deliver()
            await asyncio.sleep(0.1)
            assert len(bench.arrivals()) == 1
        assert bench.inbox.deleted == []
        async with bench.restart().watching():
            await asyncio.sleep(10)
        assert bench.inbox.deleted == [1]
        assert inline_spool.store.cleanup(INBOX, "INBOX", 7) == []
        assert len(bench.arrivals()) == 1

    play(story)


def test_a_deletion_that_fails_is_done_again(inline_spool: InlineSpool) -> None:
    async def story() -> None:
        bench = Bench(inline_spool, virtual_clock())
        async with bench.watching():
            await asyncio.sleep(1)
            bench.fly(1)
            bench.deliver()
            await asyncio.sleep(0.1)
            bench.inbox.dies = CLOSED
            await asyncio.sleep(10)
            bench.inbox.dies = None
            await asyncio.sleep(60)
        assert bench.inbox.deleted == [1]
        assert len(bench.arrivals()) == 1

    play(story)


# --- bounces -------------------------------------------------------------------------------------


def test_a_bounce_ends_the_wait_in_the_canarys_own_mailbox(inline_spool: InlineSpool) -> None:
    async def story() -> None:
        home = Bench(inline_spool, virtual_clock(), name=BOUNCES, takes_bounces=True)
        async with home.watching():
            await asyncio.sleep(1)
            made, other = home.fly(1), home.fly(2)
            for one, action in ((made, "failed"), (other, "delayed")):
                whole = dsn(one, action=action)
                home.inbox.deliver(partial(bounce_mail, whole), whole)
            await asyncio.sleep(20)
        assert [event.action for event in home.bounces()] == ["failed", "delayed"]
        assert home.air.mailbox(INBOX).get(made.canary) is None
        assert home.air.mailbox(INBOX).get(other.canary) is not None
        known = inline_spool.store.find_flights([made.canary, other.canary])
        assert list(known) == [other.canary]
        assert home.inbox.deleted == [1, 2]

    play(story)


def test_bounces_are_found_in_a_renumbered_mailbox(inline_spool: InlineSpool) -> None:
    async def story() -> None:
        home = Bench(inline_spool, virtual_clock(), name=BOUNCES, takes_bounces=True)
        async with home.watching():
            await asyncio.sleep(1)
            whole = dsn(home.fly(1))
            home.inbox.dies = CLOSED
            home.inbox.deliver(other_mail)
            home.inbox.deliver(partial(bounce_mail, whole), whole)
            home.inbox.renumber(8, first=50)
            home.inbox.whole[51] = whole
            await asyncio.sleep(1)
            home.inbox.dies = None
            await asyncio.sleep(300)
        assert len(home.bounces()) == 1
        assert [field for field, _ in home.inbox.searches] == [HEADER, "Auto-Submitted"]

    play(story)


def test_somebody_elses_bounce_stays_where_it_is(inline_spool: InlineSpool) -> None:
    async def story() -> None:
        home = Bench(inline_spool, virtual_clock(), name=BOUNCES, takes_bounces=True)
        async with home.watching():
            await asyncio.sleep(1)
            stranger = flight(9, sent=home.clock.now()).numbered(1, 1, "e0")
            whole = dsn(stranger, header=False)
            home.inbox.deliver(partial(bounce_mail, whole), whole)
            await asyncio.sleep(20)
        assert home.bounces() == []
        assert home.inbox.deleted == []
        assert home.counters["bounces_foreign"] == 1

    play(story)
