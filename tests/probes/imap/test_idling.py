"""Idling ends with mail, when woken or with time, and loses nothing on the way."""

import asyncio

import pytest

from probes.contract.stages import Reason
from probes.imap import ImapFailure, ImapStage
from tests.probes.imap.scripted import Conversation, ScriptedServer, opened


async def test_idle_ends_with_mail(server: ScriptedServer) -> None:
    async with opened(server) as session:
        await session.fetch_from(1)
        waiting = asyncio.create_task(session.idle(60, asyncio.Event()))
        await server.idling.wait()
        server.mailbox.add()
        assert await waiting
        assert server.lines[-1] == b"DONE"
        assert await session.idle(60, asyncio.Event())  # until it is fetched
        assert [m.uid for m in (await session.fetch_from(1)).messages] == [1]


async def test_idle_ends_when_woken(server: ScriptedServer) -> None:
    wake = asyncio.Event()
    async with opened(server) as session:
        waiting = asyncio.create_task(session.idle(60, wake))
        await server.idling.wait()
        wake.set()
        assert not await waiting
        assert server.lines[-1] == b"DONE"
        assert not await session.idle(60, wake)
        assert (await session.fetch_from(1)).complete


async def test_idle_ends_with_time(server: ScriptedServer) -> None:
    async with opened(server) as session:
        assert not await session.idle(0.01, asyncio.Event())
        assert (await session.fetch_from(1)).complete


async def test_idle_loses_no_push_from_before(server: ScriptedServer) -> None:
    async def quota(conversation: Conversation, tag: bytes, arguments: bytes) -> None:  # noqa: ARG001 - a handler's shape
        await conversation.announce()
        await conversation.send(tag + b" OK done")

    server.script["GETQUOTAROOT"] = quota
    async with opened(server) as session:
        await session.fetch_from(1)
        server.mailbox.add()
        await session.quota()
        assert await session.idle(60, asyncio.Event())
        assert "IDLE" not in server.commands


async def test_idle_finds_what_came_before_it_began(server: ScriptedServer) -> None:
    """Even on a server whose IDLE announces only what comes later."""
    async with opened(server) as session:
        await session.fetch_from(1)
        server.mailbox.add()
        assert await session.idle(60, asyncio.Event())
        assert server.commands[-1] == "NOOP"
        assert "IDLE" not in server.commands


async def test_idle_is_not_ended_by_flags_and_keepalives(server: ScriptedServer) -> None:
    sent = asyncio.Event()

    async def idle(conversation: Conversation, tag: bytes, arguments: bytes) -> None:  # noqa: ARG001 - a handler's shape
        await conversation.send(
            b"+ idling", b"* OK Still here", b"* 1 FETCH (FLAGS ())", b"+ again", b"* 1 EXPUNGE"
        )
        sent.set()
        assert await conversation.line() == b"DONE"
        await conversation.send(tag + b" OK done")

    server.script["IDLE"] = idle
    wake = asyncio.Event()
    async with opened(server) as session:
        waiting = asyncio.create_task(session.idle(60, wake))
        await sent.wait()
        wake.set()
        assert not await waiting


async def test_a_push_between_done_and_its_reply_counts(server: ScriptedServer) -> None:
    async def idle(conversation: Conversation, tag: bytes, arguments: bytes) -> None:  # noqa: ARG001 - a handler's shape
        await conversation.send(b"+ idling")
        await conversation.line()
        await conversation.send(b"* 1 EXISTS", tag + b" OK done")

    server.script["IDLE"] = idle
    async with opened(server) as session:
        assert await session.idle(0.01, asyncio.Event())


async def test_idle_not_offered(server: ScriptedServer) -> None:
    server.capabilities = b"IMAP4rev1"
    async with opened(server) as session:
        assert not session.has_idle
        with pytest.raises(ImapFailure) as caught:
            await session.idle(1, asyncio.Event())
        assert caught.value.stage is ImapStage.IDLE
        assert session.dead is None


@pytest.mark.parametrize(
    ("reply", "reason"), [(b"NO not now", Reason.REFUSED), (b"OK over", Reason.PROTOCOL)]
)
async def test_idle_refused_or_ended(server: ScriptedServer, reply: bytes, reason: Reason) -> None:
    async def idle(conversation: Conversation, tag: bytes, arguments: bytes) -> None:  # noqa: ARG001 - a handler's shape
        await conversation.send(tag + b" " + reply)

    server.script["IDLE"] = idle
    async with opened(server) as session:
        with pytest.raises(ImapFailure) as caught:
            await session.idle(60, asyncio.Event())
        assert (caught.value.stage, caught.value.reason) == (ImapStage.IDLE, reason)
        assert session.dead is None
        assert (await session.fetch_from(1)).complete


async def test_one_thing_at_a_time(server: ScriptedServer) -> None:
    wake = asyncio.Event()
    async with opened(server) as session:
        waiting = asyncio.create_task(session.idle(60, wake))
        await server.idling.wait()
        with pytest.raises(RuntimeError, match="one thing"):
            await session.fetch_from(1)
        wake.set()
        assert not await waiting


async def test_close_while_idle_cuts(server: ScriptedServer) -> None:
    async with opened(server) as session:
        waiting = asyncio.create_task(session.idle(60, asyncio.Event()))
        await server.idling.wait()
        await session.close()
        with pytest.raises(ImapFailure, match="closed"):
            await waiting
        await session.close()
    assert "LOGOUT" not in server.commands
