"""What a check finds, when it is complete, and when what it finds had come."""

import asyncio

import pytest

from probes.imap import FolderSession
from probes.imap.check import BATCH, BATCH_BYTES, SPAN
from probes.imap.framing import KEEP_LITERAL
from tests.probes.imap.scripted import Conversation, ScriptedServer, ok, opened

FIELDS = ("X-Mailcanary",)


async def fetch_all(session: FolderSession, uid: int) -> tuple[list[int], int, int]:
    """Fetch to the end: the UIDs, the last cursor, the number of calls."""
    uids: list[int] = []
    for calls in range(1, 1000):
        batch = await session.fetch_from(uid)
        uids += [message.uid for message in batch.messages]
        uid = batch.next_uid
        if batch.complete:
            return uids, uid, calls
    pytest.fail("never complete")


async def test_times_enclose_the_arrival(server: ScriptedServer) -> None:
    ticks = iter(range(1, 100))
    session = await FolderSession.open(
        server.target(), "INBOX", header_fields=FIELDS, clock=lambda: next(ticks)
    )
    empty = await session.fetch_from(1)
    server.mailbox.add()
    found = await session.fetch_from(1)
    [message] = found.messages
    assert empty.asked_ns < found.asked_ns < message.there_ns
    assert not empty.messages
    await session.close()


async def test_an_empty_check_is_one_noop(server: ScriptedServer) -> None:
    for _ in range(5000):
        server.mailbox.add()
    async with opened(server) as session:
        uid = session.state.uidnext
        first = await session.fetch_from(uid)
        assert (first.messages, first.next_uid, first.complete) == ((), uid, True)
        del server.commands[:]
        for _ in range(3):
            assert (await session.fetch_from(uid)).complete
        assert server.commands == ["NOOP"] * 3


async def test_a_moved_cursor_is_looked_up_again(server: ScriptedServer) -> None:
    server.mailbox.add()
    async with opened(server) as session:
        assert (await session.fetch_from(2)).messages == ()
        assert [m.uid for m in (await session.fetch_from(1)).messages] == [1]


async def test_catching_up_dense(server: ScriptedServer) -> None:
    for _ in range(2 * BATCH + 50):
        server.mailbox.add()
    async with opened(server) as session:
        uids, cursor, calls = await fetch_all(session, 11)
        assert uids == list(range(11, 2 * BATCH + 51))
        assert (cursor, calls) == (2 * BATCH + 51, 3)


async def test_catching_up_over_wide_gaps(server: ScriptedServer) -> None:
    wanted = []
    for _ in range(BATCH + 2):
        wanted.append(server.mailbox.add())
        server.mailbox.uidnext += SPAN // 100
    server.mailbox.uidnext += 3 * SPAN
    async with opened(server) as session:
        uids, cursor, calls = await fetch_all(session, 1)
        assert uids == wanted
        assert cursor == server.mailbox.uidnext
        assert calls <= 9


async def test_a_burst_beyond_a_batch(server: ScriptedServer) -> None:
    async with opened(server) as session:
        await session.fetch_from(1)
        for _ in range(3 * BATCH):
            server.mailbox.add()
        uids, cursor, _ = await fetch_all(session, 1)
        assert uids == list(range(1, 3 * BATCH + 1))
        assert cursor == 3 * BATCH + 1


async def test_mail_announced_during_the_fetch_is_the_next_checks(server: ScriptedServer) -> None:
    async def fetch(conversation: Conversation, tag: bytes, arguments: bytes) -> None:  # noqa: ARG001 - a handler's shape
        server.mailbox.add()
        await conversation.announce()
        await conversation.send(
            conversation.fetch_line(1), b"* 1 FETCH (FLAGS () UID 1)", tag + b" OK x"
        )

    async with opened(server) as session:
        server.mailbox.add()
        server.script["FETCH"] = fetch
        batch = await session.fetch_from(1)
        assert ([m.uid for m in batch.messages], batch.next_uid) == ([1], 2)
        # It came after the check had begun; the next one is due at once, and looks.
        assert batch.complete
        assert await session.idle(600, asyncio.Event())
        del server.script["FETCH"], server.commands[:]
        batch = await session.fetch_from(2)
        assert ([m.uid for m in batch.messages], batch.complete) == ([2], True)
        assert server.commands == ["NOOP", "FETCH"]


@pytest.mark.parametrize("shown_at_once", [False, True])
async def test_a_folder_that_is_never_quiet_has_complete_checks(
    server: ScriptedServer, shown_at_once: bool
) -> None:
    async def one_more(conversation: Conversation, tag: bytes, arguments: bytes) -> None:
        uids = conversation.in_range(arguments.partition(b" ")[0])
        new = server.mailbox.add()
        await conversation.announce()
        for uid in [*uids, new] if shown_at_once else uids:
            await conversation.send(conversation.fetch_line(uid))
        await conversation.send(tag + b" OK done")

    server.script["FETCH"] = one_more
    async with opened(server) as session:
        server.mailbox.add()
        uid = 1
        for _ in range(10):
            held = set(server.mailbox.headers)
            batch = await session.fetch_from(uid)
            assert batch.complete
            assert max(held) < batch.next_uid
            assert [m.uid for m in batch.messages] == list(range(uid, batch.next_uid))
            uid = batch.next_uid


