"""Where along the way a canary's journey can fail, and the words for why."""

from enum import StrEnum


class _Words(StrEnum):
    """A list of words to which a newer version may add: one that is not known is ``other``.

    Only reading gives ``other``, nobody writes it. The word itself stays in the event's bytes.
    """

    @classmethod
    def _missing_(cls, value: object) -> "_Words | None":
        return cls("other") if isinstance(value, str) else None


class Stage(_Words):
    """The steps of a canary's journey, in order.

    ``RESOLVE`` to ``ACCEPT`` lie between agent and relay (RFC 5321 section 3), each timed alone.
    ``TRANSIT`` means that the relay accepted and the mailbox has not seen it. The ``EGRESS_*``
    stages lie between the relay and the next host, and are claimed only on evidence from the relay
    itself: a check, its queue, a DSN. ``QUEUE`` is the reading of the queue.
    """

    RESOLVE = "resolve"
    CONNECT = "connect"
    BANNER = "banner"
    EHLO = "ehlo"
    TLS = "tls"
    AUTH = "auth"
    MAIL = "mail"
    RCPT = "rcpt"
    DATA = "data"
    ACCEPT = "accept"
    TRANSIT = "transit"
    EGRESS_RESOLVE = "egress-resolve"
    EGRESS_CONNECT = "egress-connect"
    EGRESS_BANNER = "egress-banner"
    EGRESS_EHLO = "egress-ehlo"
    EGRESS_TLS = "egress-tls"
    EGRESS_AUTH = "egress-auth"
    EGRESS_MAIL = "egress-mail"
    EGRESS_RCPT = "egress-rcpt"
    EGRESS_DATA = "egress-data"
    EGRESS_ACCEPT = "egress-accept"
    QUEUE = "queue"
    OTHER = "other"


SUBMISSION_STAGES = (
    Stage.RESOLVE,
    Stage.CONNECT,
    Stage.BANNER,
    Stage.EHLO,
    Stage.TLS,
    Stage.AUTH,
    Stage.MAIL,
    Stage.RCPT,
    Stage.DATA,
    Stage.ACCEPT,
)
"""The stages of one submission, in the order in which they happen."""


class Reason(_Words):
    """Why a stage failed; a small fixed set, fit for a metric label; a text beside it says more."""

    TIMEOUT = "timeout"
    REFUSED = "refused"
    RESET = "reset"
    CLOSED = "closed"
    UNREACHABLE = "unreachable"
    NO_ADDRESS = "no-address"
    PROTOCOL = "protocol"
    TLS_NOT_OFFERED = "tls-not-offered"
    TLS_HANDSHAKE = "tls-handshake"
    CERTIFICATE = "certificate"
    AUTH_NOT_OFFERED = "auth-not-offered"
    CREDENTIALS = "credentials"
    SECRET = "secret"  # noqa: S105 - the word for "the secret could not be used", not a secret
    POLICY = "policy"
    REPLY_4XX = "reply-4xx"
    REPLY_5XX = "reply-5xx"
    RELAY_CAP = "relay-cap"
    AGENT_CAP = "agent-cap"
    MAILBOX_CAP = "mailbox-cap"
    STALE = "stale"
    INTERRUPTED = "interrupted"
    LOCAL = "local"
    SILENT = "silent"
    """A connection came about, and nobody spoke."""
    INTERCEPTED = "intercepted"
    """Something in between answers in the place of the host."""
    FILTERED = "filtered"
    """The mail port fails towards everywhere while other ports work."""
    NETWORK = "network"
    """Everything fails towards everywhere."""
    DESTINATION = "destination"
    """Single destinations fail while others work."""
    GREYLISTED = "greylisted"
    """Put off at first, as is done to those that are not known (RFC 6647)."""
    OTHER = "other"


class Result(_Words):
    """How one submission attempt ended."""

    ACCEPTED = "accepted"
    """The relay answered 250 to the final dot."""
    REJECTED = "rejected"
    """A 5xx reply."""
    DEFERRED = "deferred"
    """A 4xx reply."""
    UNREACHABLE = "unreachable"
    """No TCP connection to the relay."""
    FAILED = "failed"
    """TLS, protocol or authentication; the mail was not handed over."""
    UNSENT = "unsent"
    """A cap, a policy or a fault of our own ended it before the mail was handed over."""
    UNKNOWN = "unknown"
    """No way to tell whether the relay has it: the reply to the final dot was lost."""
    OTHER = "other"
    """A word of a newer version: it ended, and this version cannot tell how."""
