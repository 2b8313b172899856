"""The words of the configuration file, as pydantic models; ``docs/config.md`` explains each.

Unknown keys are refused everywhere. Durations are seconds once parsed, ratios lie in 0..1.
"""

from enum import StrEnum
from ipaddress import IPv4Address, IPv6Address
from typing import Annotated, Literal

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    StringConstraints,
    WithJsonSchema,
)

from probes.contract.names import LABEL_KEY_PATTERN, NAME_PATTERN
from probes.contract.units import DURATION_PATTERN, PERCENT_PATTERN, parse_duration, parse_percent


def _duration(value: object) -> float:
    if not isinstance(value, str):
        raise ValueError("a duration with a unit, such as 500ms, 30s, 5m, 2h or 6d")
    seconds = parse_duration(value)
    if seconds <= 0:
        raise ValueError("a duration longer than 0s")
    return seconds


def _percent(value: object) -> float:
    if not isinstance(value, str):
        raise ValueError("a percentage from 0% to 100%, such as 99.5%")
    return parse_percent(value)


Duration = Annotated[
    float,
    BeforeValidator(_duration),
    WithJsonSchema({"type": "string", "pattern": DURATION_PATTERN, "examples": ["30s", "5m"]}),
]
"""Seconds; written with a unit."""

Percent = Annotated[
    float,
    BeforeValidator(_percent),
    WithJsonSchema({"type": "string", "pattern": PERCENT_PATTERN, "examples": ["99.5%"]}),
]
"""A ratio; written as a percentage."""

Name = Annotated[str, StringConstraints(pattern=NAME_PATTERN)]
LabelKey = Annotated[str, StringConstraints(pattern=LABEL_KEY_PATTERN)]
LabelValue = Annotated[str, StringConstraints(min_length=1, max_length=128)]
Labels = dict[LabelKey, LabelValue]
Host = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9._:-]{1,253}$")]
Port = Annotated[int, Field(ge=1, le=65535, strict=True)]
Address = Annotated[
    str, StringConstraints(pattern=r"^[^@\s<>\x00-\x1f]{1,64}@[^@\s<>\x00-\x1f]{1,253}$")
]
SecretName = Annotated[
    str,
    StringConstraints(pattern=r"^[a-z0-9][a-z0-9._-]{0,62}(/[a-z0-9][a-z0-9._-]{0,62})?$"),
]
"""``name`` for the operator's own secrets, ``customer/name`` for a customer's."""
MailboxRef = Annotated[
    str,
    StringConstraints(pattern=r"^[a-z0-9][a-z0-9._-]{0,62}/[a-z0-9][a-z0-9._-]{0,62}$"),
]
"""``customer/mailbox``."""
PerMinute = Annotated[float, Field(gt=0, le=1_000_000, strict=True)]


class Model(BaseModel):
    """The base of every part of the configuration: frozen, unknown keys refused."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class RelayTls(StrEnum):
    """How a relay's connection is encrypted (RFC 3207, RFC 8314)."""

    NONE = "none"
    OPPORTUNISTIC = "opportunistic"
    STARTTLS = "starttls"
    IMPLICIT = "implicit"


class ImapTls(StrEnum):
    """How a mailbox's connection is encrypted. aioimaplib speaks no STARTTLS; nor do we."""

    NONE = "none"
    IMPLICIT = "implicit"


class Rotation(StrEnum):
    """Whether a relay is meant to carry mail now."""

    IN = "in"
    OUT = "out"
    DEPLOYING = "deploying"


IpAddress = IPv4Address | IPv6Address


class Defaults(Model):
    """What holds for every canary whose rule does not say otherwise."""

    interval: Duration = 30.0
    deadline: Duration = 60.0
    loss_after: Duration = 1800.0
    remember: Duration = 518400.0


class Timeouts(Model):
    """How long each part of a submission may take; ``accept`` is the reply to the final dot."""

    connect: Duration = 10.0
    banner: Duration = 30.0
    command: Duration = 30.0
    accept: Duration = 60.0


class Auth(Model):
    """Credentials by reference: the agent resolves ``secret`` under its own policy."""

    user: Annotated[str, StringConstraints(min_length=1, max_length=320)]
    secret: SecretName


class Relay(Model):
    """One relay node."""

    name: Name
    host: Host
    port: Port = 25
    tls: RelayTls = RelayTls.OPPORTUNISTIC
    auth: Auth | None = None
    source_address: IpAddress | None = None
    egress: tuple[IpAddress, ...] = ()
    capacity: PerMinute | None = None
    max_per_minute: PerMinute = 120.0
    rotation: Rotation = Rotation.IN
    labels: Labels = {}


class Sender(Model):
    """Who the canaries of an agent come from, and where their bounces go."""

    address: Address
    helo: Host
    bounces: MailboxRef | None = None


class Agent(Model):
    """A vantage point: sends canaries and reads back its own, or looks outward from a relay."""

    name: Name
    sender: Sender | None = None
    on_relay: Name | None = None
    labels: Labels = {}


class Imap(Model):
    """IMAP access to a mailbox. ``auth`` ``xoauth2`` takes the secret as an access token."""

    host: Host
    port: Port = 993
    tls: ImapTls = ImapTls.IMPLICIT
    user: Annotated[str, StringConstraints(min_length=1, max_length=320)]
    secret: SecretName
    auth: Literal["login", "xoauth2"] = "login"
    max_commands_per_minute: PerMinute = 600.0


class Folders(Model):
    """The folders in which a canary may turn up."""

    inbox: Annotated[str, StringConstraints(min_length=1)] = "INBOX"
    junk: Annotated[str, StringConstraints(min_length=1)] | None = None


class Mailbox(Model):
    """Where canaries come home."""

    name: Name
    address: Address
    imap: Imap
    folders: Folders = Folders()
    authserv_id: Host | None = None
    max_per_minute: PerMinute = 30.0
    labels: Labels = {}


class Objective(Model):
    """What the customer was promised: a share of canaries delivered within a time."""

    delivered: Percent = 0.995
    within: Duration = 60.0


class Quota(Model):
    """What a customer may use of the monitor; only an operator sets it."""

    paths: Annotated[int, Field(ge=1, strict=True)] = 500
    per_minute: PerMinute = 200.0


Selector = Literal["all"] | Name | tuple[Name, ...] | Labels
"""``all``, one name, a list of names, or labels that must all match."""


class Rule(Model):
    """A selection of relays, agents and mailboxes between which canaries fly.

    ``interval`` is per relay and rotates over the (agent, mailbox) pairs; with ``per: path`` every
    path has its own.
    """

    relays: Selector = "all"
    agents: Selector = "all"
    mailboxes: Selector = "all"
    interval: Duration | None = None
    deadline: Duration | None = None
    loss_after: Duration | None = None
    per: Literal["relay", "path"] = "relay"


class Customer(Model):
    """A tenant."""

    name: Name
    objective: Objective = Objective()
    quota: Quota = Quota()
    mailboxes: tuple[Mailbox, ...] = ()
    canaries: tuple[Rule, ...] = ()
    labels: Labels = {}


class Config(Model):
    """All that is measured."""

    version: Literal[1]
    defaults: Defaults = Defaults()
    timeouts: Timeouts = Timeouts()
    relays: tuple[Relay, ...] = ()
    agents: tuple[Agent, ...] = ()
    customers: tuple[Customer, ...] = ()
