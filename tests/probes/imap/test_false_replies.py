"""Servers whose replies are garbled, false or unasked for: a failure, never a gap."""

from datetime import date

import pytest

from probes.contract.stages import Reason
from probes.imap import FolderSession, ImapFailure, ImapStage
from tests.probes.imap.scripted import Conversation, ScriptedServer

FIELDS = ("X-Mailcanary",)
_DAY = date(2026, 2, 1)


@pytest.mark.parametrize(
    "lines",
    [
        [b"* 1 FETCH (UID 1 BODY[HEADER.FIELDS (X)] {3}", b"abcd)"],
        [b"* 1 FETCH (UID 1 BODY[HEADER.FIELDS (X)] {9}", b"abcd)"],
        [b"* 1 FETCH (UID 1 BODY[HEADER.FIELDS (X)]"],
        [b"* 1 FETCH (UID 1 BODY[HEADER.FIELDS (X)] (a b))"],
        [b'* 1 FETCH (BODY[HEADER.FIELDS (X)] "x")'],
        [b'* 1 FETCH (UID x BODY[HEADER.FIELDS (X)] "x")'],
        [b"* 1 FETCH UID 1"],
        [b"* 1 FETCH (UID 1 UID 2)"],
        [b'* 1 FETCH (UID 1 BODY[HEADER.FIELDS (X)] "x") and more'],
        [b"* OK [UIDVALIDITY 8] all different now"],
        [b"+ go on"],
        [b"what?"],
    ],
)
async def test_garbled_fetch_is_a_failure_not_a_gap(
    server: ScriptedServer, lines: list[bytes]
) -> None:
    async def fetch(conversation: Conversation, tag: bytes, arguments: bytes) -> None:  # noqa: ARG001 - a handler's shape
        await conversation.send(*lines, tag + b" OK done")

    server.mailbox.add()
    server.script["FETCH"] = fetch
    session = await FolderSession.open(server.target(), "INBOX", header_fields=FIELDS)
    with pytest.raises(ImapFailure) as caught:
        await session.fetch_from(1)
    assert (caught.value.stage, caught.value.reason) == (ImapStage.FETCH, Reason.PROTOCOL)
    assert session.dead is not None


async def test_lines_like_replies_inside_a_literal(server: ScriptedServer) -> None:
    session = await FolderSession.open(server.target(), "INBOX", header_fields=FIELDS)

    async def fetch(conversation: Conversation, tag: bytes, arguments: bytes) -> None:  # noqa: ARG001 - a handler's shape
        header = (
            b"X-Mailcanary: 1\r\n" + tag + b" OK done\r\n* BYE\r\n+ go {5}\r\n* 9 EXISTS\r\n)\r\n"
        )
        server.mailbox.headers[1] = header
        await conversation.send(conversation.fetch_line(1), tag + b" OK done")

    server.mailbox.add()
    server.script["FETCH"] = fetch
    batch = await session.fetch_from(1)
    assert [message.header for message in batch.messages] == [server.mailbox.headers[1]]
    assert session.state.exists == 1
    await session.close()


async def test_search_that_is_no_list_of_numbers(server: ScriptedServer) -> None:
    async def search(conversation: Conversation, tag: bytes, arguments: bytes) -> None:  # noqa: ARG001 - a handler's shape
        await conversation.send(b"* SEARCH 1 two", tag + b" OK done")

    server.script["SEARCH"] = search
    session = await FolderSession.open(server.target(), "INBOX", header_fields=FIELDS)
    with pytest.raises(ImapFailure) as caught:
        await session.search_header("X-A", _DAY)
    assert (caught.value.stage, caught.value.reason) == (ImapStage.SEARCH, Reason.PROTOCOL)
    assert session.dead is not None


@pytest.mark.parametrize(
    "lines",
    [
        [b"* 1 EXISTS", b"* OK [UIDNEXT 2] x"],
        [b"* 1 EXISTS", b"* OK [UIDVALIDITY none] x"],
        [b"* 1 EXISTS", b"* OK [UIDVALIDITY 0] x"],
    ],
)
async def test_folder_without_uidvalidity(server: ScriptedServer, lines: list[bytes]) -> None:
    async def select(conversation: Conversation, tag: bytes, arguments: bytes) -> None:  # noqa: ARG001 - a handler's shape
        await conversation.send(*lines, tag + b" OK done")

    server.script["SELECT"] = select
    with pytest.raises(ImapFailure, match="UIDVALIDITY") as caught:
        await FolderSession.open(server.target(), "INBOX", header_fields=FIELDS)
    assert (caught.value.stage, caught.value.reason) == (ImapStage.SELECT, Reason.PROTOCOL)


async def test_server_that_tells_no_last_uid(server: ScriptedServer) -> None:
    async def select(conversation: Conversation, tag: bytes, arguments: bytes) -> None:  # noqa: ARG001 - a handler's shape
        await conversation.send(b"* 1 EXISTS", b"* OK [UIDVALIDITY 7] x", tag + b" OK done")

    server.script["SELECT"] = select
    with pytest.raises(ImapFailure, match="last message") as caught:
        await FolderSession.open(server.target(), "INBOX", header_fields=FIELDS)
    assert caught.value.stage is ImapStage.FETCH


async def test_no_such_folder(server: ScriptedServer) -> None:
    async def select(conversation: Conversation, tag: bytes, arguments: bytes) -> None:  # noqa: ARG001 - a handler's shape
        await conversation.send(tag + b" NO [NONEXISTENT] no such folder")

    server.script["SELECT"] = select
    with pytest.raises(ImapFailure, match="no such folder") as caught:
        await FolderSession.open(server.target(), "Junk", header_fields=FIELDS)
    assert (caught.value.stage, caught.value.reason) == (ImapStage.SELECT, Reason.REFUSED)


async def test_results_that_nothing_asked_for_are_let_go(server: ScriptedServer) -> None:
    async def noop(conversation: Conversation, tag: bytes, arguments: bytes) -> None:  # noqa: ARG001 - a handler's shape
        await conversation.send(b"* SEARCH 98 99", b"* QUOTA x (STORAGE 9 10)", tag + b" OK done")

    async def search(conversation: Conversation, tag: bytes, arguments: bytes) -> None:  # noqa: ARG001 - a handler's shape
        await conversation.send(b"* QUOTA x (STORAGE 9 10)", b"* SEARCH 1", tag + b" OK done")

    async def quota(conversation: Conversation, tag: bytes, arguments: bytes) -> None:  # noqa: ARG001 - a handler's shape
        await conversation.send(b"* SEARCH 97", b"* QUOTA x (STORAGE 1 4)", tag + b" OK done")

    server.script |= {"NOOP": noop, "SEARCH": search, "GETQUOTAROOT": quota}
    session = await FolderSession.open(server.target(), "INBOX", header_fields=FIELDS)
    await session.fetch_from(1)
    assert await session.search_header("X-A", _DAY) == [1]
    assert await session.quota() == 0.25
    await session.close()
