"""A folder session on a server that keeps to the rules."""

import asyncio
from datetime import date

import pytest

from probes.contract.stages import Reason
from probes.imap import Batch, FolderSession, ImapFailure, ImapStage
from probes.imap.check import BATCH
from tests.probes.imap.scripted import Conversation, ScriptedServer, opened, select

FIELDS = ("X-Mailcanary",)


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
