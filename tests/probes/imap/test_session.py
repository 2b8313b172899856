"""A folder session on a server that keeps to the rules."""

import asyncio
from datetime import date

import pytest

from probes.contract.stages import Reason
from probes.imap import Batch, FolderSession, ImapFailure, ImapStage
from probes.imap.check import BATCH, BATCH_BYTES, SPAN
from probes.imap.framing import KEEP_LITERAL
from tests.probes.imap.scripted import Conversation, ScriptedServer, ok, opened, select

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


async def test_open_and_state(server: ScriptedServer) -> None:
    server.mailbox.add()
    async with opened(server) as session:
        state = session.state
        assert (state.uidvalidity, state.uidnext, state.exists) == (7, 2, 1)
        assert (session.has_idle, session.has_uidplus, session.has_quota) == (True, True, True)
        alive = session.dead is None
    assert alive
    assert session.dead is not None
    assert server.commands == ["CAPABILITY", "LOGIN", "CAPABILITY", "SELECT", "LOGOUT"]


async def test_messages(server: ScriptedServer) -> None:
    async with opened(server) as session:
        server.mailbox.add(b"X-Mailcanary: a\r\n\r\n")
        server.mailbox.add(None)
        server.mailbox.add(b"\r\n")
        server.mailbox.add(b'X-Mailcanary: * d ( " {5}\r\n\r\n')
        batch = await session.fetch_from(1)
        assert [(m.uid, m.header) for m in batch.messages] == [
            (1, b"X-Mailcanary: a\r\n\r\n"),
            (4, b'X-Mailcanary: * d ( " {5}\r\n\r\n'),
        ]
        assert batch.messages[0].internaldate_ns == 1769911445 * 10**9
        assert (batch.next_uid, batch.complete) == (5, True)
        assert session.state.uidnext == 5


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


async def test_a_foreign_monster_header_is_cut(server: ScriptedServer) -> None:
    async with opened(server) as session:
        server.mailbox.add(b"X-Mailcanary: " + b"x" * 2_000_000)
        server.mailbox.add(b"X-Mailcanary: 2\r\n")
        batch = await session.fetch_from(1)
        assert [m.uid for m in batch.messages] == [1, 2]
        assert len(batch.messages[0].header) == 65536
        assert batch.messages[1].header == b"X-Mailcanary: 2\r\n"


async def test_replies_in_single_bytes(server: ScriptedServer) -> None:
    async def drip(conversation: Conversation, tag: bytes, arguments: bytes) -> None:  # noqa: ARG001 - a handler's shape
        for byte in conversation.fetch_line(1) + b"\r\n" + tag + b" OK done\r\n":
            await conversation.raw(bytes([byte]))
            await asyncio.sleep(0)

    async with opened(server) as session:
        server.script["FETCH"] = drip
        server.mailbox.add()
        assert [m.uid for m in (await session.fetch_from(1)).messages] == [1]


async def test_refused_fetch_keeps_session_and_news(server: ScriptedServer) -> None:
    async def no(conversation: Conversation, tag: bytes, arguments: bytes) -> None:  # noqa: ARG001 - a handler's shape
        await conversation.send(conversation.fetch_line(1), tag + b" NO [EXPUNGEISSUED] gone")

    async with opened(server) as session:
        await session.fetch_from(1)
        server.mailbox.add()
        server.script["FETCH"] = no
        with pytest.raises(ImapFailure, match="EXPUNGEISSUED") as caught:
            await session.fetch_from(1)
        assert (caught.value.stage, caught.value.reason) == (ImapStage.FETCH, Reason.REFUSED)
        assert session.dead is None
        del server.script["FETCH"]
        assert [m.uid for m in (await session.fetch_from(1)).messages] == [1]


async def test_delete(server: ScriptedServer) -> None:
    for _ in range(BATCH + 3):
        server.mailbox.add()
    async with opened(server) as session:
        await session.fetch_from(BATCH)
        assert await session.delete(range(1, BATCH + 2))
        assert sorted(server.mailbox.headers) == [BATCH + 2, BATCH + 3]
        assert session.state.exists == 2
        assert server.commands[-4:] == ["STORE", "EXPUNGE"] * 2
        assert any(b"UID STORE 1:200 +FLAGS.SILENT (\\Deleted)" in line for line in server.lines)
        assert await session.delete([])


