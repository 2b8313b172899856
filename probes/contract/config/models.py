"""The words of the configuration file, as pydantic models; ``docs/config.md`` explains each.

Unknown keys are refused everywhere. Durations are seconds once parsed, ratios lie in 0..1.
"""

from enum import StrEnum
from ipaddress import IPv4Address, IPv6Address
from typing import Annotated, Any, Literal
from unicodedata import category

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PlainSerializer,
    StringConstraints,
    ValidationError,
    ValidatorFunctionWrapHandler,
    WithJsonSchema,
    WrapValidator,
)

from probes.contract.names import LABEL_KEY_PATTERN, NAME_PATTERN
from probes.contract.units import (
    DURATION_PATTERN,
    PERCENT_PATTERN,
    parse_duration,
    parse_percent,
    write_duration,
    write_percent,
)

MIN_DURATION_S = 0.001
MAX_DURATION_S = 366 * 86400.0


def _duration(value: object) -> float:
    if not isinstance(value, str):
        raise ValueError("a duration with a unit, such as 500ms, 30s, 5m, 2h or 6d")
    seconds = parse_duration(value)
    if not MIN_DURATION_S <= seconds <= MAX_DURATION_S:
        raise ValueError("a duration from 1ms to 366d")
    return seconds


def _percent(value: object) -> float:
    if not isinstance(value, str):
        raise ValueError("a percentage from 0% to 100%, such as 99.5%")
    return parse_percent(value)


def _version(value: object) -> object:
    # Literal[1] alone lets 1.0 and true pass, which another reader of the file may not.
    if type(value) is not int:
        raise ValueError("1")
    return value


_JOINERS = "\u200c\u200d"


def _printable(value: str) -> str:
    # Such texts end in a line of a protocol, on a terminal, in a log. What cannot be seen there
    # could break the line, or say something else than it seems to.
    if not all(map(_can_be_read, value)) or not value.strip():
        raise ValueError("printable text on one line, and not only spaces")
    return value


def _can_be_read(sign: str) -> bool:
    # Python calls no space but one printable, and no joiner: there is hardly a line in Persian or
    # Hindi without those, and Japanese and French have spaces of their own.
    return sign.isprintable() or sign in _JOINERS or category(sign) == "Zs"


def _ip_address(value: object, handler: ValidatorFunctionWrapHandler) -> Any:
    # One problem for the field, not one per member of the union; and no address from a number.
    try:
        if isinstance(value, str | IPv4Address | IPv6Address):
            return handler(value)
    except ValidationError:
        pass
    raise ValueError("an IPv4 or IPv6 address, such as 203.0.113.11")


def _selector(value: object, handler: ValidatorFunctionWrapHandler) -> Any:
    try:
        chosen = handler(value)
    except ValidationError:
        chosen = None
    if not chosen:
        raise ValueError("all, a name, a list of names, or labels such as {pool: mx}")
    return chosen


Duration = Annotated[
    float,
    BeforeValidator(_duration),
    PlainSerializer(write_duration, return_type=str, when_used="json"),
    WithJsonSchema({"type": "string", "pattern": DURATION_PATTERN, "examples": ["30s", "5m"]}),
]
"""Seconds; written with a unit."""

Percent = Annotated[
    float,
    BeforeValidator(_percent),
    PlainSerializer(write_percent, return_type=str, when_used="json"),
    WithJsonSchema({"type": "string", "pattern": PERCENT_PATTERN, "examples": ["99.5%"]}),
]
"""A ratio; written as a percentage."""

Version = Annotated[Literal[1], BeforeValidator(_version)]
"""The version of a file's format; there is one so far."""

