"""The faults that can be ordered, as plain data. ``docs/lab.md`` says what each one looks like.

All durations are seconds.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from types import MappingProxyType
from typing import ClassVar

from probes.contract.stages import Stage


class Side(StrEnum):
    """Which server misbehaves: the relay towards its clients, or its destination towards it."""

    RELAY = "relay"
    DESTINATION = "destination"


class Scope(StrEnum):
    """What a fault is ordered for."""

    RELAY = "relay"
    """Relays; it concerns whole connections, so no mailbox can be picked out."""
    MESSAGE = "message"
    """Relays, mailboxes or both: it concerns single messages."""
    MAILBOX = "mailbox"
    """Mailboxes."""


DIALOGUE_STAGES = (Stage.BANNER, Stage.EHLO, Stage.MAIL, Stage.RCPT, Stage.DATA, Stage.ACCEPT)
"""The replies of an SMTP dialogue that a fault can delay, refuse or drop."""


@dataclass(frozen=True, slots=True)
class Fault:
    """The base of all faults."""

    scope: ClassVar[Scope] = Scope.RELAY

    def __post_init__(self) -> None:
        stage = getattr(self, "stage", None)
        if stage is not None and stage not in DIALOGUE_STAGES:
            raise ValueError(f"stage {stage}: allowed are {', '.join(DIALOGUE_STAGES)}")


@dataclass(frozen=True, slots=True)
class InboundFiltered(Fault):
    """Connections to the relay time out; those already made live on."""


@dataclass(frozen=True, slots=True)
class OutboundFiltered(Fault):
    """The relay's connections to its destination time out; it still accepts mail."""


@dataclass(frozen=True, slots=True)
class PortClosed(Fault):
    """Connections are refused (TCP reset)."""

    at: Side = Side.RELAY


@dataclass(frozen=True, slots=True)
class Tarpit(Fault):
    """Replies come late: ``delays`` gives the seconds for each stage's reply."""

    delays: Mapping[Stage, float] = field(
        default_factory=lambda: MappingProxyType({Stage.BANNER: 1.0})
    )
    at: Side = Side.RELAY


@dataclass(frozen=True, slots=True)
class SlowPath(Fault):
    """Delivery begins ``latency`` seconds, and up to ``jitter`` more, after acceptance."""

    scope: ClassVar[Scope] = Scope.MESSAGE
    latency: float = 1.0
    jitter: float = 0.0


@dataclass(frozen=True, slots=True)
class Greylist(Fault):
    """The first try of (client, sender, recipient) gets a 4xx at RCPT, as do tries before
    ``retry_after``; after that it passes."""

    scope: ClassVar[Scope] = Scope.MESSAGE
    retry_after: float = 1.0
    at: Side = Side.DESTINATION
    code: int = 450
    enhanced: str = "4.2.0"
    text: str = "Greylisted, try again later"


@dataclass(frozen=True, slots=True)
class Refuse(Fault):
    """A stage is answered with a refusal: 5xx, or 4xx with ``Refuse(code=451, enhanced="4.7.1")``.

    At the destination, mail from the null sender passes, so that bounces come home.
    """

    scope: ClassVar[Scope] = Scope.MESSAGE
    code: int = 550
    enhanced: str = "5.7.1"
    text: str = "Refused by policy"
    stage: Stage = Stage.RCPT
    at: Side = Side.RELAY

    def __post_init__(self) -> None:
        Fault.__post_init__(self)
        if not 400 <= self.code <= 599 or self.enhanced[:1] != str(self.code)[0]:
            raise ValueError(f"reply {self.code} {self.enhanced}: allowed are 4xx 4.* and 5xx 5.*")


@dataclass(frozen=True, slots=True)
class Bounce(Refuse):
    """The relay accepts, its destination refuses for good, and a DSN goes to the sender."""

    scope: ClassVar[Scope] = Scope.MESSAGE
    enhanced: str = "5.1.1"
    text: str = "User unknown"
    at: Side = Side.DESTINATION


@dataclass(frozen=True, slots=True)
class Drop(Fault):
    """The connection is cut where the reply to ``stage`` should come.

    At ``ACCEPT`` the message has been taken over and is delivered: only the reply is lost.
    """

    scope: ClassVar[Scope] = Scope.MESSAGE
    stage: Stage = Stage.ACCEPT
    at: Side = Side.RELAY


@dataclass(frozen=True, slots=True)
class Hold(Fault):
    """Mail is accepted and stays in the queue until the fault is cleared."""

    scope: ClassVar[Scope] = Scope.MESSAGE


@dataclass(frozen=True, slots=True)
class Lose(Fault):
    """Mail is accepted and forgotten."""

    scope: ClassVar[Scope] = Scope.MESSAGE


@dataclass(frozen=True, slots=True)
class Duplicate(Fault):
    """Mail is delivered ``copies`` times more than once."""

    scope: ClassVar[Scope] = Scope.MESSAGE
    copies: int = 1


@dataclass(frozen=True, slots=True)
class Reorder(Fault):
    """Mail is gathered ``window`` at a time and delivered last come first.

    An incomplete window is delivered, in the same way, ``flush_after`` seconds after it began.
    """

    scope: ClassVar[Scope] = Scope.MESSAGE
    window: int = 2
    flush_after: float = 5.0


@dataclass(frozen=True, slots=True)
class Junk(Fault):
    """Mail is delivered to the junk folder."""

    scope: ClassVar[Scope] = Scope.MESSAGE


@dataclass(frozen=True, slots=True)
class Verdicts(Fault):
    """The destination's Authentication-Results say this; ``None`` leaves a method out."""

    scope: ClassVar[Scope] = Scope.MESSAGE
    spf: str | None = "pass"
    dkim: str | None = "pass"
    dmarc: str | None = "pass"


@dataclass(frozen=True, slots=True)
class ClockSkew(Fault):
    """The clock that writes the Received field is ``seconds`` ahead (or behind, if negative)."""

    seconds: float = 30.0
    at: Side = Side.RELAY


@dataclass(frozen=True, slots=True)
class WrongEgress(Fault):
    """The relay's connections leave from ``address``, not from its configured egress."""

    address: str = "127.29.0.1"


@dataclass(frozen=True, slots=True)
class DelayNotice(Fault):
    """A delivery that fails for now makes a "delayed" DSN once the mail is ``after`` old."""

    scope: ClassVar[Scope] = Scope.MESSAGE
    after: float = 0.0


@dataclass(frozen=True, slots=True)
class ImapDown(Fault):
    """The mailbox's IMAP port is closed and its connections are cut."""

    scope: ClassVar[Scope] = Scope.MAILBOX


@dataclass(frozen=True, slots=True)
class ImapHung(Fault):
    """IMAP connections are accepted, and no connection, old or new, is answered."""

    scope: ClassVar[Scope] = Scope.MAILBOX
