"""What an IMAP connection is asked for, what it gives, and how it says that it failed."""

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from ipaddress import IPv4Address, IPv6Address
from typing import Literal

from probes.contract.config.models import ImapTls
from probes.contract.errors import MailcanaryError
from probes.contract.secret import Secret
from probes.contract.stages import Reason, Stage

MAX_UID = 4_294_967_294
"""The open end of a UID range. With ``*`` a server returns its last message although the UID lies
below the range (RFC 3501 section 6.4.8); 4294967295 is what a server may use for ``*`` inside."""

AddressPolicy = Callable[[IPv4Address | IPv6Address], bool]
"""Whether a resolved address may be connected to."""


class ImapStage(StrEnum):
    """The steps after a login, beside the ones of :class:`Stage` up to it."""

    CAPABILITY = "capability"
    SELECT = "select"
    CHECK = "check"
    FETCH = "fetch"
    IDLE = "idle"
    STORE = "store"
    EXPUNGE = "expunge"
    SEARCH = "search"
    QUOTA = "quota"
    BETWEEN = "between"
    """No command was under way: the server ended the connection, or spoke nonsense, by itself."""
    LOGOUT = "logout"


Step = Stage | ImapStage


class ImapFailure(MailcanaryError):  # noqa: N818 - a failure of the server's, not of ours
    """A step of the IMAP connection failed: which one, why, and a text for a person.

    ``Reason.REFUSED`` after the connect is the server's tagged NO (or BYE for a greeting). The
    text never holds the secret.
    """

    def __init__(self, stage: Step, reason: Reason, detail: str) -> None:
        self.stage = stage
        self.reason = reason
        self.detail = detail
        super().__init__(f"{stage}: {reason}: {detail}")


class ProtocolError(Exception):
    """The server sent what IMAP does not allow; becomes an :class:`ImapFailure`."""


@dataclass(frozen=True, slots=True)
class ImapTarget:
    """One account on one IMAP server. ``auth`` ``xoauth2`` sends the secret as access token.

    ``connect_timeout_s`` bounds the name lookup, the connect to each address and the TLS handshake,
    each alone; ``command_timeout_s`` the greeting and every command, to its tagged reply.
    """

    host: str
    port: int
    tls: ImapTls
    user: str
    secret: Secret
    auth: Literal["login", "xoauth2"] = "login"
    ca_file: str | None = None
    verify: bool = True
    connect_timeout_s: float = 10.0
    command_timeout_s: float = 30.0


@dataclass(frozen=True, slots=True)
class FolderState:
    """The selected folder as the server last told: ``uidnext`` is a lower bound of the next UID."""

    uidvalidity: int
    uidnext: int
    exists: int


@dataclass(frozen=True, slots=True)
class Message:
    """A message that holds at least one of the header fields asked for.

    ``header`` is those fields' raw lines; of a header beyond 64 KiB only the beginning.
    ``internaldate_ns`` is nanoseconds since the Unix epoch, None when the server gave no date.
    The message was in the folder at ``there_ns`` on the session's clock: it had been announced.
    """

    uid: int
    internaldate_ns: int | None
    header: bytes
    there_ns: int


@dataclass(frozen=True, slots=True)
class Batch:
    """What one check found, in the order of the UIDs, and where the next one continues.

    ``complete`` means that every message which the folder held when the check began lies below
    ``next_uid``. Otherwise fetch again from ``next_uid``, at once.

    A message that is not in this batch, nor below it, was not in the folder at ``asked_ns`` on the
    session's clock.
    """

    messages: tuple[Message, ...]
    next_uid: int
    complete: bool
    asked_ns: int