# For editors and other programs. What is printable besides this depends on a version of Unicode.
TEXT_PATTERN = r"^ *[^\u0000-\u0020\u007f-\u009f][^\u0000-\u001f\u007f-\u009f]*$"
Text = Annotated[
    str,
    Field(min_length=1, json_schema_extra={"pattern": TEXT_PATTERN}),
    AfterValidator(_printable),
]
"""One line that a person can read whole: in any language, but nothing that cannot be printed."""
Name = Annotated[str, StringConstraints(pattern=NAME_PATTERN)]
LabelKey = Annotated[str, StringConstraints(pattern=LABEL_KEY_PATTERN)]
LabelValue = Annotated[Text, StringConstraints(max_length=128)]
Labels = dict[LabelKey, LabelValue]
HOST_PATTERN = r"^[A-Za-z0-9._:-]{1,253}$"
Host = Annotated[str, StringConstraints(pattern=HOST_PATTERN)]
"""A host name or an IP address."""
Port = Annotated[int, Field(ge=1, le=65535, strict=True)]
# A dot-atom and a domain (RFC 5321 section 4.1.2) in ASCII: what every relay takes.
ADDRESS_PATTERN = (
    r"^[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+(\.[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+)*"
    r"@[A-Za-z0-9]([A-Za-z0-9-]*[A-Za-z0-9])?(\.[A-Za-z0-9]([A-Za-z0-9-]*[A-Za-z0-9])?)*$"
)
Address = Annotated[str, StringConstraints(pattern=ADDRESS_PATTERN, max_length=318)]
SECRET_NAME_PATTERN = r"^[a-z0-9][a-z0-9._-]{0,62}(/[a-z0-9][a-z0-9._-]{0,62})?$"  # noqa: S105 - a pattern
SecretName = Annotated[str, StringConstraints(pattern=SECRET_NAME_PATTERN)]
"""``name`` for the operator's own secrets, ``customer/name`` for a customer's."""
MAILBOX_REF_PATTERN = r"^[a-z0-9][a-z0-9._-]{0,62}/[a-z0-9][a-z0-9._-]{0,62}$"
MailboxRef = Annotated[str, StringConstraints(pattern=MAILBOX_REF_PATTERN)]
"""``customer/mailbox``."""
FilePath = Annotated[Text, StringConstraints(max_length=4096)]
UserName = Annotated[Text, StringConstraints(max_length=320)]
FolderName = Annotated[Text, StringConstraints(max_length=1024)]
PerMinute = Annotated[float, Field(gt=0, le=1_000_000, strict=True)]


class Model(BaseModel):
    """The base of every part of the configuration: frozen, unknown keys refused."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)


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


IpAddress = Annotated[IPv4Address | IPv6Address, WrapValidator(_ip_address)]


class Defaults(Model):
    """What holds for every canary whose rule does not say otherwise."""

    interval: Duration = 30.0
    """Time between two canaries through one relay (of one path, with per: path)."""
    deadline: Duration = 60.0
    """A canary that takes longer is late."""
    loss_after: Duration = 1800.0
    """A canary that takes longer is lost, until it turns up."""
    remember: Duration = 518400.0
    """How long a canary is recognised and a second copy of it is a duplicate."""


class Timeouts(Model):
    """How long each part of a submission may take."""

    connect: Duration = 10.0
    """TCP connect, per address."""
    banner: Duration = 30.0
    """The server's greeting."""
    command: Duration = 30.0
    """The reply to each command, and the TLS handshake."""
    accept: Duration = 60.0
    """The reply to the final dot."""


class Auth(Model):
    """Credentials by reference: the agent resolves the secret under its own policy."""

    user: UserName
    """User name."""
    secret: SecretName
    """Name of the secret that holds the password; never the password itself."""


class Relay(Model):
    """One relay node."""

    name: Name
    """Its name, unique among relays."""
    host: Host
    """Host name or address that takes the canaries."""
    port: Port = 25
    """TCP port."""
    tls: RelayTls = RelayTls.OPPORTUNISTIC
    """none, opportunistic (STARTTLS if offered), starttls (required) or implicit."""
    auth: Auth | None = None
    """Credentials, where the relay wants them."""
    source_address: IpAddress | None = None
    """Local address from which the agent connects to this relay."""
    received_as: tuple[Host, ...] = ()
    """Names under which it shows in Received fields, besides host."""
    egress: tuple[IpAddress, ...] = ()
    """Addresses that the relay's mail leaves from; no two relays share one."""
    capacity: PerMinute | None = None
    """Messages a minute that the relay can carry."""
    max_per_minute: PerMinute = 120.0
    """Canaries a minute that the relay may be given by all agents together."""
    rotation: Rotation = Rotation.IN
    """in, out (drained) or deploying; canaries fly in every state."""
    labels: Labels = {}
    """What it has in common with others: provider, region, zone, pool."""


