"""The folders that an account has, as LIST tells them (RFC 3501 section 7.2.2, RFC 6154)."""

import re
from base64 import b64decode
from collections.abc import Sequence
from dataclasses import dataclass

from probes.imap.model import ProtocolError

_LIST = re.compile(
    rb'\* LIST \(([^()]*)\) +(?:NIL|"(?:[^"\\]|\\.)") +(?P<name>.+)', re.IGNORECASE | re.DOTALL
)
_LITERAL = re.compile(rb"\{[0-9]+\+?\}")
# Possessive: where there is but one way to match, the steps of it need not be kept.
_QUOTED = re.compile(rb'"((?:[^"\\]++|\\.)*+)"', re.DOTALL)
_ESCAPED = re.compile(rb"\\(.)", re.DOTALL)
_SHIFTED = re.compile(r"&([A-Za-z0-9+,]*)-")
_MAX_LINE = 16 * 1024
_CLOSED = frozenset({"\\NOSELECT", "\\NONEXISTENT"})


@dataclass(frozen=True, slots=True)
class ListedFolder:
    """A folder: its name in Unicode, and its attributes in upper case, such as ``\\JUNK``."""

    name: str
    attributes: frozenset[str]

    @property
    def selectable(self) -> bool:
        """Whether it can hold mail."""
        return not self.attributes & _CLOSED

    @property
    def is_junk(self) -> bool:
        """Whether the server says that spam goes there (RFC 6154)."""
        return "\\JUNK" in self.attributes


def parse_list(parts: Sequence[bytes]) -> ListedFolder:
    """The folder of one ``* LIST`` response, ``parts`` as the framer gives them.

    Raises:
        ProtocolError: when it is no such response, breaks off, or has more than 16 KiB.
    """
    match = _LIST.match(parts[0]) if sum(map(len, parts)) <= _MAX_LINE else None
    if match is None:
        raise ProtocolError("a LIST response that cannot be read")
    attributes = frozenset(match[1].decode("ascii", "replace").upper().split())
    return ListedFolder(decode_name(_name(match["name"], parts)), attributes)


def _name(text: bytes, parts: Sequence[bytes]) -> bytes:
    if _LITERAL.fullmatch(text):
        if len(parts) < 2:
            raise ProtocolError("a LIST response without its literal")
        return parts[1]
    quoted = _QUOTED.match(text)
    if quoted is not None:
        return _ESCAPED.sub(rb"\1", quoted[1])
    # LIST-EXTENDED's items may follow (RFC 5258).
    return text.split(b" (", 1)[0].strip()


def decode_name(name: bytes) -> str:
    """A folder's name out of modified UTF-7 (RFC 3501 section 5.1.3).

    What is not well-formed stays as it is, and so does UTF-8, which some servers send.
    """
    return _SHIFTED.sub(_unshift, name.decode("utf-8", "replace"))


def _unshift(match: re.Match[str]) -> str:
    coded = match[1].replace(",", "/")
    if not coded:
        return "&"
    try:
        return b64decode(coded + "=" * (-len(coded) % 4), validate=True).decode("utf-16-be")
    except ValueError:
        return match[0]
