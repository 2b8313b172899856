"""The words of the configuration file, as pydantic models; ``docs/config.md`` explains each.

Unknown keys are refused everywhere.
"""

from enum import StrEnum
from typing import Annotated, Literal

from pydantic import Field

from probes.contract.config.fields import (
    NO_LABELS,
    Address,
    Duration,
    FolderName,
    Host,
    IpAddress,
    Labels,
    MailboxRef,
    Model,
    Name,
    Pause,
    Percent,
    PerMinute,
    Port,
    SecretName,
    Selector,
    UserName,
    Version,
)


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
    labels: Labels = NO_LABELS
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
    sources: tuple[IpAddress, ...] = ()
    """Addresses of its host from which it looks outward, where NAT makes them others than the
    relay's egress."""
    labels: Labels = NO_LABELS
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
    labels: Labels = NO_LABELS
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
    labels: Labels = NO_LABELS
    """What it has in common with others."""


class Destination(Model):
    """Where mail goes on to from the relays: the MX hosts of a domain, or hosts by name."""

    name: Name
    """Its name, unique among destinations."""
    domain: Host | None = None
    """Domain whose MX hosts these are; or hosts, one of the two."""
    hosts: tuple[Host, ...] = ()
    """Hosts that take mail, by name or address."""
    port: Port = 25
    """TCP port on which they take it."""
    controls: tuple[Port, ...] = ()
    """TCP ports of the same hosts that are open, too, and that no filter of mail stands before."""
    reference: bool = False
    """A host to compare with, which is known to be up; no mail need go there."""
    labels: Labels = NO_LABELS
    """What it has in common with others: mx."""


class ProbeKind(StrEnum):
    """What an agent can look at from its relay's side."""

    EGRESS = "egress"
    QUEUE = "queue"


class CheckRule(Model):
    """Something that the agents on relays look at, again and again."""

    probe: ProbeKind
    """egress (port 25 of the destinations) or queue (the relay's own)."""
    relays: Selector = "all"
    """all, a name, a list of names, or labels that must all match; each needs an agent on it."""
    destinations: Selector = "all"
    """As for relays; for egress."""
    interval: Pause = 30.0
    """Time from one look to the next; at least 5s."""
    timeout: Duration = 10.0
    """How long one look may take: to a host for egress, at all of the queue for queue; at most
    interval."""


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
    destinations: tuple[Destination, ...] = ()
    """Where mail goes on to from the relays."""
    checks: tuple[CheckRule, ...] = ()
    """What is looked at from the relays' own side."""
