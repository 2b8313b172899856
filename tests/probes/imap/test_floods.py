"""Servers that send without end: the session ends, and memory stays bounded."""

import asyncio
from datetime import date

import pytest

from probes.contract.stages import Reason
from probes.imap import FolderSession, ImapFailure, ImapStage
from probes.imap.protocol import MAX_KEPT, MAX_RECEIVED, MAX_RESPONSES
from tests.probes.imap.scripted import Conversation, ScriptedServer

FIELDS = ("X-Mailcanary",)
_DAY = date(2026, 2, 1)


_FLOODS = {
    "small": (b"* 1 RECENT\r\n" * 1000, MAX_RESPONSES // 1000),
    "large": (b"* SEARCH " + b"1 " * 500_000 + b"\r\n", MAX_KEPT // 1_000_000),
    "literal": (b"x" * 1_000_000, MAX_RECEIVED // 1_000_000),
}


@pytest.mark.parametrize("kind", _FLOODS)
async def test_a_flood_while_idling_ends_the_session(server: ScriptedServer, kind: str) -> None:
    async def idle(conversation: Conversation, tag: bytes, arguments: bytes) -> None:  # noqa: ARG001 - a handler's shape
        chunk, enough = _FLOODS[kind]
        await conversation.send(b"+ idling")
        if kind == "literal":
            await conversation.send(b"* 1 FETCH (X {4000000000}")
        for _ in range(enough + 2):
            await conversation.raw(chunk)
        await conversation.hang()

    server.script["IDLE"] = idle
    target = server.target(command_timeout_s=600.0)
    session = await FolderSession.open(target, "INBOX", header_fields=FIELDS)
    await session.fetch_from(1)
    with pytest.raises(ImapFailure, match="one command") as caught:
        await session.idle(600, asyncio.Event())
    assert caught.value.reason is Reason.PROTOCOL
    assert session.dead is not None


async def test_a_flood_of_messages_beyond_the_count(server: ScriptedServer) -> None:
    async def fetch(conversation: Conversation, tag: bytes, arguments: bytes) -> None:  # noqa: ARG001 - a handler's shape
        for uid in range(1, 5000):
            await conversation.send(b"* %d FETCH (UID %d BODY[HEADER.FIELDS (X)] {1}" % (uid, uid))
            await conversation.send(b"x)")
        await conversation.send(tag + b" OK done")

    server.mailbox.add()
    server.script["FETCH"] = fetch
    session = await FolderSession.open(server.target(), "INBOX", header_fields=FIELDS)
    with pytest.raises(ImapFailure, match="more messages") as caught:
        await session.fetch_from(1)
    assert caught.value.reason is Reason.PROTOCOL


async def test_a_flood_of_search_results(server: ScriptedServer) -> None:
    async def search(conversation: Conversation, tag: bytes, arguments: bytes) -> None:
        del tag, arguments
        for _ in range(6):
            await conversation.send(b"* SEARCH " + b"1 " * 500_000)
        await conversation.hang()

    server.script["SEARCH"] = search
    session = await FolderSession.open(server.target(), "INBOX", header_fields=FIELDS)
    with pytest.raises(ImapFailure, match="bytes of SEARCH") as caught:
        await session.search_header("X-A", _DAY)
    assert (caught.value.stage, caught.value.reason) == (ImapStage.SEARCH, Reason.PROTOCOL)
