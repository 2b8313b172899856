"""A new assignment for a running agent: which mailboxes it watches, and until when."""

import asyncio
from collections.abc import Callable
from dataclasses import replace
from typing import TypeVar

from agent.spool.writer import Operation
from probes.contract.config.models import Folders, Relay
from probes.contract.events import Arrival, Bounce, Expiry, Heartbeat
from probes.imap import Message
from probes.smtp import Mail, SendReport
from tests.agent.fakes import (
    ACCEPTED,
    BOUNCES,
    INBOX,
    PATH,
    FakeSmtp,
    InlineSpool,
    assignment,
    canary_id,
    dsn,
)
from tests.agent.mailbox.benches import play
from tests.agent.reassigning import A1, AT_OTHER, box, work
from tests.agent.stages import OLD_BOUNCES, OTHER, Stage

T = TypeVar("T")


def test_a_mailbox_that_stays_keeps_its_connection_and_a_new_one_is_watched(
    inline_spool: InlineSpool,
) -> None:
    async def story() -> None:
        stage = Stage(inline_spool, first=work(A1))
        await asyncio.sleep(20)
        assert stage.watched() == {INBOX, BOUNCES}
        watermark = stage.agent.health.now().mailboxes[INBOX].watermark_ns
        renamed = work(A1, AT_OTHER)
        kept = renamed.mailboxes[INBOX].model_copy(update={"authserv_id": "mx.acme.example"})
        boxes = {**renamed.mailboxes, INBOX: kept}
        stage.agent.reassign(replace(renamed, mailboxes=boxes))
        assert stage.watched() == {INBOX, BOUNCES, OTHER}
        assert stage.agent.health.now().mailboxes[INBOX].watermark_ns == watermark
        # Nothing can be said of it before it was read.
        other = stage.agent.health.now().mailboxes[OTHER]
        assert (other.state, other.watermark_ns) == ("starting", None)
        await asyncio.sleep(5)
        assert stage.agent.health.now().mailboxes[OTHER].watermark_ns is not None
        for mailbox in (INBOX, BOUNCES, OTHER):
            assert (len(stage.inbox(mailbox).opens), stage.inbox(mailbox).closed) == (1, 0)
        await stage.end()

    play(story)


def test_a_mailbox_that_changes_is_watched_anew_and_reads_on(inline_spool: InlineSpool) -> None:
    async def story() -> None:
        stage = Stage(inline_spool, first=work(A1))
        await asyncio.sleep(20)
        stage.deliver(0)
        await asyncio.sleep(0.5)
        new = work(A1)
        changed = box(INBOX, secret="acme/other").model_copy(update={"folders": Folders(junk="J")})
        stage.agent.reassign(replace(new, mailboxes={**new.mailboxes, INBOX: changed}))
        assert stage.agent.health.now().mailboxes[INBOX].watermark_ns is None
        await asyncio.sleep(2)
        inbox = stage.inbox()
        assert (len(inbox.opens), inbox.closed) == (2, 1)
        assert len(stage.folders[INBOX, "J"].opens) == 1
        assert stage.agent.health.now().mailboxes[INBOX].watermark_ns is not None
        stage.deliver(1)
        await asyncio.sleep(20)
        assert sorted(one.canary for one in stage.spool.of(Arrival)) == [canary_id(1), canary_id(2)]
        assert sorted(inbox.deleted) == [1, 2]
        assert stage.inbox(BOUNCES).closed == 0
        await stage.end()

    play(story)


def test_a_mailbox_that_is_left_is_watched_until_nothing_is_awaited_in_it(
    inline_spool: InlineSpool,
) -> None:
    async def story() -> None:
        stage = Stage(inline_spool, first=work(A1))
        await asyncio.sleep(9)
        [_] = stage.smtp.mails
        stage.agent.reassign(work(AT_OTHER, revision="r2"))
        assert set(stage.assigned[-1].mailboxes) == {INBOX, OTHER, BOUNCES}
        await asyncio.sleep(15)
        assert INBOX in stage.watched()
        stage.deliver(0)
        await asyncio.sleep(5)
        assert stage.inbox().deleted == [1]
        assert INBOX not in stage.watched()
        assert stage.inbox().closed == 1
        [arrived] = stage.spool.of(Arrival)
        assert arrived.canary == canary_id(1)
        await asyncio.sleep(20)
        [*_, beat] = stage.spool.of(Heartbeat)
        assert set(beat.mailboxes) == {OTHER, BOUNCES}
        # Taken up again it is read on from where it was left.
        stage.agent.reassign(work(A1, AT_OTHER, revision="r3"))
        await asyncio.sleep(20)
        assert len(stage.inbox().opens) == 2
        assert len(stage.spool.of(Arrival)) == 1
        await stage.end()

    play(story)


