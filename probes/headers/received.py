"""Received fields (RFC 5321 section 4.4), as the servers in use really write them.

The field's grammar is followed by few. What stands here covers Postfix, Exim, Sendmail, Exchange,
Gmail, qmail and Dovecot, and whatever is close to them:

====================  =============================================================
Postfix, Sendmail     ``from HELO (RDNS [ADDRESS]) by HOST with ESMTPS id ID; DATE``
Exim                  ``from RDNS ([ADDRESS] helo=HELO) by HOST with esmtps (TLS1.3) …``
Exchange              ``from HELO (ADDRESS) by HOST (ADDRESS) with Microsoft SMTP Server …``
Gmail                 ``from HELO (RDNS. [ADDRESS]) by HOST with ESMTPS …; by ADDRESS with SMTP``
qmail                 ``from RDNS (HELO HELO) (ADDRESS) by HOST with SMTP; DATE``
====================  =============================================================
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import lru_cache

import msgspec

from probes.contract.events import Hop
from probes.contract.units import NS_PER_S
from probes.headers.dates import parse_date
from probes.headers.text import Kind, clean, parse_address, tokens

MAX_HOPS = 100
"""Postfix gives a mail up after 50 hops, Exim after 30; more are not genuine."""

MAX_FIELD = 16_384
_MAX_NAME = 255
_MAX_PROTOCOL = 64
_DATE_TAIL = 300
_DATE_TRIES = 4

_CLAUSES = frozenset({"from", "by", "via", "with", "id", "for", "tls"})
_ESMTP = re.compile(r"(utf8)?(e?smtp|lmtp)(s?)(a?)(?![a-z])", re.IGNORECASE | re.ASCII)
# At the start of a comment, and not the beginning of a host name: (tls1.example [192.0.2.1]).
_TLS = re.compile(
    r"(?:using\s+|version\s*=\s*)?(tls|ssl)\s?v?(\d)?(?:[._](\d))?(?!\.?[a-z0-9-])",
    re.IGNORECASE | re.ASCII,
)
_ENCRYPTED = re.compile(r"\bencrypted\b", re.IGNORECASE)
_QMAIL_HELO = re.compile(r"(?:helo|ehlo) (\S+)", re.IGNORECASE)
_EXIM_HELO = re.compile(r"(?:^|\s)helo=(\S+)")
_EXIM_INFO = re.compile(r"(?:^|\s)(?:helo|port|ident)=")
_BRACKETED = re.compile(r"\[([^\[\]\s]{1,64})\]")

_MAX_ROUTINE = 1_000
_ID = re.compile(r"\sid\s+([^\s()\"\\;]+)")
# Words, and comments with at most one level of comments in them; nothing that is quoted.
_FLAT = re.compile(r"(?:[^()\"\\;]++|\((?:[^()\\]++|\([^()\\]*+\))*+\))*+")
_ANY_ID = "<any>"


class Received(msgspec.Struct, frozen=True):
    """One Received field; what it does not say is ``None``.

    ``name`` is what follows ``from``, ``helo`` the name that the client gave, ``address`` where
    it connected from. ``tls`` is ``TLSv1.3`` and the like, ``yes`` where a session was encrypted
    but the version is not stated, ``None`` where nothing is said about it.
    """

    name: str | None = None
    helo: str | None = None
    address: str | None = None
    by: str | None = None
    protocol: str | None = None
    id: str | None = None
    recipient: str | None = None
    tls: str | None = None
    at_ns: int | None = None


@dataclass(slots=True)
class _Clauses:
    """The field taken apart: per clause its words and comments, the first of each name."""

    words: dict[str, list[str]] = field(default_factory=dict)
    comments: dict[str, list[str]] = field(default_factory=dict)


def parse_received(fields: Sequence[str]) -> list[Hop]:
    """The hops that the Received ``fields`` of a message tell of, the first hop first.

    ``fields`` stand as in the header: the last hop on top. Above ``MAX_HOPS`` the oldest are left
    out, since those nearest to the mailbox are the ones that can be trusted.
    """
    hops: list[Hop] = []
    before_ns: int | None = None
    for text in reversed(fields[:MAX_HOPS]):
        received = parse_received_field(text)
        delay_s = None
        if before_ns is not None and received.at_ns is not None:
            delay_s = (received.at_ns - before_ns) / NS_PER_S
        hops.append(
            Hop(
                by=received.by,
                helo=received.helo,
                address=received.address,
                protocol=received.protocol,
                tls=received.tls,
                at_ns=received.at_ns,
                delay_s=delay_s,
                skewed=delay_s is not None and delay_s < 0,
            )
        )
        before_ns = received.at_ns
    return hops


def parse_received_field(text: str) -> Received:
    """One Received field's value. Never raises; linear in the length of ``text``."""
    if (routine := _routine(text)) is not None:
        word, rest = routine
        said = _remembered(rest)
        # Else it stands in a comment, or behind another clause that has "id" as its value.
        if said.id == _ANY_ID:
            return msgspec.structs.replace(said, id=clean(word, _MAX_NAME), at_ns=_date(text))
    return msgspec.structs.replace(_read(text[:MAX_FIELD]), at_ns=_date(text))


def _routine(text: str) -> tuple[str, str] | None:
    """The queue id, and the field up to its date with ``_ANY_ID`` in its place.

    A server writes the same field with every mail but for these two. ``None`` where they cannot be
    told from the rest without taking the field apart.
    """
    head = text[:_MAX_ROUTINE]
    found = _ID.search(head)
    if found is None or not head.isascii() or _ANY_ID in head:
        return None
    flat = _FLAT.match(head, found.end())
    end = len(head) if flat is None else flat.end()
    if head[end : end + 1] != ";":
        return None
    return found[1], head[: found.start(1)] + _ANY_ID + head[found.end() : end]


