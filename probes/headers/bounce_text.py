"""Bounces that only people were meant to read, but that keep to a form.

qmail: D. J. Bernstein, "The qmail-send Bounce Message Format (QSBMF)", 1996. Exim: as old
versions send it, which know no multipart/report.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass

from probes.headers.block import first, values
from probes.headers.text import without_comments

Fields = list[tuple[str, str]]

_MAX_LINES = 5_000
_MAX_PARAGRAPHS = 500
_MAX_INTRODUCTION = 1_000
_QMAIL_START = "Hi. This is the"
_QMAIL_HOST = re.compile(r"program at ([^\s,]{1,255})")
_QMAIL_REMOTE = (
    re.compile(r"Connected to ([0-9A-Fa-f.:]{2,64}) but "),
    re.compile(r"^([0-9A-Fa-f.:]{2,64}) (?:does not like|failed)", re.MULTILINE),
)
_EXIM_COPY = re.compile(r"^-{3,10} This is a copy of .{0,200}-{3,10}\s*$")
_EXIM_REMOTE = re.compile(r"\bhost (\S{1,255}) \[")


@dataclass(frozen=True, slots=True)
class TextReport:
    """A failed recipient, and the original as text from its first header line on."""

    recipient: str
    diagnostic: str
    remote_mta: str | None
    reporting_mta: str | None
    original: str | None


def parse(fields: Fields, text: str) -> list[TextReport]:
    """The failures that a bounce of qmail's or old Exim's form tells of; none for other mail."""
    lines = [line.rstrip("\r") for line in text.split("\n", _MAX_LINES)[:_MAX_LINES]]
    if recipients := _failed_recipients(fields):
        return list(_exim(fields, recipients, lines))
    body = "\n".join(lines).lstrip()
    # An auto-reply may quote a bounce, but does not begin with one.
    return list(_qmail(body)) if body.startswith(_QMAIL_START) else []


def _failed_recipients(fields: Fields) -> list[str]:
    listed = ",".join(value[:10_000] for value in values(fields, "x-failed-recipients")[:100])
    return [address for part in listed.split(",")[:100] if (address := part.strip())]


def _qmail(body: str) -> Iterator[TextReport]:
    """Paragraphs: introduction, one a recipient, one beginning with ``-``, then the original."""
    paragraphs = body.split("\n\n", _MAX_PARAGRAPHS)
    end = next((at for at, text in enumerate(paragraphs) if text.startswith("-")), None)
    if end is None:
        # Without it this is not QSBMF, however it begins.
        return
    host = _QMAIL_HOST.search(paragraphs[0][:_MAX_INTRODUCTION])
    reporting = host.group(1).rstrip(".") if host else None
    original = "\n\n".join(paragraphs[end + 1 :]).lstrip("\n") or None
    for paragraph in paragraphs[1:end]:
        head, _, explanation = paragraph.strip("\n").partition("\n")
        if not (head.startswith("<") and head.rstrip().endswith(">:")):
            continue
        yield TextReport(
            recipient=head.rstrip()[1:-2],
            diagnostic=explanation,
            remote_mta=_search(_QMAIL_REMOTE, explanation[:4_000]),
            reporting_mta=reporting,
            original=original,
        )


def _exim(fields: Fields, recipients: list[str], lines: list[str]) -> Iterator[TextReport]:
    """Each address stands alone on a line, what went wrong is indented deeper below it."""
    copy = next((at for at, line in enumerate(lines) if _EXIM_COPY.match(line[:300])), len(lines))
    original = "\n".join(lines[copy + 1 :]).lstrip("\n") or None
    explanations = _indented(lines[:copy], frozenset(recipients))
    sender = without_comments((first(fields, "from") or "")[:1_000])
    reporting = sender.rpartition("@")[2].strip(" <>") or None if "@" in sender else None
    for recipient in dict.fromkeys(recipients):
        explanation = explanations.get(recipient, "")
        yield TextReport(
            recipient=recipient,
            diagnostic=explanation,
            remote_mta=_search((_EXIM_REMOTE,), explanation[:4_000]),
            reporting_mta=reporting,
            original=original,
        )


def _indented(lines: list[str], heads: frozenset[str]) -> dict[str, str]:
    """Per head the lines below it that are indented deeper than it is."""
    found: dict[str, list[str]] = {}
    current: list[str] | None = None
    depth = 0
    for line in lines:
        stripped = line.strip()
        indent = len(line) - len(line.lstrip())
        if stripped in heads:
            current = found.setdefault(stripped, [])
            depth = indent
        elif current is not None and stripped and indent > depth:
            current.append(stripped)
        else:
            current = None
    return {head: "\n".join(explanation) for head, explanation in found.items()}


def _search(patterns: tuple[re.Pattern[str], ...], text: str) -> str | None:
    return next((match.group(1) for pattern in patterns if (match := pattern.search(text))), None)
