"""A folder full of other people's mail costs no more on Dovecot than an empty one."""

import asyncio
import os
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, suppress
from dataclasses import replace

import pytest

from probes.imap import FolderSession
from tests.probes.imap.dovecot import MAIL_ID, Dovecot, anywhere

pytestmark = [pytest.mark.servers, pytest.mark.slow]

FOREIGN = 50_000
FIELDS = ("X-Mailcanary", "Received")


@pytest.fixture(scope="module")
def server() -> Iterator[Dovecot]:
    with anywhere() as started:
        yield started


def fill(dovecot: Dovecot, count: int) -> None:
    """Lay ``count`` read mails into the folder: one file under many names."""
    current = dovecot.directory / "mail" / dovecot.user / "cur"
    first = current / "1700000000.M0P1.host,S=40:2,S"
    first.write_bytes(b"Subject: someone else's mail\r\n\r\nhello\r\n")
    os.chown(first, MAIL_ID, MAIL_ID)
    for number in range(1, count):
        os.link(first, current / f"1700000000.M{number}P1.host,S=40:2,S")


@asynccontextmanager
async def counted(port: int, lines: list[bytes]) -> AsyncIterator[int]:
    """A port that leads to ``port``; every line that comes back is also put into ``lines``."""

    ended: list[asyncio.Event] = []

    async def pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(65536):
            writer.write(data)

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        ended.append(end := asyncio.Event())
        there, back = await asyncio.open_connection("127.0.0.1", port)
        up = asyncio.create_task(pump(reader, back))
        with suppress(ConnectionError):
            while line := await there.readline():
                lines.append(line)
                writer.write(line)
        up.cancel()
        await asyncio.gather(up, return_exceptions=True)
        for stream in (writer, back):
            stream.close()
            with suppress(ConnectionError):
                await stream.wait_closed()
        end.set()

    relay = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        yield relay.sockets[0].getsockname()[1]
    finally:
        relay.close()
        for end in ended:
            await end.wait()


async def said(dovecot: Dovecot) -> list[bytes]:
    """What the server says while a session opens, looks ten times, and finds one new mail."""
    lines: list[bytes] = []
    async with counted(dovecot.imap, lines) as port:
        session = await FolderSession.open(
            replace(dovecot.target(), port=port), "INBOX", header_fields=FIELDS
        )
        uid = session.state.uidnext
        for _ in range(10):
            batch = await session.fetch_from(uid)
            assert batch.complete
            assert batch.messages == ()
        await asyncio.to_thread(dovecot.deliver, "X-Mailcanary: 1")
        assert len((await session.fetch_from(uid)).messages) == 1
        await session.close()
    return lines


async def test_fifty_thousand_foreign_mails_cost_no_more_than_none(server: Dovecot) -> None:
    empty, full = replace(server, user="user1"), replace(server, user="user2")
    for dovecot in (empty, full):
        await asyncio.to_thread(dovecot.deliver, "Subject: the mailbox is made")
    await asyncio.to_thread(fill, full, FOREIGN)
    alone = await said(empty)
    among = await said(full)
    exists = [int(line.split()[1]) for line in among if line.endswith(b" EXISTS\r\n")]
    assert exists == [FOREIGN + 1, FOREIGN + 2]
    assert len(among) == len(alone)
    # The same lines, but for longer numbers in some.
    assert abs(sum(map(len, among)) - sum(map(len, alone))) < 100
