"""A folder session on pymap, whose server runs in this very loop."""

import asyncio
from argparse import Namespace
from collections.abc import AsyncIterator
from datetime import UTC, date, datetime, timedelta

import pytest
from proxyprotocol.reader import ProxyProtocolReader
from pymap.backend.dict import Config, Login
from pymap.imap import IMAPServer
from pymap.parsing.message import AppendMessage
from pymap.user import Passwords, UserMetadata

from probes.contract.config.models import ImapTls
from probes.contract.secret import Secret
from probes.contract.stages import Reason, Stage
from probes.imap import FolderSession, ImapFailure, ImapTarget

FIELDS = ("X-Mailcanary",)
PASSWORD = "p"


class Pymap:
    """One in-memory server with one user."""

    def __init__(self, login: Login, port: int) -> None:
        self._login = login
        self._port = port

    def target(self, password: str = PASSWORD) -> ImapTarget:
        return ImapTarget("127.0.0.1", self._port, ImapTls.NONE, "u", Secret(password))

    async def deliver(self, header: bytes) -> None:
        message = AppendMessage(header + b"\r\n\r\nbody\r\n", datetime.now(UTC), frozenset())
        async with self._login.demo_user_identity.new_session() as session:
            await session.append_messages("INBOX", [message])


@pytest.fixture
async def pymap() -> AsyncIterator[Pymap]:
    arguments = Namespace(passlib_cfg=None, proxy_protocol=None, inherited_sockets=None)
    config = Config(
        arguments,
        demo_data=False,
        demo_user="u",
        demo_password=PASSWORD,
        host=None,
        port=0,
        tls_enabled=False,
        invalid_user_sleep=0.0,
    )
    config.apply_context()
    login = Login(config)
    hashed = await Passwords(config).hash_password(PASSWORD)
    await login.demo_user_identity.set(UserMetadata(config, "u", password=hashed))
    accept = ProxyProtocolReader(config.proxy_protocol).get_callback(IMAPServer(login, config))
    server = await asyncio.start_server(accept, "127.0.0.1", 0)
    async with server:
        yield Pymap(login, server.sockets[0].getsockname()[1])


@pytest.fixture
async def session(pymap: Pymap) -> AsyncIterator[FolderSession]:
    opened = await FolderSession.open(pymap.target(), "INBOX", header_fields=FIELDS)
    yield opened
    await opened.close()


async def test_one_check_finds_what_was_delivered_before(
    pymap: Pymap, session: FolderSession
) -> None:
    uid = session.state.uidnext
    assert (await session.fetch_from(uid)).messages == ()
    for number in range(5):
        header = b"X-Mailcanary: %d" % number
        await pymap.deliver(header)
        batch = await session.fetch_from(uid)
        assert [message.header for message in batch.messages] == [header + b"\r\n\r\n"]
        assert batch.complete
        uid = batch.next_uid
    again = await session.fetch_from(uid + 5)
    assert (again.messages, again.next_uid) == ((), uid + 5)


async def test_idle(pymap: Pymap, session: FolderSession) -> None:
    uid = (await session.fetch_from(1)).next_uid
    waiting = asyncio.create_task(session.idle(60, asyncio.Event()))
    delivered = 0
    while not waiting.done():
        # pymap announces only what comes once the idling has begun, which cannot be seen from here.
        await pymap.deliver(b"X-Mailcanary: 1")
        delivered += 1
        await asyncio.wait({waiting}, timeout=0.1)
    assert await waiting
    batch = await session.fetch_from(uid)
    assert len(batch.messages) == delivered
    wake = asyncio.Event()
    waiting = asyncio.create_task(session.idle(60, wake))
    wake.set()
    assert not await waiting


async def test_delete_search_whole(pymap: Pymap, session: FolderSession) -> None:
    for number in range(3):
        await pymap.deliver(b"X-Mailcanary: %d" % number)
    batch = await session.fetch_from(1)
    uids = [message.uid for message in batch.messages]
    assert len(uids) == 3
    assert await session.fetch_whole(uids[0], 1000) == b"X-Mailcanary: 0\r\n\r\nbody\r\n"
    assert await session.delete(uids[:2])
    assert session.state.exists == 1
    since = datetime.now(UTC).date() - timedelta(days=1)
    assert await session.search_header("X-Mailcanary", since) == uids[2:]
    assert await session.search_header("X-Mailcanary", date(2200, 1, 1)) == []
    assert await session.quota() is None


async def test_foreign_mail_moves_the_cursor_only(pymap: Pymap, session: FolderSession) -> None:
    uid = session.state.uidnext
    await pymap.deliver(b"Subject: foreign")
    batch = await session.fetch_from(uid)
    assert (batch.messages, batch.next_uid, batch.complete) == ((), uid + 1, True)


async def test_wrong_password(pymap: Pymap) -> None:
    with pytest.raises(ImapFailure) as caught:
        await FolderSession.open(pymap.target("wrong"), "INBOX", header_fields=FIELDS)
    assert (caught.value.stage, caught.value.reason) == (Stage.AUTH, Reason.CREDENTIALS)