# Every canary comes through the same few hosts.
@lru_cache(maxsize=4096)
def _remembered(text: str) -> Received:
    return _read(text)


def _read(text: str) -> Received:
    """What the field says beside its date."""
    clauses = _split(text)
    protocol = _protocol(clauses)
    if protocol is not None and protocol.lower().startswith("local"):
        # Exim's "from USER by HOST with local": a user, not a host.
        name, helo, address = _first(clauses, "from"), None, None
    else:
        name, helo, address = _client(clauses)
    return Received(
        name=name,
        helo=helo,
        address=address,
        by=_host(clauses, "by"),
        protocol=protocol,
        id=_first(clauses, "id"),
        recipient=_recipient(clauses),
        tls=_tls(clauses, protocol),
    )


def _split(text: str) -> _Clauses:
    clauses = _Clauses()
    clause = ""
    fresh = False
    for token in tokens(text, ";"):
        if token.kind is Kind.MARK:
            # Only the date may follow, and that is read from the end.
            break
        if token.kind is Kind.COMMENT:
            clauses.comments.setdefault(clause, []).append(token.text)
            continue
        word = token.text.lower()
        # The word after a clause's name is its value, whatever it is.
        if word in _CLAUSES and not fresh and word not in clauses.words:
            clause = word
            clauses.words[clause] = []
            fresh = True
            continue
        clauses.words.setdefault(clause, []).append(token.text)
        fresh = False
    return clauses


def _first(clauses: _Clauses, clause: str) -> str | None:
    words = clauses.words.get(clause)
    return clean(words[0], _MAX_NAME) or None if words else None


def _host(clauses: _Clauses, clause: str) -> str | None:
    """A host name without its final dot, or an address literal as the bare address."""
    word = _first(clauses, clause)
    if word is None:
        return None
    return parse_address(word.strip("[]")) or word.rstrip(".") or None


def _recipient(clauses: _Clauses) -> str | None:
    word = _first(clauses, "for")
    return word.strip("<>") or None if word else None


def _protocol(clauses: _Clauses) -> str | None:
    """RFC 3848 names in upper case (Exim writes them small), anything else as it stands."""
    words = clauses.words.get("with")
    if not words:
        return None
    if _ESMTP.fullmatch(words[0]):
        return words[0].upper()
    return clean(" ".join(words[:8]), _MAX_PROTOCOL) or None


def _tls(clauses: _Clauses, protocol: str | None) -> str | None:
    stated = None
    for comments in clauses.comments.values():
        for comment in comments[:20]:
            match = _TLS.match(comment.lstrip())
            if match and match.group(2):
                return _tls_version(match)
            if match or _ENCRYPTED.search(comment[:200]):
                stated = "yes"
    if stated or clauses.words.get("tls"):
        return "yes"
    match = _ESMTP.fullmatch(protocol) if protocol else None
    return "yes" if match and match.group(3) else None


def _tls_version(match: re.Match[str]) -> str:
    """As OpenSSL names it: ``TLSv1``, ``TLSv1.3``, ``SSLv3``."""
    kind, major, minor = match.group(1).upper(), match.group(2), match.group(3)
    suffix = f".{minor}" if minor and minor != "0" else ""
    return f"{kind}v{major}{suffix}"


def _client(clauses: _Clauses) -> tuple[str | None, str | None, str | None]:
    """Who connected (name, HELO, address): the ``from`` clause and the comments beside it."""
    name = _host(clauses, "from")
    helo = name
    address = None
    for comment in clauses.comments.get("from", ())[:4]:
        if match := _QMAIL_HELO.match(comment):
            helo = clean(match.group(1), _MAX_NAME)
            continue
        if match := _EXIM_HELO.search(comment[:1000]):
            helo = clean(match.group(1), _MAX_NAME)
        address = _connected_from(comment[:1000])
        break
    if address is None and name is not None and _literal_is_peer(clauses):
        address = parse_address(name)
    return name, _bare(helo), address


def _bare(helo: str | None) -> str | None:
    if helo is None:
        return None
    return parse_address(helo.strip("[]")) or helo.rstrip(".") or None


def _connected_from(comment: str) -> str | None:
    """The peer's address in a TCP-info comment."""
    for match in _BRACKETED.finditer(comment):
        # What the client claims is not where it comes from: ([192.0.2.1] helo=[192.0.2.2]).
        if comment[: match.start()].endswith("="):
            continue
        if address := parse_address(match.group(1)):
            return address
    first = comment.split(None, 1)[0] if comment.strip() else ""
    # qmail: user@ADDRESS, where the client answered an ident query.
    return parse_address(first.rpartition("@")[2].strip("[],;"))


def _literal_is_peer(clauses: _Clauses) -> bool:
    """Whether a bare literal after ``from`` is the peer's address, not its HELO.

    Exim writes ``from [ADDRESS]`` for a client without a name in DNS; elsewhere such a literal
    is only what the client said of itself.
    """
    from_comments = clauses.comments.get("from", ())
    if any(_EXIM_INFO.search(comment[:1000]) for comment in from_comments[:4]):
        return True
    return not from_comments and any(
        comment.startswith("Exim ")
        for comments in clauses.comments.values()
        for comment in comments[:20]
    )


def _date(text: str) -> int | None:
    """The date after the last ``;``; one before that is tried where a comment holds a ``;``."""
    tail = text[-_DATE_TAIL:]
    end = len(tail)
    for _ in range(_DATE_TRIES):
        end = tail.rfind(";", 0, end)
        if end < 0:
            return None
        if (at_ns := parse_date(tail[end + 1 :])) is not None:
            return at_ns
    return None
