"""UIDs that were remembered are not deleted under somebody else's mail, in virtual time."""

import asyncio
from functools import partial

import pytest

from agent.mailbox.account import fingerprint
from probes.contract.config.models import Imap
from tests.agent.fakes import (
    BOUNCES,
    INBOX,
    InlineSpool,
    bounce_mail,
    canary_mail,
    dsn,
    flight,
    other_mail,
)
from tests.agent.mailbox.benches import Bench, play, virtual_clock


async def killed_before_deleting(spool: InlineSpool) -> Bench:
    """An agent that has recorded the arrival under UID 2 and was killed before it was deleted."""
    bench = Bench(spool, virtual_clock())
    async with bench.watching():
        await asyncio.sleep(1)
        made = bench.fly(1)
        bench.fly(2)
        bench.inbox.deliver(other_mail)
        bench.inbox.deliver(partial(canary_mail, made))
        await asyncio.sleep(0.3)
    assert spool.store.cleanup(INBOX, "INBOX", 7) == [2]
    assert bench.inbox.deleted == []
    return bench


def other_content(bench: Bench, count: int) -> None:
    """The folder holds other mails now, under the same UIDVALIDITY."""
    bench.inbox.mails.clear()
    bench.inbox.uidnext = 1
    for _ in range(count):
        bench.inbox.deliver(other_mail)


@pytest.mark.parametrize("change", [{"user": "other"}, {"host": "192.0.2.7"}, {"port": 993}])
def test_another_account_under_the_same_name_is_begun_anew(
    inline_spool: InlineSpool, change: dict[str, object]
) -> None:
    async def story() -> None:
        again = (await killed_before_deleting(inline_spool)).restart()
        other_content(again, 5)
        # One of this agent's, which the other account's owner keeps: it is not what UID 2 was.
        again.inbox.mails[2] = canary_mail(
            flight(9, sent=again.clock.now()).numbered(9, 9, "e0"), 2
        )
        imap = again.watch.config.imap.model_copy(update=change)
        again.watch.config = again.watch.config.model_copy(update={"imap": imap})
        async with again.watching():
            assert again.watch.folders["INBOX"].checked is None
            await asyncio.sleep(120)
        assert again.inbox.deleted == []
        # Where the canary that is in the air may lie, it was looked for.
        assert len(again.inbox.searches) == 1
        kept = inline_spool.store.cursors()[INBOX, "INBOX"]
        assert (kept.account, kept.next_uid) == (fingerprint(imap), 2)
        assert inline_spool.store.cleanup(INBOX, "INBOX", 7) == []

    play(story)


def test_what_lies_under_a_remembered_uid_is_looked_at_before_it_is_deleted(
    inline_spool: InlineSpool,
) -> None:
    async def story() -> None:
        again = (await killed_before_deleting(inline_spool)).restart()
        other_content(again, 5)
        async with again.watching():
            await asyncio.sleep(120)
        assert again.inbox.deleted == []
        assert again.counters["cleanup_foreign"] == 1
        assert again.watch.folders["INBOX"].garbage == 0
        assert inline_spool.store.cleanup(INBOX, "INBOX", 7) == []

    play(story)


def test_what_was_deleted_already_is_no_foreign_mail(inline_spool: InlineSpool) -> None:
    async def story() -> None:
        again = (await killed_before_deleting(inline_spool)).restart()
        del again.inbox.mails[2]
        async with again.watching():
            await asyncio.sleep(120)
        assert again.counters["cleanup_foreign"] == 0
        assert inline_spool.store.cleanup(INBOX, "INBOX", 7) == []

    play(story)


def test_what_waits_to_be_deleted_is_counted_from_the_start(inline_spool: InlineSpool) -> None:
    async def story() -> None:
        again = (await killed_before_deleting(inline_spool)).restart()
        async with again.watching():
            await asyncio.sleep(0.1)
            assert again.watch.folders["INBOX"].garbage == 1
            await asyncio.sleep(60)
            assert again.watch.folders["INBOX"].garbage == 0
        assert again.inbox.deleted == [2]

    play(story)


def test_bounces_of_an_earlier_session_are_deleted_and_nothing_else(
    inline_spool: InlineSpool,
) -> None:
    async def story() -> None:
        bench = Bench(inline_spool, virtual_clock(), name=BOUNCES, takes_bounces=True)
        async with bench.watching():
            await asyncio.sleep(1)
            for number in (1, 2):
                whole = dsn(bench.fly(number))
                bench.inbox.deliver(partial(bounce_mail, whole), whole)
            await asyncio.sleep(0.3)
        assert inline_spool.store.cleanup(BOUNCES, "INBOX", 7) == [1, 2]
        bench.inbox.mails[2] = other_mail(2)
        again = bench.restart()
        async with again.watching():
            await asyncio.sleep(60)
        assert again.inbox.deleted == [1]
        assert again.counters["cleanup_foreign"] == 1

    play(story)


def test_a_fingerprint_is_of_host_port_and_user() -> None:
    one = Imap(host="IMAP.acme.example", user="canary", secret="acme/imap")
    same = one.model_copy(update={"host": "imap.acme.example", "secret": "acme/other"})
    assert fingerprint(one) == fingerprint(same)
    others = [one.model_copy(update=change) for change in ({"port": 143}, {"user": "x"})]
    assert len({fingerprint(imap) for imap in (one, *others)}) == 3
