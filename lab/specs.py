"""What an estate is made of, as plain data."""

import ssl
from collections.abc import Mapping
from dataclasses import dataclass, field

from probes.contract.config.models import RelayTls, Rotation


@dataclass(frozen=True, slots=True)
class Retry:
    """When a relay tries again: after ``first`` seconds, then ``factor`` times as long each time.

    Much faster than a real relay's minutes, so that a demo lasts a minute and not an evening.
    """

    first: float = 0.5
    factor: float = 1.5
    longest: float = 2.0

    def delay(self, attempts: int) -> float:
        """Seconds to wait after that many attempts."""
        return min(self.longest, self.first * self.factor ** min(max(attempts - 1, 0), 64))


@dataclass(frozen=True, slots=True, kw_only=True)
class RelaySpec:
    """One relay node. Times are seconds.

    ``tls_context`` is a server context, needed unless ``tls`` is ``none``. ``users`` maps login to
    password; when there are any, mail is taken only after AUTH. ``delay_warning`` is the age at
    which a deferred mail makes a "delayed" DSN, ``lifetime`` the age at which it is given up.
    """

    name: str
    hostname: str = ""
    labels: Mapping[str, str] = field(default_factory=dict)
    capacity: float | None = None
    max_per_minute: float = 100_000.0
    rotation: Rotation = Rotation.IN
    tls: RelayTls = RelayTls.NONE
    tls_context: ssl.SSLContext | None = field(default=None, repr=False)
    users: Mapping[str, str] = field(default_factory=dict, repr=False)
    connect_timeout: float = 1.0
    reply_timeout: float = 30.0
    retry: Retry = Retry()
    concurrency: int = 20
    delay_warning: float | None = None
    lifetime: float = 432_000.0

    def __post_init__(self) -> None:
        if self.tls is not RelayTls.NONE and self.tls_context is None:
            raise ValueError(f"relay {self.name}: tls {self.tls} needs a tls_context")


@dataclass(frozen=True, slots=True, kw_only=True)
class MailboxSpec:
    """A mailbox; ``name`` is ``customer/mailbox``. What is left empty gets a telling default."""

    name: str
    address: str = ""
    user: str = ""
    password: str = field(default="", repr=False)
    authserv_id: str = ""
    inbox: str = "INBOX"
    junk: str = "Junk"
    labels: Mapping[str, str] = field(default_factory=dict)
    max_per_minute: float = 100_000.0
    tls_context: ssl.SSLContext | None = field(default=None, repr=False)
    """A server context for implicit TLS; ``None`` serves IMAP in the clear."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AgentSpec:
    """A vantage point: its sender address is that of a bounce mailbox that the estate adds."""

    name: str
    labels: Mapping[str, str] = field(default_factory=dict)


def as_relay(spec: RelaySpec | str) -> RelaySpec:
    """A relay's spec; a mere name gets all defaults."""
    return RelaySpec(name=spec) if isinstance(spec, str) else spec


def as_mailbox(spec: MailboxSpec | str) -> MailboxSpec:
    """A mailbox's spec; a mere name gets all defaults."""
    return MailboxSpec(name=spec) if isinstance(spec, str) else spec


def as_agent(spec: AgentSpec | str) -> AgentSpec:
    """An agent's spec; a mere name gets all defaults."""
    return AgentSpec(name=spec) if isinstance(spec, str) else spec
