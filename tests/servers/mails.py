"""What the estate's own tests send through it, and what they read back."""

import imaplib
import smtplib
from email.message import EmailMessage, Message
from email.parser import BytesParser

from tests.servers.dovecot import Mailbox
from tests.servers.estate import ServerEstate
from tests.servers.namespaces import Endpoint
from tests.servers.process import wait_until


def mail(estate: ServerEstate, recipient: str, subject: str) -> EmailMessage:
    message = EmailMessage()
    message["From"] = estate.sender("test")
    message["To"] = recipient
    message["Subject"] = subject
    message.set_content("A test of the servers themselves.")
    return message


def send(estate: ServerEstate, relay: Endpoint, recipient: str, subject: str) -> None:
    """One mail over a connection of its own; raises smtplib's exceptions."""
    with smtplib.SMTP(*relay, timeout=20) as client:
        client.send_message(mail(estate, recipient, subject))


def read(estate: ServerEstate, mailbox: Mailbox) -> list[Message]:
    """The inbox, over IMAP, in the order of UIDs."""
    with imaplib.IMAP4(*estate.dovecot.imap, timeout=20) as client:
        client.login(mailbox.user, mailbox.password)
        _, (count,) = client.select("INBOX", readonly=True)
        if count == b"0":
            return []
        _, parts = client.fetch("1:*", "(UID RFC822)")
    return [BytesParser().parsebytes(part[1]) for part in parts if isinstance(part, tuple)]


def subjects(estate: ServerEstate, mailbox: Mailbox) -> list[str]:
    return [message["Subject"] for message in read(estate, mailbox)]


def wait_for_mails(mailbox: Mailbox, count: int) -> None:
    wait_until(lambda: len(mailbox.files()) >= count, f"{count} mails in {mailbox.name}")
