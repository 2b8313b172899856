"""Small things that all header parsers need: fit text for events, addresses, comments."""

import re
from collections.abc import Iterator
from enum import Enum, auto
from functools import lru_cache
from ipaddress import IPv6Address, ip_address
from typing import NamedTuple

_UNPRINTABLE = "?"
_ADDRESS = re.compile(r"[0-9A-Fa-f.:]*[.:][0-9A-Fa-f.:]*", re.ASCII)


def clean(text: str, limit: int) -> str:
    """``text`` with white space runs as one space, unprintable characters as ``?``, cut to limit.

    Events are shown on terminals and encoded as UTF-8, so neither control characters nor lone
    surrogates may get through.
    """
    # Four characters in hand for every one kept: folding white space is all that shrinks text.
    words = " ".join(text[: limit * 4].split())[:limit]
    if words.isprintable():
        return words
    return "".join(char if char.isprintable() else _UNPRINTABLE for char in words)


def parse_address(text: str) -> str | None:
    """The canonical form of the IP address in ``text``, or ``None``.

    Takes RFC 5321 section 4.1.3 literals without their brackets (``IPv6:2001:db8::1``) and bare
    addresses; an IPv4-mapped IPv6 address is the IPv4 address, a zone (``%eth0``) is dropped.
    """
    return None if len(text) > 64 else _parse_address(text)


# Every canary comes through the same few hosts, and ip_address is slow.
@lru_cache(maxsize=4096)
def _parse_address(text: str) -> str | None:
    text = text.strip()
    if text[:5].lower() == "ipv6:":
        text = text[5:]
    text = text.partition("%")[0]
    # Most of what is asked about is a host name, which ip_address is slow to refuse.
    if not _ADDRESS.fullmatch(text):
        return None
    try:
        address = ip_address(text)
    except ValueError:
        return None
    if isinstance(address, IPv6Address) and address.ipv4_mapped is not None:
        return str(address.ipv4_mapped)
    return str(address)


class Kind(Enum):
    """What a token is."""

    WORD = auto()
    QUOTED = auto()
    COMMENT = auto()
    MARK = auto()


class Token(NamedTuple):
    """A lexical token; ``text`` has quotes, outer parentheses and quoted-pairs taken off."""

    kind: Kind
    text: str


_STEP = re.compile(r'[()"\\]')


@lru_cache(maxsize=8)
def _next_token(marks: str) -> re.Pattern[str]:
    """White space, then what a token begins with: a whole word, or the one special character."""
    special = re.escape(marks)
    return re.compile(rf'[\s)]*(?:([^\s()"{special}]+)|([("{special}]))')


def tokens(text: str, marks: str = "") -> Iterator[Token]:
    """The words, quoted strings, comments (RFC 5322 section 3.2) and ``marks`` of a field.

    Linear in the length of ``text``. A comment or quoted string without an end goes on to the end
    of the text; a closing parenthesis without an opening one is white space.
    """
    match_next = _next_token(marks).match
    at = 0
    while match := match_next(text, at):
        word, special = match.groups()
        at = match.end()
        if word is not None:
            yield Token(Kind.WORD, word)
        elif special == "(":
            content, at = _comment(text, at)
            yield Token(Kind.COMMENT, content)
        elif special == '"':
            content, at = _quoted(text, at)
            yield Token(Kind.QUOTED, content)
        else:
            yield Token(Kind.MARK, special)


def _comment(text: str, start: int) -> tuple[str, int]:
    """The comment that begins at ``start``, inner parentheses kept, and where it ends."""
    depth = 1
    at = start
    while match := _STEP.search(text, at):
        at = match.end()
        if match.group() == "(":
            depth += 1
        elif match.group() == ")":
            depth -= 1
            if depth == 0:
                return text[start : at - 1], at
        elif match.group() == "\\":
            at += 1
    return text[start:], len(text)


def _quoted(text: str, start: int) -> tuple[str, int]:
    """The content of the quoted string that begins at ``start``, and where it ends."""
    parts: list[str] = []
    at = start
    while match := _STEP.search(text, at):
        if match.group() == '"':
            parts.append(text[at : match.start()])
            return "".join(parts), match.end()
        if match.group() == "\\":
            parts.append(text[at : match.start()] + text[match.end() : match.end() + 1])
            at = match.end() + 1
        else:
            parts.append(text[at : match.end()])
            at = match.end()
    parts.append(text[at:])
    return "".join(parts), len(text)


def without_comments(text: str) -> str:
    """``text`` with each comment as a space; quotes are taken off."""
    if not _STEP.search(text):
        return text
    return " ".join(token.text for token in tokens(text) if token.kind is not Kind.COMMENT)
