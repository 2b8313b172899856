"""Keeping the untagged responses that a command asks for, and only while it is under way."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from probes.imap.model import ProtocolError

MAX_COLLECTED = 4 * 1024 * 1024
"""Bytes kept for one command: a SEARCH reply with several hundred thousand messages."""

_EACH = 64
"""Bytes that a kept line takes beside its text."""


class Collector:
    """Takes every untagged response, and keeps those of the kind that is wanted now."""

    def __init__(self) -> None:
        self._kind: bytes | None = None
        self._lines: list[bytes] = []
        self._room = 0

    @contextmanager
    def of(self, kind: bytes) -> Iterator[list[bytes]]:
        """A list that gets the last line of each response of that kind within the block."""
        lines: list[bytes] = []
        self._kind, self._lines, self._room = kind, lines, MAX_COLLECTED
        try:
            yield lines
        finally:
            self._kind, self._lines = None, []

    def take(self, kind: bytes, parts: Sequence[bytes]) -> None:
        """Keep a response's last line, if it is wanted.

        Raises:
            ProtocolError: when that would be more than ``MAX_COLLECTED`` bytes.
        """
        if kind != self._kind:
            return
        self._room -= len(parts[-1]) + _EACH
        if self._room < 0:
            raise ProtocolError(f"more than {MAX_COLLECTED} bytes of {kind.decode()}")
        self._lines.append(parts[-1])
