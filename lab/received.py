"""The header fields that a mail server adds on the way: Received and Authentication-Results."""

import itertools
import re
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import format_datetime

NS_PER_S = 1_000_000_000


@dataclass(frozen=True, slots=True)
class TlsUsed:
    """What a Received field says of the TLS session."""

    version: str
    cipher: str
    bits: int


@dataclass(frozen=True, slots=True)
class Client:
    """The SMTP client as its server saw it."""

    helo: str
    address: str
    extended: bool = True
    tls: TlsUsed | None = None
    authenticated: bool = False

    @property
    def protocol(self) -> str:
        """The transmission type (RFC 3848)."""
        if not self.extended:
            return "SMTP"
        return "ESMTP" + ("S" if self.tls else "") + ("A" if self.authenticated else "")


def address_literal(address: str) -> str:
    """An address in the brackets of RFC 5321 section 4.1.3."""
    return f"[IPv6:{address}]" if ":" in address else f"[{address}]"


def date_field(at_ns: int) -> str:
    """A date-time of RFC 5322 section 3.3, in UTC, whole seconds."""
    return format_datetime(datetime.fromtimestamp(at_ns // NS_PER_S, UTC))


def received_field(
    client: Client, *, by: str, queue_id: str, recipient: str | None, at_ns: int
) -> bytes:
    """A Received field (RFC 5321 section 4.4) in the layout that Postfix uses, with its CRLF."""
    tls = ""
    if client.tls:
        tls = (
            f"\r\n\t(using {client.tls.version} with cipher {client.tls.cipher}"
            f" ({client.tls.bits}/{client.tls.bits} bits))"
        )
    target = f" for <{recipient}>" if recipient else ""
    return (
        f"Received: from {client.helo} (unknown {address_literal(client.address)}){tls}\r\n"
        f"\tby {by} (mailcanary lab) with {client.protocol} id {queue_id}\r\n"
        f"\t{target.strip()}; {date_field(at_ns)}\r\n"
    ).encode("ascii", "replace")


def authentication_results_field(
    authserv_id: str,
    *,
    spf: str | None,
    dkim: str | None,
    dmarc: str | None,
    mail_from: str,
    header_domain: str,
) -> bytes:
    """An Authentication-Results field (RFC 8601 section 2.2), with its CRLF."""
    results = []
    if spf:
        results.append(f"spf={spf} smtp.mailfrom={mail_from or 'postmaster'}")
    if dkim:
        results.append(f"dkim={dkim} header.d={header_domain}")
    if dmarc:
        results.append(f"dmarc={dmarc} header.from={header_domain}")
    body = ";\r\n\t".join(results) if results else "none"
    return f"Authentication-Results: {authserv_id};\r\n\t{body}\r\n".encode("ascii", "replace")


def header_value(content: bytes, name: str) -> str | None:
    """The first value of a header field, unfolded; only the header section is looked at."""
    head = content.partition(b"\r\n\r\n")[0]
    found = re.search(
        rb"^" + re.escape(name.encode()) + rb":[ \t]*(.*?)[ \t]*(?=\r\n[^ \t]|\r\n\Z|\Z)",
        head,
        re.IGNORECASE | re.MULTILINE | re.DOTALL,
    )
    if found is None:
        return None
    return re.sub(r"\r\n([ \t])", r"\1", found[1].decode("ascii", "replace"))


def sender_domain(content: bytes, fallback: str) -> str:
    """The domain of the From field, else that of ``fallback``, else ``localhost``."""
    for text in (header_value(content, "From") or "", fallback):
        found = re.search(r"@([A-Za-z0-9.-]+)", text)
        if found:
            return found[1].lower()
    return "localhost"


class QueueIds:
    """Queue ids in the look of Postfix's short ones: upper-case hexadecimal, unique per source."""

    def __init__(self) -> None:
        self._counter = itertools.count(1)

    def next(self, at_ns: int) -> str:
        """The next id; it begins with the microseconds of ``at_ns``, as Postfix's do."""
        return f"{at_ns // 1000 % 1_000_000:05X}{next(self._counter):06X}"
