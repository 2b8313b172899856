"""A block of header fields, split into unfolded fields (RFC 5322 section 2.2)."""

import re

MAX_BLOCK = 262_144
"""Bytes of a header that are looked at; what comes after is ignored."""

MAX_FIELDS = 1_000

_NAME = re.compile(rb"([!-9;-~]{1,200})[ \t]*:")


def parse_header_block(header: bytes) -> list[tuple[str, str]]:
    """The fields of ``header`` as (lower-case name, unfolded value), in the order they stand.

    Reads up to the first empty line, so a whole message may be given. Lines end with LF or CRLF.
    A line that is neither a field nor its continuation (mbox ``From``, garbage) is skipped
    together with what continues it. Values are UTF-8 (RFC 6532), else Latin-1, as they stand:
    RFC 2047 encoded words stay encoded, for no field read here has any that matter.
    """
    fields: list[tuple[str, list[bytes]]] = []
    current: list[bytes] | None = None
    begun = False
    for raw in header[:MAX_BLOCK].split(b"\n"):
        line = raw.rstrip(b"\r")
        if not line.strip():
            # IMAP servers and DSN parts put empty lines first now and then.
            if begun:
                break
            continue
        begun = True
        if line[:1] in b" \t":
            if current is not None:
                current.append(line)
            continue
        match = _NAME.match(line)
        if match is None:
            current = None
            continue
        if len(fields) == MAX_FIELDS:
            break
        current = [line[match.end() :]]
        fields.append((match.group(1).decode("ascii").lower(), current))
    return [(name, _decode(b"".join(lines)).strip()) for name, lines in fields]


def _decode(value: bytes) -> str:
    try:
        return value.decode("utf-8")
    except UnicodeDecodeError:
        return value.decode("latin-1")


def values(fields: list[tuple[str, str]], name: str) -> list[str]:
    """The values of all fields called ``name`` (lower case), in the order they stand."""
    return [value for field, value in fields if field == name]


def first(fields: list[tuple[str, str]], name: str) -> str | None:
    """The value of the first field called ``name`` (lower case)."""
    return next((value for field, value in fields if field == name), None)
