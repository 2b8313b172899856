"""Chunks in, lines out, in bounded memory; pure."""

from collections.abc import Iterator
from typing import NamedTuple

MAX_LINE = 256 * 1024
"""Bytes of a line that are kept: about a thousand recipients of one mail."""


class Line(NamedTuple):
    """A line without its end. Not ``whole``, it went on for longer than is kept."""

    text: bytes
    whole: bool


class Lines:
    """Cuts a stream into lines."""

    def __init__(self, limit: int = MAX_LINE) -> None:
        self._limit = limit
        self._begun = b""
        self._skipping = False

    def feed(self, chunk: bytes) -> Iterator[Line]:
        """The lines that end in this chunk, and the beginning of one that became too long."""
        *ended, rest = chunk.split(b"\n")
        for text in ended:
            yield from self._add(text)
            if not self._skipping:
                yield Line(self._begun, whole=True)
            self._begun, self._skipping = b"", False
        yield from self._add(rest)

    def end(self) -> Iterator[Line]:
        """What came after the last end of a line."""
        if self._begun:
            yield Line(self._begun, whole=True)
        self._begun = b""

    def _add(self, text: bytes) -> Iterator[Line]:
        if self._skipping:
            return
        self._begun += text
        if len(self._begun) > self._limit:
            yield Line(self._begun[: self._limit], whole=False)
            self._begun, self._skipping = b"", True
