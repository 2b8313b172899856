"""From a stream of bytes to whole IMAP responses (RFC 3501 section 2.2, literals 4.3).

aioimaplib's own reader calls itself once per line, and dies of a long reply; this one loops.
"""

import re

from probes.imap.model import ProtocolError

MAX_LINE = 4 * 1024 * 1024
"""Bytes. A SEARCH reply is one line, with up to 11 bytes for each message found."""

MAX_RESPONSE = 8 * 1024 * 1024
"""Bytes kept of one response, all its lines and literals together."""

MAX_LITERAL = 4_294_967_295
KEEP_LITERAL = 64 * 1024

_CRLF = b"\r\n"
_LITERAL = re.compile(rb"\{([0-9]{1,20})\+?\}$")
_TEXT_ONLY = re.compile(rb"\* (?:OK|NO|BAD|BYE|PREAUTH)(?: |$)", re.IGNORECASE)


class Framer:
    """Cuts what arrives, in whatever pieces, into responses.

    A response is a list: a line, then for each literal its bytes and the line behind it. Of a
    literal longer than ``keep_literal`` the rest is read and dropped, so that one foreign message
    with a monstrous header costs neither memory nor the connection.
    """

    __slots__ = ("_buffer", "_kept", "_left", "_literal", "_parts", "_scanned", "keep_literal")

    def __init__(self, keep_literal: int = KEEP_LITERAL) -> None:
        self.keep_literal = keep_literal
        self._buffer = bytearray()
        self._scanned = 0
        self._parts: list[bytes] = []
        self._kept = 0
        self._literal: bytearray | None = None
        self._left = 0

    @property
    def inside(self) -> bool:
        """Whether a response has begun and not ended."""
        return bool(self._buffer or self._parts)

    def feed(self, data: bytes) -> list[list[bytes]]:
        """The responses that ``data`` completes.

        Raises:
            ProtocolError: for a line, a literal or a response beyond the limits.
        """
        buffer = self._buffer
        buffer += data
        responses: list[list[bytes]] = []
        position = 0
        while True:
            if self._literal is not None:
                position = self._take_literal(position)
                if self._literal is not None:
                    break
            end = buffer.find(_CRLF, max(position, self._scanned))
            if end < 0:
                if len(buffer) - position > MAX_LINE:
                    raise ProtocolError(f"a line of more than {MAX_LINE} bytes")
                self._scanned = max(position, len(buffer) - 1)
                break
            self._add(bytes(buffer[position:end]))
            position = end + 2
            if not self._begin_literal():
                responses.append(self._parts)
                self._parts = []
                self._kept = 0
        del buffer[:position]
        self._scanned = max(0, self._scanned - position)
        return responses

    def _add(self, part: bytes) -> None:
        self._parts.append(part)
        self._kept += len(part) + 1
        if self._kept > MAX_RESPONSE:
            raise ProtocolError(f"a response of more than {MAX_RESPONSE} bytes")

    def _begin_literal(self) -> bool:
        line = self._parts[-1]
        if not line.endswith(b"}") or not self._parts[0].startswith(b"* "):
            return False
        match = _LITERAL.search(line)
        # A status response ends in human-readable text, where {5} is no literal.
        if match is None or _TEXT_ONLY.match(self._parts[0]):
            return False
        self._left = int(match[1])
        if self._left > MAX_LITERAL:
            raise ProtocolError(f"a literal of {self._left} bytes")
        self._literal = bytearray()
        return True

    def _take_literal(self, position: int) -> int:
        """Move what is there of the open literal; closes it when that is all. The new position."""
        literal = self._literal
        if literal is None:
            return position
        size = min(self._left, len(self._buffer) - position)
        room = self.keep_literal - len(literal)
        if room > 0:
            literal += self._buffer[position : position + min(size, room)]
        self._left -= size
        if not self._left:
            self._add(bytes(literal))
            self._literal = None
        return position + size
