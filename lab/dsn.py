"""Delivery status notifications (RFC 3464) as a relay writes them."""

from dataclasses import dataclass
from typing import Literal

from lab.received import date_field
from lab.smtpd import decode_xtext

Action = Literal["failed", "delayed"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """What a DSN says; times are ns since the epoch, UTC.

    ``envid`` and ``orcpt`` are the DSN parameters of RFC 3461 as they came; ``full`` returns the
    whole message and not only its header section.
    """

    action: Action
    reporting_mta: str
    queue_id: str
    sender: str
    recipient: str
    status: str
    text: str
    remote_mta: str | None
    diagnostic: str | None
    arrival_ns: int
    at_ns: int
    retry_until_ns: int | None = None
    envid: str | None = None
    orcpt: str | None = None
    full: bool = True


def build_dsn(report: Report, original: bytes) -> bytes:
    """The DSN's message: multipart/report with its three parts (RFC 6522, RFC 3464 section 2)."""
    boundary = f"{report.queue_id}.{report.at_ns // 1_000_000}/{report.reporting_mta}"
    returned, returned_type = original, "message/rfc822"
    if not report.full:
        returned = original.partition(b"\r\n\r\n")[0] + b"\r\n"
        returned_type = "text/rfc822-headers"
    eight_bit = any(octet > 127 for octet in returned)
    parts = [
        ("text/plain; charset=us-ascii", _notice(report).encode("ascii", "replace")),
        ("message/delivery-status", _status(report).encode("ascii", "replace")),
        (returned_type + ("\r\nContent-Transfer-Encoding: 8bit" if eight_bit else ""), returned),
    ]
    body = b"".join(
        f"--{boundary}\r\nContent-Type: {kind}\r\n\r\n".encode() + part + b"\r\n"
        for kind, part in parts
    )
    return _header(report, boundary) + body + f"--{boundary}--\r\n".encode()


def _header(report: Report, boundary: str) -> bytes:
    subject = {
        "failed": "Undelivered Mail Returned to Sender",
        "delayed": "Delayed Mail (still being retried)",
    }[report.action]
    return (
        f"Date: {date_field(report.at_ns)}\r\n"
        f"From: Mail Delivery System <MAILER-DAEMON@{report.reporting_mta}>\r\n"
        f"To: {report.sender}\r\n"
        f"Subject: {subject}\r\n"
        f"Auto-Submitted: auto-replied\r\n"
        f"Message-ID: <{report.queue_id}.{report.at_ns}@{report.reporting_mta}>\r\n"
        f"MIME-Version: 1.0\r\n"
        f"Content-Type: multipart/report; report-type=delivery-status;\r\n"
        f'\tboundary="{boundary}"\r\n'
        f"\r\n"
        f"This is a MIME-encapsulated message.\r\n\r\n"
    ).encode("ascii", "replace")


def _notice(report: Report) -> str:
    if report.action == "failed":
        what = "Your message could not be delivered and will not be tried again."
    else:
        what = "Your message could not be delivered yet. It is still being tried."
    return (
        f"This is the mail system at host {report.reporting_mta}.\r\n\r\n"
        f"{what}\r\n\r\n<{report.recipient}>: {report.text}\r\n"
    )


def _status(report: Report) -> str:
    message = [f"Reporting-MTA: dns; {report.reporting_mta}"]
    if report.envid:
        message.append(f"Original-Envelope-Id: {decode_xtext(report.envid)}")
    message.append(f"Arrival-Date: {date_field(report.arrival_ns)}")
    if report.orcpt:
        kind, _semicolon, address = report.orcpt.partition(";")
        original = f"{kind}; {decode_xtext(address)}"
    else:
        original = f"rfc822; {report.recipient}"
    recipient = [
        f"Original-Recipient: {original}",
        f"Final-Recipient: rfc822; {report.recipient}",
        f"Action: {report.action}",
        f"Status: {report.status}",
    ]
    if report.remote_mta and report.diagnostic:
        recipient.append(f"Remote-MTA: dns; {report.remote_mta}")
    if report.diagnostic:
        recipient.append(f"Diagnostic-Code: smtp; {report.diagnostic}")
    else:
        recipient.append(f"Diagnostic-Code: X-Postfix; {report.text}")
    recipient.append(f"Last-Attempt-Date: {date_field(report.at_ns)}")
    if report.retry_until_ns is not None:
        recipient.append(f"Will-Retry-Until: {date_field(report.retry_until_ns)}")
    return "\r\n".join(message) + "\r\n\r\n" + "\r\n".join(recipient) + "\r\n"