async def test_what_was_announced_and_not_shown_is_asked_for_once_more(
    server: ScriptedServer,
) -> None:
    hidden = {2}

    async def hiding(conversation: Conversation, tag: bytes, arguments: bytes) -> None:
        for uid in conversation.in_range(arguments.partition(b" ")[0]):
            if uid not in hidden:
                await conversation.send(conversation.fetch_line(uid))
        await conversation.send(tag + b" OK done")

    server.script["FETCH"] = hiding
    async with opened(server) as session:
        await session.fetch_from(1)
        server.mailbox.add()
        server.mailbox.add()
        first = await session.fetch_from(1)
        assert ([m.uid for m in first.messages], first.complete) == ([1], False)
        second = await session.fetch_from(first.next_uid)
        assert (second.messages, second.complete) == ((), True)
        hidden.clear()
        server.mailbox.add()
        third = await session.fetch_from(second.next_uid)
        assert ([m.uid for m in third.messages], third.complete) == ([2, 3], True)


@pytest.mark.parametrize("announced", [40, BATCH + 40])
async def test_large_headers_come_in_smaller_batches(
    server: ScriptedServer, announced: int
) -> None:
    async with opened(server) as session:
        await session.fetch_from(1)
        for _ in range(announced):
            server.mailbox.add(b"X-Mailcanary: " + b"x" * KEEP_LITERAL)
        uid, uids, largest = 1, [], 0
        while True:
            batch = await session.fetch_from(uid)
            uids += [message.uid for message in batch.messages]
            largest = max(largest, sum(len(message.header) for message in batch.messages))
            uid = batch.next_uid
            if batch.complete:
                break
        assert uids == list(range(1, announced + 1))
        assert BATCH_BYTES <= largest < BATCH_BYTES + KEEP_LITERAL


async def test_unasked_replies_neither_count_nor_move_the_cursor(server: ScriptedServer) -> None:
    async def fetch(conversation: Conversation, tag: bytes, arguments: bytes) -> None:  # noqa: ARG001 - a handler's shape
        flags = [b"* %d FETCH (FLAGS (\\Seen) UID %d)" % (n, n) for n in range(1, 5000)]
        await conversation.send(
            b"* 1 FETCH (FLAGS (\\Recent) UID 99)",
            *flags,
            b"* 3 EXPUNGE",
            b"* 1 RECENT",
            b"* XSURPRISE",
            b"* OK Still here",
            b'* 1 FETCH (UID 1 BODY[HEADER.FIELDS ("X-Mailcanary")] "X-Mailcanary: below")',
            tag + b" OK done",
        )

    server.script["FETCH"] = fetch
    async with opened(server) as session:
        batch = await session.fetch_from(5)
        assert (batch.messages, batch.next_uid) == ((), 5)


async def test_unannounced_message_is_seen_only_now(server: ScriptedServer) -> None:
    async def fetch(conversation: Conversation, tag: bytes, arguments: bytes) -> None:
        conversation.view = sorted(server.mailbox.headers)
        del server.script["FETCH"]
        await conversation.send(conversation.fetch_line(1), tag + b" OK " + arguments)

    async with opened(server) as session:
        server.script["NOOP"] = ok
        server.script["FETCH"] = fetch
        server.mailbox.add()
        batch = await session.fetch_from(1)
        [message] = batch.messages
        assert message.uid == 1
        assert message.there_ns > batch.asked_ns


async def test_what_is_announced_while_the_fetch_runs_was_there_then(
    server: ScriptedServer,
) -> None:
    async def fetch(conversation: Conversation, tag: bytes, _arguments: bytes) -> None:
        server.mailbox.add()
        del server.script["FETCH"]
        await conversation.send(conversation.fetch_line(1))
        await conversation.announce()
        await conversation.send(tag + b" OK done")

    async with opened(server) as session:
        server.mailbox.add()
        server.script["FETCH"] = fetch
        first = await session.fetch_from(1)
        second = await session.fetch_from(first.next_uid)
        [one, two] = [*first.messages, *second.messages]
        assert (one.uid, two.uid) == (1, 2)
        assert first.asked_ns < one.there_ns < two.there_ns < second.asked_ns


async def test_a_noticed_message_was_there_before_it_is_fetched(server: ScriptedServer) -> None:
    async with opened(server) as session:
        server.mailbox.add()
        await session.fetch_from(1)
        server.mailbox.add()
        await session.notice()
        server.mailbox.add()
        del server.commands[:]
        batch = await session.fetch_from(2)
        two, three = batch.messages
        assert two.there_ns < batch.asked_ns < three.there_ns
        assert server.commands == ["NOOP", "FETCH"]


async def test_a_noticed_message_ends_an_idle_at_once(server: ScriptedServer) -> None:
    async with opened(server) as session:
        server.mailbox.add()
        await session.notice()
        assert await session.idle(60.0, asyncio.Event())
        assert server.commands[-1] == "NOOP"
