"""Mailboxes serve real IMAP clients: IDLE, Junk, logins, and the faults of IMAP servers."""

import asyncio
import imaplib
import ssl
from contextlib import suppress
from datetime import UTC, datetime

import aioimaplib
import pytest
import trustme

from lab.estate import Estate
from lab.extras import LabError
from lab.faults import ImapDown, ImapHung
from lab.mailboxes import Mailbox
from lab.specs import MailboxSpec
from tests.lab.clients import INBOX, delivered, hang_up, imap, mail, send


async def idle_sees_exists(connection: aioimaplib.IMAP4, exists: int) -> None:
    while True:
        for line in await connection.wait_server_push(timeout=5):
            if line == b"%d EXISTS" % exists:
                return


async def test_idle_tells_of_a_mail_sent_through_a_relay(estate: Estate) -> None:
    connection = await imap(estate.mailboxes[INBOX])
    idle = await connection.idle_start(timeout=10)
    await send(estate.relays["a"], "idle@x")
    await idle_sees_exists(connection, 1)
    connection.idle_done()
    await idle
    response = await connection.uid("fetch", "1:*", "(UID BODY.PEEK[HEADER.FIELDS (MESSAGE-ID)])")
    assert b"Message-ID: <idle@x>" in b"".join(bytes(line) for line in response.lines)
    await connection.logout()


def read_all(mailbox: Mailbox, context: ssl.SSLContext | None = None) -> tuple[str, list[bytes]]:
    """Log in with the standard library's client; returns capabilities and Message-ID headers."""
    if context is None:
        opened = imaplib.IMAP4(mailbox.host, mailbox.port, timeout=5)
    else:
        opened = imaplib.IMAP4_SSL(mailbox.host, mailbox.port, ssl_context=context, timeout=5)
    with opened as connection:
        connection.login(mailbox.user, mailbox.password)
        connection.select("INBOX", readonly=True)
        _, capabilities = connection.capability()
        _, found = connection.uid("FETCH", "1:*", "(BODY.PEEK[HEADER.FIELDS (MESSAGE-ID)])")
        headers = [item[1] for item in found if isinstance(item, tuple)]
        return capabilities[0].decode(), headers


async def test_capabilities_and_messages_put_there_directly(estate: Estate) -> None:
    mailbox = estate.mailboxes[INBOX]
    when = datetime(2024, 2, 29, 12, 0, tzinfo=UTC)
    first = await mailbox.append(mail("1@x"), when=when)
    second = await mailbox.append(mail("2@x"))
    await mailbox.append(mail("junk@x"), "Junk")
    assert second == first + 1
    capabilities, headers = await asyncio.to_thread(read_all, mailbox)
    assert {"IDLE", "UIDPLUS"} <= set(capabilities.split())
    assert headers == [b"Message-ID: <1@x>\r\n\r\n", b"Message-ID: <2@x>\r\n\r\n"]
    assert list(await mailbox.contents("Junk")) == [101]
    with pytest.raises(LabError, match="no folder Spam"):
        await mailbox.append(mail("3@x"), "Spam")
    connection = await imap(mailbox)
    response = await connection.uid("fetch", str(first), "(INTERNALDATE)")
    assert b'INTERNALDATE "29-Feb-2024 12:00:00 +0000"' in response.lines[0]
    await connection.logout()


async def test_logins_that_are_wrong(estate: Estate) -> None:
    mailbox = estate.mailboxes[INBOX]
    for user, password in ((mailbox.user, "wrong"), ("nobody", mailbox.password)):
        connection = aioimaplib.IMAP4(host=mailbox.host, port=mailbox.port, timeout=5)
        await connection.wait_hello_from_server()
        assert (await connection.login(user, password)).result == "NO"
        await connection.logout()


