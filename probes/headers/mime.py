"""Just enough MIME (RFC 2045, RFC 2046) to find the parts of a bounce.

``email.parser`` is not used: its work grows with lines times depth of nesting (256 KiB of nested
multiparts took 4 s), and a few thousand levels end in RecursionError. A bounce mailbox takes mail
from anyone. Only multiparts are entered, ``MAX_DEPTH`` deep; never an attached message.
"""

import binascii
import quopri
import re
from collections.abc import Iterator
from dataclasses import dataclass
from email.message import Message

from probes.headers.block import first, parse_header_block

MAX_DEPTH = 4
MAX_PARTS = 50
_MAX_CONTENT_TYPE = 1_000

Fields = list[tuple[str, str]]


@dataclass(frozen=True, slots=True)
class Part:
    """A body part: its type in lower case, its parameters, its content as sent."""

    content_type: str
    params: dict[str, str]
    encoding: str
    content: bytes

    def decoded(self) -> bytes:
        """The content with its transfer encoding undone; as it stands where that fails."""
        try:
            if self.encoding == "base64":
                return binascii.a2b_base64(self.content).replace(b"\r\n", b"\n")
            if self.encoding == "quoted-printable":
                return quopri.decodestring(self.content)
        except ValueError:
            pass
        return self.content


def split_message(message: bytes) -> tuple[Fields, list[Part]]:
    """The header fields of ``message`` and its leaf parts in order, at most ``MAX_PARTS``."""
    message = message.replace(b"\r\n", b"\n")
    header, body = _halves(message)
    fields = parse_header_block(header)
    parts = []
    for part in _leaves(_part(fields, body), 0):
        parts.append(part)
        if len(parts) == MAX_PARTS:
            break
    return fields, parts


def _halves(entity: bytes) -> tuple[bytes, bytes]:
    if entity.startswith(b"\n"):
        return b"", entity[1:]
    header, _, body = entity.partition(b"\n\n")
    return header, body


def _part(fields: Fields, body: bytes) -> Part:
    holder = Message()
    holder["Content-Type"] = (first(fields, "content-type") or "text/plain")[:_MAX_CONTENT_TYPE]
    params: dict[str, str] = {}
    for name in ("boundary", "report-type"):
        value = holder.get_param(name)
        if isinstance(value, str):
            params[name] = value
    encoding = (first(fields, "content-transfer-encoding") or "").strip().lower()
    return Part(holder.get_content_type(), params, encoding, body)


def _leaves(part: Part, depth: int) -> Iterator[Part]:
    boundary = part.params.get("boundary")
    if not part.content_type.startswith("multipart/") or not boundary or depth == MAX_DEPTH:
        yield part
        return
    for piece in _pieces(part.content, boundary):
        header, body = _halves(piece)
        yield from _leaves(_part(parse_header_block(header), body), depth + 1)


def _pieces(content: bytes, boundary: str) -> Iterator[bytes]:
    """What stands between the boundary lines; the last piece may lack its closing line."""
    mark = re.escape(boundary.encode("utf-8", "replace"))
    line = re.compile(rb"(?:\A|\n)--" + mark + rb"(--)?[ \t]*(?=\n|\Z)")
    begin: int | None = None
    for match in line.finditer(content):
        if begin is not None:
            yield content[begin : match.start()]
        begin = None if match.group(1) else match.end() + 1
        if match.group(1):
            return
    if begin is not None:
        yield content[begin:]
