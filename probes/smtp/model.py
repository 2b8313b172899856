"""What goes into one submission and what comes out of it."""

import re
from dataclasses import dataclass, field, fields
from ipaddress import IPv4Address, IPv6Address
from typing import Any

from probes.contract.config.models import RelayTls, Timeouts
from probes.contract.events import Attempt, Reply, TlsInfo
from probes.contract.secret import Secret
from probes.contract.stages import Reason, Result, Stage

_ADDRESS = re.compile(r"[!-~]+@[!-~]+")
_HELO = re.compile(r"[!-~]+")


@dataclass(frozen=True, slots=True)
class SmtpTarget:
    """A relay, and how this agent talks to it.

    ``tls`` ``starttls`` and ``implicit`` need a certificate that verifies, against ``ca_file``
    (PEM) or the system's store; ``verify=False`` lifts that as far as no credentials are sent.
    Credentials go over verified TLS only, whatever ``tls`` and ``verify`` say, unless
    ``allow_plaintext_auth`` is set. ``source_address`` also limits the address family.

    Raises:
        ValueError: when ``helo`` is not printable ASCII, or a user comes without a password.
    """

    host: str
    port: int
    tls: RelayTls
    helo: str
    user: str | None = None
    password: Secret | None = None
    source_address: IPv4Address | IPv6Address | None = None
    timeouts: Timeouts = field(default_factory=Timeouts)
    verify: bool = True
    ca_file: str | None = None
    allow_plaintext_auth: bool = False

    def __post_init__(self) -> None:
        if not _HELO.fullmatch(self.helo):
            raise ValueError(f"helo {self.helo!r}: allowed is printable ASCII without spaces")
        if (self.user is None) != (self.password is None):
            raise ValueError("a user needs a password, and a password a user")


@dataclass(frozen=True, slots=True)
class Mail:
    """An envelope with one recipient, and the message (RFC 5322, ASCII) as it is, not dot-stuffed.

    ``envid`` is asked for in delivery status notifications (RFC 3461) where the relay offers them.

    Raises:
        ValueError: when an address is not ``local@domain`` in printable ASCII without spaces and
            angle brackets, or ``envid`` is longer than the 100 characters that RFC 3461 allows.
    """

    sender: str
    recipient: str
    content: bytes
    envid: str | None = None

    def __post_init__(self) -> None:
        for address in (self.sender, self.recipient):
            if not _ADDRESS.fullmatch(address) or "<" in address or ">" in address:
                raise ValueError(f"address {address!r}: allowed is local@domain in printable ASCII")
        if self.envid is not None and not 0 < len(self.envid) <= 100:
            raise ValueError(f"envid {self.envid!r}: allowed are 1 to 100 characters")


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """What was seen of a relay; the fields are those of ``Submission`` of the same names.

    ``phases`` also holds the phase that failed, with the time until it did. ``reply`` is the first
    refusal, or the relay's reply to the final dot. ``peer`` and ``source`` are bare IP addresses.
    """

    stage: Stage | None = None
    reason: Reason | None = None
    detail: str | None = None
    reply: Reply | None = None
    phases: dict[str, float] = field(default_factory=dict)
    attempts: list[Attempt] = field(default_factory=list)
    peer: str | None = None
    source: str | None = None
    tls: TlsInfo | None = None

    def seen(self) -> dict[str, Any]:
        """The fields above by name, as they are, for whatever else has them."""
        return {name: getattr(self, name) for name in _SEEN}


_SEEN = tuple(one.name for one in fields(Seen))


@dataclass(frozen=True, slots=True, kw_only=True)
class SendReport(Seen):
    """How the one attempt to send a mail ended."""

    result: Result
    queue_id: str | None = None
    dsn: bool = False


class SubmissionError(Exception):
    """A submission ends here, short of acceptance: how and why. Never leaves this package."""

    def __init__(
        self, result: Result, reason: Reason, text: str, reply: Reply | None = None
    ) -> None:
        super().__init__(text)
        self.result = result
        self.reason = reason
        self.text = text
        self.reply = reply
