"""Servers that hang, hang up or break off: every call ends, says why, and counts nothing."""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import date

import pytest

from probes.contract.stages import Reason, Stage
from probes.imap import FolderSession, ImapFailure, ImapStage
from tests.probes.imap.scripted import Conversation, Handler, ScriptedServer

FIELDS = ("X-Mailcanary",)
SHORT_S = 0.2
_DAY = date(2026, 2, 1)
Call = Callable[[FolderSession], Awaitable[object]]

OPENING: dict[str, Stage | ImapStage] = {
    "GREETING": Stage.BANNER,
    "CAPABILITY": ImapStage.CAPABILITY,
    "LOGIN": Stage.AUTH,
    "SELECT": ImapStage.SELECT,
}


async def _idle(session: FolderSession) -> object:
    return await session.idle(60, asyncio.Event())


CALLS: dict[str, tuple[ImapStage, Call]] = {
    "NOOP": (ImapStage.CHECK, lambda session: session.fetch_from(1)),
    "FETCH": (ImapStage.FETCH, lambda session: session.fetch_from(1)),
    "STORE": (ImapStage.STORE, lambda session: session.delete([1])),
    "EXPUNGE": (ImapStage.EXPUNGE, lambda session: session.delete([1])),
    "SEARCH": (ImapStage.SEARCH, lambda session: session.search_header("A", _DAY)),
    "GETQUOTAROOT": (ImapStage.QUOTA, lambda session: session.quota()),
    "IDLE": (ImapStage.IDLE, _idle),
}


async def _hang(conversation: Conversation, tag: bytes, arguments: bytes) -> None:  # noqa: ARG001 - a handler's shape
    await conversation.hang()


async def _close(conversation: Conversation, tag: bytes, arguments: bytes) -> None:  # noqa: ARG001 - a handler's shape
    raise ConnectionError


async def _reset(conversation: Conversation, tag: bytes, arguments: bytes) -> None:  # noqa: ARG001 - a handler's shape
    conversation.reset()


async def _bye(conversation: Conversation, tag: bytes, arguments: bytes) -> None:  # noqa: ARG001 - a handler's shape
    await conversation.send(b"* BYE down for maintenance")
    await conversation.hang()


async def _half(conversation: Conversation, tag: bytes, arguments: bytes) -> None:  # noqa: ARG001 - a handler's shape
    await conversation.raw(b"* 1 FETCH (UID 1 BODY[HEADER.FIELDS (X)] {100}\r\nhalf")
    raise ConnectionError


async def _bad(conversation: Conversation, tag: bytes, arguments: bytes) -> None:  # noqa: ARG001 - a handler's shape
    await conversation.send(tag + b" BAD what?")
    await conversation.hang()


async def _garbage(conversation: Conversation, tag: bytes, arguments: bytes) -> None:  # noqa: ARG001 - a handler's shape
    await conversation.send(b"HTTP/1.1 400 Bad Request")
    await conversation.hang()


async def _other_tag(conversation: Conversation, tag: bytes, arguments: bytes) -> None:  # noqa: ARG001 - a handler's shape
    await conversation.send(b"ZZZ9 OK done")
    await conversation.hang()


async def _endless_literal(conversation: Conversation, tag: bytes, arguments: bytes) -> None:  # noqa: ARG001 - a handler's shape
    await conversation.send(b"* 1 FETCH (UID 1 X {99999999999}")
    await conversation.hang()


async def _drip(conversation: Conversation, tag: bytes, arguments: bytes) -> None:  # noqa: ARG001 - a handler's shape
    try:
        while True:
            await conversation.raw(b"* OK [X] x\r\n")
            await asyncio.sleep(SHORT_S / 20)
    except OSError:
        pass


ENDINGS: dict[str, tuple[Handler, Reason]] = {
    "hang": (_hang, Reason.TIMEOUT),
    "drip": (_drip, Reason.TIMEOUT),
    "close": (_close, Reason.CLOSED),
    "reset": (_reset, Reason.RESET),
    "bye": (_bye, Reason.CLOSED),
    "half": (_half, Reason.CLOSED),
    "bad": (_bad, Reason.PROTOCOL),
    "garbage": (_garbage, Reason.PROTOCOL),
    "other tag": (_other_tag, Reason.PROTOCOL),
    "endless literal": (_endless_literal, Reason.PROTOCOL),
}


def _patience(ending: str) -> float:
    """Only what ends by time needs little of it; the others must end by themselves."""
    return SHORT_S if ENDINGS[ending][1] is Reason.TIMEOUT else 60.0


@pytest.mark.parametrize("ending", ENDINGS)
@pytest.mark.parametrize("command", CALLS)
async def test_a_call_ends(server: ScriptedServer, command: str, ending: str) -> None:
    server.mailbox.add()
    target = server.target(command_timeout_s=_patience(ending))
    session = await FolderSession.open(target, "INBOX", header_fields=FIELDS)
    handler, reason = ENDINGS[ending]
    server.script[command] = handler
    stage, call = CALLS[command]
    with pytest.raises(ImapFailure) as caught:
        await call(session)
    assert (caught.value.stage, caught.value.reason) == (stage, reason)
    assert session.dead is not None
    for _, again in CALLS.values():
        with pytest.raises(ImapFailure) as later:
            await again(session)
        assert (later.value.stage, later.value.reason) == (stage, reason)
    await session.close()


