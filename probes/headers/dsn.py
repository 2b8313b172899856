"""Bounces: what a delivery status notification (RFC 3464) says of each recipient.

Besides multipart/report, as Postfix, Sendmail, Exchange, Gmail and today's Exim send it, two
older forms are read: qmail's (QSBMF) and Exim's with X-Failed-Recipients and plain text.
Auto-replies, read receipts and other mail hold neither and give nothing; ``Auto-Submitted`` does
not tell them apart, for Postfix and Exim mark their bounces ``auto-replied``.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass

from probes.headers import bounce_text
from probes.headers.block import MAX_BLOCK, first, parse_header_block, values
from probes.headers.mime import Fields, Part, split_message
from probes.headers.text import clean, without_comments

MAX_MESSAGE = 262_144
"""Bytes of a bounce that are looked at. A returned canary is small; the report comes before it."""

MAX_REPORTS = 100
MAX_DIAGNOSTIC = 1_000
_MAX_NAME = 320

_STATUS_TYPES = frozenset({"message/delivery-status", "message/global-delivery-status"})
_HEADER_TYPES = frozenset({"text/rfc822-headers", "message/global-headers"})
_MESSAGE_TYPES = frozenset({"message/rfc822", "message/global"})
_ACTIONS = frozenset({"failed", "delayed", "delivered", "relayed", "expanded"})
_BY_CLASS = {"2": "delivered", "4": "delayed", "5": "failed"}
_STATUS = re.compile(r"(?<![\d.])([245]\.\d{1,3}\.\d{1,3})(?![\d.]*\d)")
_XTEXT = re.compile(r"\+([0-9A-F]{2})")


@dataclass(frozen=True, slots=True)
class DsnReport:
    """What a bounce says of one recipient; what it does not say is ``None``.

    ``action`` is one of failed, delayed, delivered, relayed, expanded (RFC 3464 section 2.3.3),
    ``status`` an enhanced code (RFC 3463). ``diagnostic_type`` is ``smtp`` for what the remote
    said, another for what the reporting server says itself (Postfix: ``x-postfix``).
    ``envelope_id`` is the ENVID of the submission (RFC 3461 section 4.4), decoded.
    ``original`` is the header block of the returned message, lines ended by LF, and
    ``original_message_id`` the Message-ID in there, angle brackets included.
    """

    action: str
    status: str | None = None
    diagnostic_type: str | None = None
    diagnostic: str | None = None
    remote_mta: str | None = None
    reporting_mta: str | None = None
    final_recipient: str | None = None
    original_recipient: str | None = None
    envelope_id: str | None = None
    original: bytes | None = None
    original_message_id: str | None = None


def parse_dsn(message: bytes) -> list[DsnReport]:
    """The reports in ``message``, one for each recipient; none where it is not a bounce.

    Never raises; looks at the first ``MAX_MESSAGE`` bytes and gives up to ``MAX_REPORTS``.
    """
    fields, parts = split_message(message[:MAX_MESSAGE])
    status = next((part for part in parts if part.content_type in _STATUS_TYPES), None)
    if status is not None:
        return _standard(status, _original(parts))
    text = next((part.decoded() for part in parts if part.content_type == "text/plain"), b"")
    return [
        _from_text(report)
        for report in bounce_text.parse(fields, text.decode("utf-8", "replace"))[:MAX_REPORTS]
    ]


def _standard(status: Part, original: bytes | None) -> list[DsnReport]:
    groups = list(_groups(status.decoded()))
    if not groups:
        return []
    message_id = _message_id(original)
    # A few servers leave out the empty line between message and recipient fields.
    recipients = groups[1:] or groups
    reports = []
    for fields in recipients[:MAX_REPORTS]:
        action = _action(fields)
        if action is None:
            continue
        kind, diagnostic = _typed(first(fields, "diagnostic-code"), MAX_DIAGNOSTIC)
        reports.append(
            DsnReport(
                action=action,
                status=_status(first(fields, "status")),
                diagnostic_type=kind,
                diagnostic=diagnostic,
                remote_mta=_mta(first(fields, "remote-mta")),
                reporting_mta=_mta(first(groups[0], "reporting-mta")),
                final_recipient=_recipient(first(fields, "final-recipient")),
                original_recipient=_recipient(first(fields, "original-recipient")),
                envelope_id=_envelope_id(first(groups[0], "original-envelope-id")),
                original=original,
                original_message_id=message_id,
            )
        )
    return reports


def _from_text(report: bounce_text.TextReport) -> DsnReport:
    original = _header_of(report.original.encode()) if report.original is not None else None
    diagnostic = clean(report.diagnostic, MAX_DIAGNOSTIC) or None
    return DsnReport(
        action="failed",
        status=_status(diagnostic),
        diagnostic_type="smtp" if diagnostic and report.remote_mta else None,
        diagnostic=diagnostic,
        remote_mta=_mta(report.remote_mta),
        reporting_mta=_mta(report.reporting_mta),
        final_recipient=_recipient(report.recipient),
        original=original,
        original_message_id=_message_id(original),
    )


def _groups(content: bytes) -> Iterator[Fields]:
    """The groups of fields of a delivery-status part, which empty lines divide."""
    lines: list[bytes] = []
    for line in [*content.split(b"\n"), b""]:
        if line.strip():
            lines.append(line)
        elif lines:
            if fields := parse_header_block(b"\n".join(lines)):
                yield fields
            lines = []


def _action(fields: Fields) -> str | None:
    """The action; where a server leaves it out, what the class of the status means."""
    words = without_comments((first(fields, "action") or "")[:200]).lower().split()
    if words and words[0] in _ACTIONS:
        return words[0]
    status = _status(first(fields, "status"))
    return _BY_CLASS[status[0]] if status else None


def _status(text: str | None) -> str | None:
    match = _STATUS.search(text[:MAX_DIAGNOSTIC]) if text else None
    return match.group(1) if match else None


def _typed(text: str | None, limit: int) -> tuple[str | None, str | None]:
    """``type; value``, the type in lower case; all of it is the value where there is no type."""
    if text is None:
        return None, None
    kind, semicolon, value = text.partition(";")
    if not semicolon or " " in kind.strip():
        return None, clean(text, limit) or None
    return clean(kind, 64).lower() or None, clean(value, limit) or None


def _mta(text: str | None) -> str | None:
    """The name alone: Gmail adds what it is in a comment."""
    _, value = _typed(text, _MAX_NAME)
    if value is None:
        return None
    return without_comments(value).strip().strip("[]").rstrip(".") or None


def _recipient(text: str | None) -> str | None:
    _, value = _typed(text, _MAX_NAME)
    return value.strip("<>") or None if value else None


def _envelope_id(text: str | None) -> str | None:
    """Decoded. Postfix and Sendmail have done so already, others pass the xtext on.

    Decoding twice does no harm to an id without ``+``; an agent's are.
    """
    if text is None:
        return None
    decoded = _XTEXT.sub(lambda match: chr(int(match.group(1), 16)), text[:_MAX_NAME])
    return clean(decoded, _MAX_NAME) or None


def _original(parts: list[Part]) -> bytes | None:
    for part in parts:
        if part.content_type in _HEADER_TYPES or part.content_type in _MESSAGE_TYPES:
            return _header_of(part.decoded())
    return None


def _header_of(content: bytes) -> bytes:
    return content.lstrip(b"\n").partition(b"\n\n")[0].rstrip(b"\n")[:MAX_BLOCK]


def _message_id(original: bytes | None) -> str | None:
    found = values(parse_header_block(original), "message-id") if original else []
    return clean(found[0], _MAX_NAME) or None if found else None
