"""Real SMTP and IMAP clients, as short as the tests want them."""

import asyncio
import smtplib
import ssl
from email.message import Message
from email.parser import BytesParser
from email.policy import SMTP as SMTP_POLICY

import aioimaplib
import aiosmtplib

from lab.estate import Estate
from lab.mailboxes import Mailbox
from lab.relay import Relay
from probes.contract.config.models import RelayTls

SENDER = "canary-lab@monitor.example"
INBOX = "acme/inbox"
RCPT = "inbox@acme.example"
BOUNCES = "monitor/lab-bounces"


def mail(message_id: str) -> bytes:
    """A small message."""
    return (
        f"From: Canary <{SENDER}>\r\nTo: <{RCPT}>\r\nMessage-ID: <{message_id}>\r\n"
        f"Subject: a canary\r\n\r\nHello\r\n..two dots\r\n"
    ).encode()


def client(relay: Relay, timeout: float = 5.0) -> aiosmtplib.SMTP:
    """An SMTP client for a relay, not connected yet."""
    return aiosmtplib.SMTP(
        hostname=relay.host,
        port=relay.port,
        local_hostname="agent.example",
        timeout=timeout,
        start_tls=False,
    )


def tls_client(relay: Relay, context: ssl.SSLContext, **login: str) -> aiosmtplib.SMTP:
    """A client for a relay with TLS, by STARTTLS or from the first byte; not connected yet."""
    wrapped = relay.spec.tls is RelayTls.IMPLICIT
    return aiosmtplib.SMTP(
        hostname=relay.host,
        port=relay.port,
        local_hostname="agent.example",
        use_tls=wrapped,
        start_tls=not wrapped,
        tls_context=context,
        timeout=5,
        **login,  # type: ignore[arg-type]  # only username and password are given
    )


async def send(
    relay: Relay,
    message_id: str,
    *,
    rcpt: str = RCPT,
    sender: str = SENDER,
    notify: str = "",
    patience: float = 5.0,
) -> str:
    """Send one mail over a fresh connection; returns the text of the reply to the final dot."""
    async with client(relay, patience) as smtp:
        await smtp.ehlo()
        await smtp.mail(sender, options=["RET=HDRS", "ENVID=env+2B1"])
        await smtp.rcpt(rcpt, options=[f"NOTIFY={notify}"] if notify else [])
        return (await smtp.data(mail(message_id))).message


def send_blocking(relay: Relay, message_id: str) -> tuple[int, bytes]:
    """The same through the standard library, for a thread."""
    with smtplib.SMTP(relay.host, relay.port, local_hostname="agent.example", timeout=5) as smtp:
        smtp.ehlo()
        smtp.mail(SENDER)
        smtp.rcpt(RCPT)
        return smtp.data(mail(message_id))


async def refused_with(relay: Relay, message_id: str = "refused@x") -> str:
    """The refusal that a mail meets, as ``code text``."""
    try:
        await send(relay, message_id)
    except aiosmtplib.SMTPResponseException as refusal:
        return f"{refusal.code} {refusal.message}"
    raise AssertionError("the relay took the mail")


async def delivered(estate: Estate, count: int) -> None:
    """Wait for that many deliveries in all."""
    await estate.until(lambda: len(estate.truth.deliveries) >= count)


def message_ids(estate: Estate) -> list[str]:
    """The Message-IDs of all deliveries in their order."""
    return [(record.message_id or "").strip("<>") for record in estate.truth.deliveries]


async def only_message(mailbox: Mailbox, folder: str = "") -> Message:
    """The one message of a folder, parsed."""
    (content,) = (await mailbox.contents(folder)).values()
    return BytesParser(policy=SMTP_POLICY).parsebytes(content)


async def imap(mailbox: Mailbox) -> aioimaplib.IMAP4:
    """A client that is logged in and has the inbox selected."""
    connection = aioimaplib.IMAP4(host=mailbox.host, port=mailbox.port, timeout=5)
    await connection.wait_hello_from_server()
    response = await connection.login(mailbox.user, mailbox.password)
    assert response.result == "OK"
    response = await connection.select("INBOX")
    assert response.result == "OK"
    return connection


async def hang_up(connection: aioimaplib.IMAP4) -> None:
    """Close a client's connection without a word."""
    transport = connection.protocol.transport
    if transport is not None:
        transport.abort()
    await asyncio.sleep(0)