@pytest.mark.parametrize("ending", [name for name in ENDINGS if name != "bad"])
@pytest.mark.parametrize("command", OPENING)
async def test_opening_ends(server: ScriptedServer, command: str, ending: str) -> None:
    handler, reason = ENDINGS[ending]
    server.script[command] = handler
    target = server.target(command_timeout_s=_patience(ending))
    with pytest.raises(ImapFailure) as caught:
        await FolderSession.open(target, "INBOX", header_fields=FIELDS)
    stage = OPENING[command]
    if command == "GREETING" and ending == "bye":
        reason = Reason.REFUSED
    if command == "GREETING" and ending == "drip":
        stage = ImapStage.CAPABILITY  # its first line is a greeting
    assert (caught.value.stage, caught.value.reason) == (stage, reason)


async def test_pushed_goodbye_ends_idle_at_once(server: ScriptedServer) -> None:
    async def idle(conversation: Conversation, tag: bytes, arguments: bytes) -> None:  # noqa: ARG001 - a handler's shape
        await conversation.send(b"+ idling", b"* BYE shutting down")
        await conversation.hang()

    server.script["IDLE"] = idle
    session = await FolderSession.open(server.target(), "INBOX", header_fields=FIELDS)
    with pytest.raises(ImapFailure, match="shutting down") as caught:
        await session.idle(600, asyncio.Event())
    assert caught.value.reason is Reason.CLOSED


@pytest.mark.parametrize("hard", [False, True])
async def test_lost_connection_ends_idle_at_once(server: ScriptedServer, hard: bool) -> None:
    async def idle(conversation: Conversation, tag: bytes, arguments: bytes) -> None:  # noqa: ARG001 - a handler's shape
        await conversation.send(b"+ idling")
        if hard:
            conversation.reset()
        raise ConnectionError

    server.script["IDLE"] = idle
    session = await FolderSession.open(server.target(), "INBOX", header_fields=FIELDS)
    with pytest.raises(ImapFailure) as caught:
        await session.idle(600, asyncio.Event())
    assert caught.value.stage is ImapStage.IDLE
    assert caught.value.reason in (Reason.CLOSED, Reason.RESET)


async def test_unanswered_done(server: ScriptedServer) -> None:
    async def idle(conversation: Conversation, tag: bytes, arguments: bytes) -> None:  # noqa: ARG001 - a handler's shape
        await conversation.send(b"+ idling")
        await conversation.hang()

    server.script["IDLE"] = idle
    target = server.target(command_timeout_s=SHORT_S)
    session = await FolderSession.open(target, "INBOX", header_fields=FIELDS)
    with pytest.raises(ImapFailure, match="DONE") as caught:
        await session.idle(0.01, asyncio.Event())
    assert (caught.value.stage, caught.value.reason) == (ImapStage.IDLE, Reason.TIMEOUT)


async def test_goodbye_between_commands(server: ScriptedServer) -> None:
    async def expunge(conversation: Conversation, tag: bytes, arguments: bytes) -> None:  # noqa: ARG001 - a handler's shape
        await conversation.send(tag + b" OK done", b"* BYE idle for too long")

    server.script["EXPUNGE"] = expunge
    session = await FolderSession.open(server.target(), "INBOX", header_fields=FIELDS)
    assert await session.delete([1])  # answered before the goodbye, so it counts
    with pytest.raises(ImapFailure, match="idle for too long") as caught:
        await session.fetch_from(1)
    assert (caught.value.stage, caught.value.reason) == (ImapStage.BETWEEN, Reason.CLOSED)
    assert session.dead is not None


@pytest.mark.parametrize("command", ["NOOP", "FETCH", "IDLE"])
async def test_cancelled_call_ends_the_session(server: ScriptedServer, command: str) -> None:
    reached = asyncio.Event()

    async def wait(conversation: Conversation, tag: bytes, arguments: bytes) -> None:  # noqa: ARG001 - a handler's shape
        reached.set()
        await conversation.hang()

    server.mailbox.add()
    session = await FolderSession.open(server.target(), "INBOX", header_fields=FIELDS)
    server.script[command] = wait
    running = asyncio.ensure_future(CALLS[command][1](session))
    await reached.wait()
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert session.dead is not None
    assert session.dead.reason is Reason.INTERRUPTED
    with pytest.raises(ImapFailure):
        await session.fetch_from(1)
    await session.close()


async def test_cancelled_opening_leaves_no_connection(server: ScriptedServer) -> None:
    reached = asyncio.Event()
    hung_up = asyncio.Event()

    async def wait(conversation: Conversation, tag: bytes, arguments: bytes) -> None:  # noqa: ARG001 - a handler's shape
        reached.set()
        try:
            await conversation.hang()
        finally:
            hung_up.set()

    server.script["SELECT"] = wait
    opening = asyncio.create_task(
        FolderSession.open(server.target(), "INBOX", header_fields=FIELDS)
    )
    await reached.wait()
    opening.cancel()
    with pytest.raises(asyncio.CancelledError):
        await opening
    await hung_up.wait()


async def test_late_reply_is_not_taken_for_the_next_ones(server: ScriptedServer) -> None:
    late = asyncio.Event()

    async def noop(conversation: Conversation, tag: bytes, arguments: bytes) -> None:  # noqa: ARG001 - a handler's shape
        await late.wait()
        await conversation.send(b"* 5 EXISTS", tag + b" OK done")

    server.script["NOOP"] = noop
    target = server.target(command_timeout_s=SHORT_S)
    session = await FolderSession.open(target, "INBOX", header_fields=FIELDS)
    with pytest.raises(ImapFailure, match="no reply to NOOP"):
        await session.fetch_from(1)
    late.set()
    with pytest.raises(ImapFailure, match="no reply to NOOP"):
        await session.fetch_from(1)
    assert session.state.exists == 0


async def test_close_does_not_wait_for_a_server_that_hangs(server: ScriptedServer) -> None:
    server.script["LOGOUT"] = _hang
    session = await FolderSession.open(server.target(), "INBOX", header_fields=FIELDS)
    async with asyncio.timeout(10):
        await session.close()
    assert session.dead is not None
