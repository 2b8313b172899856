"""The other replies that are read: status lines, SEARCH, STATUS, QUOTA, dates."""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, timezone
from functools import lru_cache

from probes.contract.units import NS_PER_S
from probes.imap.model import ProtocolError

_CODE = re.compile(rb"\[([A-Za-z0-9._-]+)(?: ([^\]]*))?\]")
_INTERNALDATE = re.compile(
    rb" ?([0-9]{1,2})-([A-Za-z]{3})-([0-9]{4}) ([0-9]{2}):([0-9]{2}):([0-9]{2}) ([+-])([0-9]{4})"
)
_MONTHS = b"jan feb mar apr may jun jul aug sep oct nov dec".split()
_MONTH = {name: number for number, name in enumerate(_MONTHS, 1)}
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

MAX_TEXT = 64 * 1024
"""Bytes of a status text or a capability list that are looked at."""

MAX_QUOTA = 4096
"""Bytes. A longer QUOTA line is nobody's quota."""


@dataclass(frozen=True, slots=True)
class Code:
    """A response code (RFC 3501 section 7.1), such as ``UIDNEXT 17``; the name in upper case."""

    name: bytes
    argument: bytes


def response_code(text: bytes) -> Code | None:
    """The code at the beginning of a status response's text, if there is one."""
    match = _CODE.match(text[:MAX_TEXT])
    return None if match is None else Code(match[1].upper(), match[2] or b"")


def code_number(code: Code) -> int:
    """The number that a code carries.

    Raises:
        ProtocolError: when it carries anything else, or 0 where RFC 3501 has an ``nz-number``.
    """
    argument = code.argument.strip()
    if not argument.isdigit() or len(argument) > 10 or int(argument) == 0:
        raise ProtocolError(f"{code.name.decode()} without a number")
    return int(argument)


def capabilities(words: bytes) -> frozenset[str]:
    """The names in a capability list, in upper case."""
    return frozenset(words[:MAX_TEXT].decode("ascii", "replace").upper().split())


def search_uids(lines: Iterable[bytes]) -> list[int]:
    """The numbers of all ``* SEARCH`` lines, ascending, each once.

    Raises:
        ProtocolError: when one of them is no number.
    """
    uids: set[int] = set()
    for line in lines:
        words = line.split()[2:]
        if words and words[-1].endswith(b")"):
            # CONDSTORE appends (MODSEQ n), RFC 7162 section 3.1.5.
            words = words[: -2 if len(words) > 1 else None]
        if not all(word.isdigit() and len(word) <= 10 for word in words):
            raise ProtocolError("a SEARCH reply with something that is no number")
        uids.update(map(int, words))
    return sorted(uids)


def quota_ratio(lines: Iterable[bytes]) -> float | None:
    """The fullest resource's used share over all ``* QUOTA`` lines (RFC 9208 section 5.1).

    None when no resource has a limit. A limit of 0 is passed over: some servers mean "none".
    """
    ratios = [
        int(used) / int(limit)
        for line in lines
        for used, limit in _resources(line)
        if used.isdigit() and limit.isdigit() and int(limit)
    ]
    return max(ratios, default=None)


def _resources(line: bytes) -> Iterator[tuple[bytes, bytes]]:
    """The used amount and the limit of each resource in a QUOTA line."""
    if len(line) <= MAX_QUOTA:
        words = line[line.rfind(b"(") + 1 :].rstrip(b") ").split()
        yield from zip(words[1::3], words[2::3], strict=False)


# Mails that come together came within the same second.
@lru_cache(maxsize=64)
def internaldate_ns(text: bytes) -> int | None:
    """Nanoseconds since the Unix epoch of an INTERNALDATE; None when it is no valid date."""
    match = _INTERNALDATE.fullmatch(text)
    if match is None:
        return None
    day, month, year, hour, minute, second, sign, zone = match.groups()
    offset = timedelta(hours=int(zone[:2]), minutes=int(zone[2:]))
    try:
        moment = datetime(
            int(year),
            _MONTH[month.lower()],
            int(day),
            int(hour),
            int(minute),
            int(second),
            tzinfo=timezone(-offset if sign == b"-" else offset),
        )
    except (ValueError, KeyError):
        return None
    return (moment - _EPOCH) // timedelta(seconds=1) * NS_PER_S


def readable(text: str, limit: int = 200) -> str:
    """A server's text for a person: printable, on one line, of at most ``limit`` characters."""
    # A text of megabytes would take a good part of a second.
    text = text[: 10 * limit]
    words = "".join(char if char.isprintable() else " " for char in text).split()
    return " ".join(words)[:limit]