async def test_an_access_token(estate: Estate) -> None:
    mailbox = estate.mailboxes[INBOX]
    for token, result in (("wrong", "NO"), (mailbox.password, "OK")):
        connection = aioimaplib.IMAP4(host=mailbox.host, port=mailbox.port, timeout=5)
        await connection.wait_hello_from_server()
        assert (await connection.xoauth2(mailbox.user, token)).result == result
        await connection.logout()


async def test_implicit_tls() -> None:
    authority = trustme.CA()
    serving = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.23.0.1").configure_cert(serving)
    trusting = ssl.create_default_context()
    authority.configure_trust(trusting)
    async with Estate(["a"], [MailboxSpec(name=INBOX, tls_context=serving)]) as estate:
        mailbox = estate.mailboxes[INBOX]
        await mailbox.append(mail("1@x"))
        _, headers = await asyncio.to_thread(read_all, mailbox, trusting)
        assert headers == [b"Message-ID: <1@x>\r\n\r\n"]


async def test_down_cuts_connections_and_refuses_new_ones(estate: Estate) -> None:
    mailbox = estate.mailboxes[INBOX]
    reader, writer = await asyncio.open_connection(mailbox.host, mailbox.port)
    assert (await reader.readline()).startswith(b"* OK")
    down = await estate.order(ImapDown(), mailboxes=[INBOX])
    with suppress(ConnectionResetError):
        assert await reader.read() == b""
    with pytest.raises(ConnectionRefusedError):
        await asyncio.open_connection(mailbox.host, mailbox.port)
    other = await imap(estate.mailboxes["acme/other"])
    await other.logout()
    await send(estate.relays["a"], "down@x")
    await delivered(estate, 1)
    await down.clear()
    _, headers = await asyncio.to_thread(read_all, mailbox)
    writer.close()
    assert headers == [b"Message-ID: <down@x>\r\n\r\n"], "mail is delivered all the same"


async def silent(reader: asyncio.StreamReader) -> bool:
    try:
        async with asyncio.timeout(0.1):
            await reader.read(1)
    except TimeoutError:
        return True
    return False


async def test_hung_answers_nobody_until_it_is_cleared(estate: Estate) -> None:
    mailbox = estate.mailboxes[INBOX]
    reader, writer = await asyncio.open_connection(mailbox.host, mailbox.port)
    await reader.readline()
    writer.write(f"1 LOGIN {mailbox.user} {mailbox.password}\r\n2 SELECT INBOX\r\n".encode())
    while not (await reader.readline()).startswith(b"2 OK"):
        pass
    writer.write(b"3 IDLE\r\n")
    while not (await reader.readline()).startswith(b"+"):
        pass
    hung = await estate.order(ImapHung(), mailboxes=[INBOX])
    await mailbox.append(mail("hung@x"))
    assert await silent(reader), "IDLE says nothing of the new mail"
    writer.write(b"DONE\r\n4 NOOP\r\n")
    assert await silent(reader), "a command gets no answer"
    late_reader, late_writer = await asyncio.open_connection(mailbox.host, mailbox.port)
    assert await silent(late_reader), "a new connection gets no greeting"
    await hung.clear()
    lines = [await reader.readline()]
    while not lines[-1].startswith(b"4 OK"):
        lines.append(await reader.readline())
    assert b"* 1 EXISTS\r\n" in lines
    assert (await late_reader.readline()).startswith(b"* OK")
    for stream in (writer, late_writer):
        stream.close()
        await stream.wait_closed()


async def test_down_wins_over_hung(estate: Estate) -> None:
    mailbox = estate.mailboxes[INBOX]
    connection = await imap(mailbox)
    hung = await estate.order(ImapHung())
    down = await estate.order(ImapDown())
    with pytest.raises(ConnectionRefusedError):
        await asyncio.open_connection(mailbox.host, mailbox.port)
    await hung.clear()
    with pytest.raises(ConnectionRefusedError):
        await asyncio.open_connection(mailbox.host, mailbox.port)
    await down.clear()
    again = await imap(mailbox)
    await again.logout()
    await hang_up(connection)
