"""The greeting of a mail server, read as it comes in: pure, and of bounded size."""

import re

from probes.contract.stages import Reason
from probes.egress.model import Failure

GREETING_LIMIT = 8192
"""Octets of a greeting that are read; RFC 5321 section 4.5.3.1.5 allows 512 a line."""

TEXT_LIMIT = 300
"""Characters of it that are kept."""

_LINE = re.compile(rb"([0-9]{3})(?:([ -])(.*))?")
_BEGINNING = re.compile(rb"[0-9]{0,3}|[0-9]{3}[ \r-]")


class Greeting:
    """What came since the connection was made, up to the end of the greeting or what is none.

    ``code`` is there as soon as it came (RFC 5321 section 4.2), ``octets`` is how much came.
    ``failure`` is what is wrong with it, as soon as that is known.
    """

    def __init__(self) -> None:
        self.code: int | None = None
        self.octets = 0
        self.failure: Failure | None = None
        self._ended = False
        self._lines: list[bytes] = []
        self._rest = b""

    @property
    def complete(self) -> bool:
        """Whether it has ended, or nothing that follows can make it a greeting."""
        return self._ended or self.failure is not None

    @property
    def text(self) -> str | None:
        """Its text in one line; where it has no code, what came; ``None`` if that is nothing."""
        if self.code is None:
            return clean(self._rest) if self._rest else None
        lines = self._lines if self._ended else [*self._lines, self._rest]
        return clean(b" ".join([line[4:] for line in lines]))

    def feed(self, data: bytes) -> None:
        """Take what came; not called any more once it is :attr:`complete`."""
        data = data[: GREETING_LIMIT - self.octets]
        self.octets += len(data)
        *lines, self._rest = (self._rest + data).split(b"\n")
        for line in lines:
            self._take(line)
            if self.complete:
                return
        if not _BEGINNING.fullmatch(self._rest[:4]):
            self._no_greeting(self._rest)
        elif self.code is None and len(self._rest) >= 4:
            self.code = int(self._rest[:3])
        if not self.complete and self.octets >= GREETING_LIMIT:
            text = f"a greeting without an end in {GREETING_LIMIT} octets"
            self.failure = Failure(Reason.PROTOCOL, text)

    def _take(self, line: bytes) -> None:
        found = _LINE.fullmatch(line.rstrip(b"\r"))
        if found is None or self.code not in (None, int(found[1])):
            self._rest = line
            self._no_greeting(line)
            return
        self.code = int(found[1])
        self._lines.append(line)
        if found[2] != b"-":
            self._ended = True
            self.failure = _refusal(self.code, self.text or "")

    def _no_greeting(self, line: bytes) -> None:
        self.failure = Failure(Reason.PROTOCOL, f"no SMTP greeting but {clean(line[:80])!r}")


def _refusal(code: int, text: str) -> Failure | None:
    """What is wrong with a whole greeting: all but 220 (RFC 5321 section 4.3.1)."""
    if code == 220:
        return None
    said = f"{code} {text}".rstrip()
    if 400 <= code < 500:
        return Failure(Reason.REPLY_4XX, said)
    if 500 <= code < 600:
        return Failure(Reason.REPLY_5XX, said)
    return Failure(Reason.PROTOCOL, f"no SMTP greeting but {said!r}")


def clean(data: bytes) -> str:
    """One line of printable text, bounded."""
    words = " ".join(data.decode("utf-8", "replace").split())[: TEXT_LIMIT + 1]
    text = "".join(char if char.isprintable() else "\N{REPLACEMENT CHARACTER}" for char in words)
    return text if len(text) <= TEXT_LIMIT else text[: TEXT_LIMIT - 1] + "…"
