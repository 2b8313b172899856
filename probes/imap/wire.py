"""How arguments are written: strings, folder names, UID sets, dates, credentials."""

import re
from base64 import b64encode
from collections.abc import Iterable, Sequence
from datetime import date

_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
_FIELD = re.compile(r"[A-Za-z0-9!#$&'+.^_`|~-]+")
_FORBIDDEN = ("\x00", "\r", "\n")


def is_sendable(text: str) -> bool:
    """Whether ``text`` can be an argument: NUL, CR and LF end or split a command."""
    return not any(char in text for char in _FORBIDDEN)


def quoted(text: str) -> str:
    """``text`` as a quoted string (RFC 3501 section 9); it must be sendable ASCII."""
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


def strings(words: Sequence[str]) -> list[bytes]:
    """``words`` as string arguments, cut where the server must first agree to take a literal.

    ASCII becomes a quoted string, anything else a literal of its UTF-8 bytes: IMAP4rev1 allows
    8-bit bytes nowhere but in literals.
    """
    chunks = [b""]
    for index, word in enumerate(words):
        space = b" " if index else b""
        if word.isascii():
            chunks[-1] += space + quoted(word).encode()
        else:
            data = word.encode()
            chunks[-1] += space + b"{%d}" % len(data)
            chunks.append(data)
    return chunks


def folder_name(name: str) -> str:
    """A folder's name as a quoted string in modified UTF-7 (RFC 3501 section 5.1.3)."""
    encoded: list[str] = []
    pending = ""

    def flush() -> None:
        nonlocal pending
        if pending:
            coded = b64encode(pending.encode("utf-16-be")).decode().rstrip("=").replace("/", ",")
            encoded.append(f"&{coded}-")
            pending = ""

    for char in name:
        if " " <= char <= "~":
            flush()
            encoded.append("&-" if char == "&" else char)
        else:
            pending += char
    flush()
    return quoted("".join(encoded))


def uid_set(uids: Iterable[int]) -> str:
    """A sequence set with runs drawn together: ``1:3,7``."""
    runs: list[list[int]] = []
    for uid in sorted(set(uids)):
        if runs and uid == runs[-1][1] + 1:
            runs[-1][1] = uid
        else:
            runs.append([uid, uid])
    return ",".join(str(a) if a == b else f"{a}:{b}" for a, b in runs)


def search_date(day: date) -> str:
    """A date as SEARCH takes it, whatever the locale: ``1-Feb-2026``."""
    return f"{day.day}-{_MONTHS[day.month - 1]}-{day.year:04d}"


def xoauth2(user: str, token: str) -> str:
    """The initial response of the XOAUTH2 mechanism, in base64."""
    return b64encode(f"user={user}\x01auth=Bearer {token}\x01\x01".encode()).decode()


def header_items(names: Sequence[str]) -> str:
    """The items of a FETCH of UID, INTERNALDATE and these header fields, without marking as seen.

    Raises:
        ValueError: when there is no name, or one that is no field name of ASCII letters and signs.
    """
    if not names or not all(_FIELD.fullmatch(name) for name in names):
        raise ValueError(f"header fields {list(names)!r}: allowed is at least one field name")
    return f"(UID INTERNALDATE BODY.PEEK[HEADER.FIELDS ({' '.join(names)})])"