async def test_delete_without_uidplus_only_flags(server: ScriptedServer) -> None:
    server.capabilities = b"IMAP4rev1"
    server.mailbox.add()
    async with opened(server) as session:
        assert not await session.delete([1])
        assert "EXPUNGE" not in server.commands


async def test_fetch_whole(server: ScriptedServer) -> None:
    async def fetch(conversation: Conversation, tag: bytes, arguments: bytes) -> None:
        if arguments == b"3 (UID BODY.PEEK[]<0.100000>)":
            await conversation.send(b"* 1 FETCH (BODY[]<0> {90000}\r\n%s UID 3)" % (b"x" * 90000))
        await conversation.send(b"* 1 FETCH (FLAGS () UID 3)", tag + b" OK done")

    server.script["FETCH"] = fetch
    async with opened(server) as session:
        assert await session.fetch_whole(3, 100_000) == b"x" * 90000
        assert await session.fetch_whole(4, 100_000) is None


async def test_search_header(server: ScriptedServer) -> None:
    server.mailbox.add()
    server.mailbox.add()
    async with opened(server) as session:
        assert await session.search_header("X-Mailcanary", date(2026, 2, 1)) == [1, 2]
        assert server.lines[-1].endswith(b'UID SEARCH SINCE 1-Feb-2026 HEADER "X-Mailcanary" ""')
        with pytest.raises(ValueError, match="header fields"):
            await session.search_header('X" ALL', date(2026, 2, 1))


async def test_quota(server: ScriptedServer) -> None:
    async def quota(conversation: Conversation, tag: bytes, arguments: bytes) -> None:
        assert arguments == b'"INBOX"'
        await conversation.send(
            b'* QUOTAROOT INBOX "r"', b"* QUOTA {1}", b"r (STORAGE 3 4)", tag + b" OK done"
        )

    async def no(conversation: Conversation, tag: bytes, arguments: bytes) -> None:  # noqa: ARG001 - a handler's shape
        await conversation.send(tag + b" NO none")

    async with opened(server) as session:
        server.script["GETQUOTAROOT"] = quota
        assert await session.quota() == 0.75
        server.script["GETQUOTAROOT"] = no
        assert await session.quota() is None


async def test_no_quota_is_not_asked(server: ScriptedServer) -> None:
    server.capabilities = b"IMAP4rev1"
    async with opened(server) as session:
        assert await session.quota() is None


@pytest.mark.parametrize("held", [0, 3])
async def test_server_that_tells_no_uidnext(server: ScriptedServer, held: int) -> None:
    async def without(conversation: Conversation, tag: bytes, arguments: bytes) -> None:  # noqa: ARG001 - a handler's shape
        conversation.view = sorted(server.mailbox.headers)
        await conversation.send(
            b"* %d EXISTS" % len(conversation.view), b"* OK [UIDVALIDITY 7] ok", tag + b" OK done"
        )

    for _ in range(held):
        server.mailbox.add()
    server.script["SELECT"] = without
    async with opened(server) as session:
        assert session.state.uidnext == held + 1
        server.mailbox.add()
        assert [m.uid for m in (await session.fetch_from(held + 1)).messages] == [held + 1]


async def test_folder_and_fields_are_checked(server: ScriptedServer) -> None:
    for folder in ("", "a\r\nb"):
        with pytest.raises(ValueError, match="folder"):
            await FolderSession.open(server.target(), folder, header_fields=FIELDS)
    with pytest.raises(ValueError, match="header fields"):
        await FolderSession.open(server.target(), "INBOX", header_fields=["a b"])
    assert server.commands == []


async def test_select_is_what_a_folder_is_named(server: ScriptedServer) -> None:
    server.script["SELECT"] = select
    session = await FolderSession.open(server.target(), "Entw\u00fcrfe", header_fields=["A", "B"])
    assert server.lines[-1].endswith(b'SELECT "Entw&APw-rfe"')
    assert isinstance(await session.fetch_from(1), Batch)
    assert server.lines[-1].endswith(b"BODY.PEEK[HEADER.FIELDS (A B)])")
    await session.close()