class Sender(Model):
    """Who the canaries of an agent come from, and where their bounces go."""

    address: Address
    """Envelope sender and From address."""
    helo: Host
    """Name that the agent gives in EHLO."""
    bounces: MailboxRef | None = None
    """Mailbox, as customer/mailbox, in which delivery status notifications arrive."""


class Agent(Model):
    """A vantage point: sends canaries and reads back its own, or looks outward from a relay."""

    name: Name
    """Its name, unique among agents."""
    sender: Sender | None = None
    """Absent for an agent that sends no canaries."""
    on_relay: Name | None = None
    """The relay on which the agent sits and from which it looks outward."""
    labels: Labels = {}
    """Where it stands: site, isp."""


class Imap(Model):
    """IMAP access to a mailbox."""

    host: Host
    """Host name or address."""
    port: Port = 993
    """TCP port."""
    tls: ImapTls = ImapTls.IMPLICIT
    """implicit or none."""
    user: UserName
    """User name."""
    secret: SecretName
    """Name of the secret with the password or token: customer/name, the customer's own."""
    auth: Literal["login", "xoauth2"] = "login"
    """login sends the secret as a password, xoauth2 as an access token."""
    max_commands_per_minute: PerMinute = 600.0
    """IMAP commands a minute that one agent may spend on the mailbox."""


class Folders(Model):
    """The folders in which a canary may turn up."""

    inbox: FolderName = "INBOX"
    """Where mail arrives."""
    junk: FolderName | None = None
    """Where the provider files what it takes for spam."""


class Mailbox(Model):
    """Where canaries come home."""

    name: Name
    """Its name, unique within the customer."""
    address: Address
    """The address that canaries are sent to; no two mailboxes share one."""
    imap: Imap
    """How the agents read it."""
    folders: Folders = Folders()
    """Its folders."""
    authserv_id: Host | None = None
    """The authserv-id (RFC 8601) whose Authentication-Results are believed."""
    max_per_minute: PerMinute = 30.0
    """Canaries a minute that the mailbox may be given by all agents together."""
    labels: Labels = {}
    """What it has in common with others: mx."""


class Objective(Model):
    """What the customer was promised: a share of canaries delivered within a time."""

    delivered: Percent = 0.995
    """Share of canaries."""
    within: Duration = 60.0
    """Time from sending to arrival."""


class Quota(Model):
    """What a customer may use of the monitor; only an operator sets it."""

    paths: Annotated[int, Field(ge=1, strict=True)] = 500
    """Paths."""
    per_minute: PerMinute = 200.0
    """Canaries a minute."""


Selector = Annotated[Literal["all"] | Name | tuple[Name, ...] | Labels, WrapValidator(_selector)]
"""``all``, one name, a list of names, or labels that must all match."""


class Rule(Model):
    """A selection of relays, agents and mailboxes between which canaries fly."""

    relays: Selector = "all"
    """all, a name, a list of names, or labels that must all match."""
    agents: Selector = "all"
    """As for relays; all means every agent that has a sender."""
    mailboxes: Selector = "all"
    """As for relays; of the customer's own mailboxes."""
    interval: Duration | None = None
    """Per relay, rotating over the (agent, mailbox) pairs; per path with per: path."""
    deadline: Duration | None = None
    """Instead of the default."""
    loss_after: Duration | None = None
    """Instead of the default."""
    per: Literal["relay", "path"] = "relay"
    """Whether each relay or each path has the interval."""


class Customer(Model):
    """A tenant: one item of customers, or one file in customers.d."""

    name: Name
    """Its name, unique among customers."""
    objective: Objective = Objective()
    """What it was promised."""
    quota: Quota = Quota()
    """What it may use."""
    mailboxes: tuple[Mailbox, ...] = ()
    """Its mailboxes."""
    canaries: tuple[Rule, ...] = ()
    """Which canaries fly."""
    labels: Labels = {}
    """What it has in common with others."""


class Config(Model):
    """All that mailcanary measures."""

    version: Version
    """Version of the file's format."""
    defaults: Defaults = Defaults()
    """What holds where a rule does not say otherwise."""
    timeouts: Timeouts = Timeouts()
    """How long each part of a submission may take."""
    relays: tuple[Relay, ...] = ()
    """The relay nodes."""
    agents: tuple[Agent, ...] = ()
    """The vantage points."""
    customers: tuple[Customer, ...] = ()
    """The tenants; more may follow in customers.d/*.yaml."""