def test_a_canary_still_on_its_way_out_keeps_the_watch_of_where_it_is_bound(
    inline_spool: InlineSpool,
) -> None:
    let = asyncio.Event()

    async def slow(_relay: Relay, _mail: Mail, dot: Callable[[], None]) -> SendReport:
        await let.wait()
        dot()
        return ACCEPTED

    async def story() -> None:
        stage = Stage(inline_spool, FakeSmtp(slow), first=work(A1))
        await asyncio.sleep(9)
        [(relay, mail)] = stage.smtp.mails
        stage.agent.reassign(work(AT_OTHER, revision="r2", relays={}, paths=()))
        await asyncio.sleep(15)
        assert INBOX in stage.watched()
        let.set()
        await asyncio.sleep(1)
        stage.deliver(0)
        await asyncio.sleep(5)
        [arrived] = stage.spool.of(Arrival)
        assert (arrived.path, relay) == (PATH, "relay-a1")
        assert mail.recipient == "canary@acme.example"
        assert INBOX not in stage.watched()
        await stage.end()

    play(story)


def test_bounces_come_home_to_where_they_were_to_when_the_canary_was_sent(
    inline_spool: InlineSpool,
) -> None:
    async def story() -> None:
        sender = assignment().sender
        assert sender is not None
        boxes = {INBOX: box(INBOX), OLD_BOUNCES: box(OLD_BOUNCES)}
        old = sender.model_copy(update={"bounces": OLD_BOUNCES})
        stage = Stage(inline_spool, first=work(A1, sender=old, mailboxes=boxes))
        await asyncio.sleep(9)
        stage.agent.reassign(work(AT_OTHER, revision="r2"))
        await asyncio.sleep(10)
        assert {OLD_BOUNCES, BOUNCES, INBOX} <= stage.watched()
        [sent] = stage.spool.store.flights()[:1]
        whole = dsn(sent)
        head = whole.partition(b"\r\n\r\n")[0] + b"\r\n\r\n"
        stage.inbox(OLD_BOUNCES).deliver(lambda uid: Message(uid, None, head, 0), whole)
        await asyncio.sleep(10)
        assert [one.canary for one in stage.spool.of(Bounce)] == [canary_id(1)]
        assert stage.inbox(OLD_BOUNCES).deleted == [1]
        assert not {OLD_BOUNCES, INBOX} & stage.watched()
        await stage.end()

    play(story)


def test_a_mailbox_that_moved_away_from_its_canaries_calls_none_of_them_lost(
    inline_spool: InlineSpool,
) -> None:
    async def story() -> None:
        stage = Stage(inline_spool, first=work(A1))
        await asyncio.sleep(9)
        new = work(A1, revision="r2")
        moved = box(INBOX, host="127.0.0.9")
        stage.agent.reassign(replace(new, mailboxes={**new.mailboxes, INBOX: moved}))
        await asyncio.sleep(60)
        ends = {one.canary: one for one in stage.spool.of(Expiry)}
        assert not ends[canary_id(1)].lost
        assert "moved" in ends[canary_id(1)].detail
        # Those that were sent there since are.
        assert ends[canary_id(2)].lost
        await stage.end()

    play(story)


class Stubborn(InlineSpool):
    """A spool that carries out what it was given although nobody waits for it any more."""

    async def run(self, operation: Operation[T]) -> T:
        """Run the operation."""
        return await asyncio.shield(asyncio.ensure_future(super().run(operation)))


def test_what_the_watch_before_wrote_with_its_last_breath_is_true(
    inline_spool: InlineSpool,
) -> None:
    inline_spool.__class__ = Stubborn

    async def story() -> None:
        stage = Stage(inline_spool, first=work(A1))
        await asyncio.sleep(9)
        inline_spool.takes_s = 0.5
        stage.deliver(0)
        await asyncio.sleep(0.6)
        assert not stage.spool.of(Arrival)
        new = work(A1, revision="r2")
        changed = box(INBOX, secret="acme/other")
        stage.agent.reassign(replace(new, mailboxes={**new.mailboxes, INBOX: changed}))
        await asyncio.sleep(60)
        assert [one.canary for one in stage.spool.of(Arrival)] == [canary_id(1)]
        assert canary_id(1) not in {one.canary for one in stage.spool.of(Expiry)}
        await stage.end()

    play(story)
