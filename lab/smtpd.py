"""The SMTP server that relays and destinations share: aiosmtpd with DSN and with faults.

What it adds to aiosmtpd 1.4: the DSN extension (RFC 3461; aiosmtpd answers its parameters with
555), a look at the fault board before every reply, STARTTLS that works on any event loop, enhanced
status codes, and an orderly end.
"""

import asyncio
import contextlib
import re
import ssl
from collections import defaultdict
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, NoReturn, Protocol

from lab.extras import missing_extra
from lab.received import Client, TlsUsed
from probes.contract.stages import Stage

try:
    from aiosmtpd.smtp import SMTP, AuthResult, Envelope, Session
except ImportError as error:
    raise missing_extra("aiosmtpd") from error

COMMAND_LIMIT = 2048  # RFC 3461 lets ENVID and ORCPT grow a command by 600 octets
_MAIL_DSN = re.compile(r"\s+(RET|ENVID)=(\S+)", re.IGNORECASE)
_RCPT_DSN = re.compile(r"\s+(NOTIFY|ORCPT)=(\S+)", re.IGNORECASE)


@dataclass(slots=True)
class Recipient:
    """A recipient that was accepted, with its DSN parameters; ``notify`` ``None`` is not given."""

    address: str
    notify: frozenset[str] | None = None
    orcpt: str | None = None


@dataclass(slots=True)
class Transaction:
    """One mail transaction (RFC 5321 section 3.3) as far as it has come."""

    sender: str
    ret: str | None = None
    envid: str | None = None
    recipients: list[Recipient] = field(default_factory=list)


class DropConnection(Exception):  # noqa: N818 - an instruction, not an error
    """Raised by a policy: cut the connection in place of a reply."""


class Policy(Protocol):
    """What a server does with a dialogue; relays and destinations each have their own."""

    async def before(
        self, stage: Stage, client: Client, deal: Transaction | None, recipient: str | None
    ) -> str | None:
        """Called before each reply: may wait, return a refusing reply, or raise DropConnection."""

    async def message(self, client: Client, deal: Transaction, content: bytes) -> str:
        """Takes the message; returns the reply to the final dot."""


@dataclass(frozen=True, slots=True)
class SmtpdOptions:
    """How a server presents itself. ``users`` maps login to password; empty offers no AUTH."""

    hostname: str
    dsn: bool = False
    starttls: ssl.SSLContext | None = None
    require_starttls: bool = False
    users: Mapping[str, str] = field(default_factory=dict)


class QuietSession(Session):
    """A session without aiosmtpd's warning at every login."""

    login_data = None


def take_parameters(pattern: re.Pattern[str], argument: str) -> tuple[str, dict[str, str]]:
    """Split the parameters that ``pattern`` names off the argument of MAIL or RCPT.

    Raises:
        ValueError: when one of them is given twice.
    """
    path, close, tail = argument.partition(">")
    found: dict[str, str] = {}
    for match in pattern.finditer(tail):
        name = match[1].upper()
        if name in found:
            raise ValueError(f"{name} given twice")
        found[name] = match[2]
    return path + close + pattern.sub("", tail), found


def parse_notify(text: str | None) -> frozenset[str] | None:
    """The NOTIFY parameter (RFC 3461 section 4.1).

    Raises:
        ValueError: when it is neither NEVER nor a list of SUCCESS, FAILURE, DELAY.
    """
    if text is None:
        return None
    words = frozenset(text.upper().split(","))
    if words != {"NEVER"} and not words <= {"SUCCESS", "FAILURE", "DELAY"}:
        raise ValueError(f"NOTIFY={text}")
    return words


def parse_ret(text: str | None) -> str | None:
    """The RET parameter (RFC 3461 section 4.3).

    Raises:
        ValueError: when it is neither FULL nor HDRS.
    """
    if text is None:
        return None
    if text.upper() not in ("FULL", "HDRS"):
        raise ValueError(f"RET={text}")
    return text.upper()


def decode_xtext(text: str) -> str:
    """Undo the xtext encoding of RFC 3461 section 4."""
    return re.sub(r"\+([0-9A-F]{2})", lambda match: chr(int(match[1], 16)), text)


class LabSmtp(SMTP):
    """One connection. ``on_connected`` gets the transport and the task that serves it."""

    # aiosmtpd declares these optional; once connected they are there. The two streams' inner parts
    # have to be exchanged for STARTTLS.
    session: Any
    transport: Any
    _reader: Any
    _writer: Any
    _original_transport: Any
    _tls_protocol: Any
    _handler_coroutine: Any
    _timeout_handle: Any

    def __init__(
        self,
        policy: Policy,
        options: SmtpdOptions,
        on_connected: Callable[[asyncio.WriteTransport, asyncio.Task[None]], None],
    ) -> None:
        self._policy = policy
        self._options = options
        self._on_connected = on_connected
        self._deal: Transaction | None = None
        self._parameters: dict[str, str] = {}
        super().__init__(
            self,
            hostname=options.hostname,
            ident="ESMTP mailcanary lab",
            tls_context=options.starttls,
            require_starttls=options.require_starttls,
            auth_require_tls=False,
            authenticator=self._check_login,
            loop=asyncio.get_running_loop(),
        )
        # aiosmtpd keeps one table for all its connections and clears it at each new one.
        self.command_size_limits = defaultdict(lambda: COMMAND_LIMIT)

    def _create_session(self) -> Session:
        return QuietSession(self.loop)

    def connection_made(self, transport: Any) -> None:
        first = self._handler_coroutine is None
        super().connection_made(transport)
        if first:
            self._on_connected(transport, self._handler_coroutine)

    def connection_lost(self, error: Exception | None) -> None:
        # uvloop's TLS transport does not know by itself that it is closed; its writer would warn.
        self._writer.close()
        super().connection_lost(error)

    async def push(self, status: Any) -> None:
        await super().push(status)
        if isinstance(status, str) and status.startswith("421"):
            self.transport.close()

    def _client(self) -> Client:
        peer = self.session.peer
        return Client(
            helo=self.session.host_name or "unknown",
            address=peer[0] if peer else "unknown",
            extended=bool(self.session.extended_smtp),
            tls=self._tls_used(),
            authenticated=bool(self.session.authenticated),
        )

    def _tls_used(self) -> TlsUsed | None:
        used = self.transport.get_extra_info("ssl_object") if self.transport else None
        if used is None:
            return None
        name, _protocol, bits = used.cipher() or ("unknown", "", 0)
        return TlsUsed(used.version() or "unknown", name, bits)

    async def _gate(self, stage: Stage, recipient: str | None = None) -> str | None:
        try:
            return await self._policy.before(stage, self._client(), self._deal, recipient)
        except DropConnection:
            return await self._hang_up()

    async def _hang_up(self) -> NoReturn:
        (self._original_transport or self.transport).abort()
        # That the connection is lost ends this task, but not if it is lost during a handshake.
        self._handler_coroutine.cancel()
        await self.loop.create_future()
        raise AssertionError("a lost connection ends its task")

    async def _handle_client(self) -> None:
        try:
            reply = await self._gate(Stage.BANNER)
            if reply is None:
                await super()._handle_client()
            else:
                await self.push(reply)
        finally:
            self._writer.close()  # a client that only hangs up leaves the connection half open
            self._timeout_handle.cancel()

    async def smtp_EHLO(self, hostname: str) -> None:  # noqa: N802 - aiosmtpd's naming
        reply = await self._gate(Stage.EHLO)
        await (super().smtp_EHLO(hostname) if reply is None else self.push(reply))

    async def handle_EHLO(  # noqa: N802 - aiosmtpd's naming
        self, _server: SMTP, session: Session, _envelope: Envelope, name: str, lines: list[str]
    ) -> list[str]:
        session.host_name = name
        self._deal = None
        keep = [
            line for line in lines[:-1] if self._options.users or not line.startswith("250-AUTH ")
        ]
        extra = ["250-DSN"] if self._options.dsn else []
        return [*keep, *extra, "250 ENHANCEDSTATUSCODES"]

    async def smtp_STARTTLS(self, arg: str) -> None:  # noqa: N802 - aiosmtpd's naming
        if arg or self.tls_context is None or self._tls_protocol:
            await super().smtp_STARTTLS(arg)
            return
        await self.push("220 2.0.0 Ready to start TLS")
        # RFC 3207 section 4.2: what came in the clear behind the command is dropped.
        self._reader._buffer.clear()  # noqa: SLF001 - a stream offers no other way
        self._original_transport = self.transport
        try:
            # aiosmtpd builds the TLS layer from asyncio's inner parts, which uvloop does without.
            secure: Any = await self.loop.start_tls(
                self.transport, self, self.tls_context, server_side=True
            )
        except OSError:  # ssl.SSLError is one: the client's TLS did not work out
            await self._hang_up()
        if secure is None:  # the connection was lost just as the handshake ended
            await self._hang_up()
        self._start_over(secure)

    def _start_over(self, secure: Any) -> None:
        # RFC 3207 section 4.2: what was learnt before TLS is forgotten.
        self._tls_protocol = secure
        self._reader._transport = secure  # noqa: SLF001 - as above
        self._writer._transport = secure  # noqa: SLF001 - as above
        self.transport = secure
        peer = self.session.peer
        self.session = self._create_session()
        self.session.peer = peer
        self.session.ssl = {"ssl_object": secure.get_extra_info("ssl_object")}
        self._deal = None
        self.envelope = self._create_envelope()

    def _check_login(
        self, _server: SMTP, _session: Session, _envelope: Envelope, _mechanism: str, data: Any
    ) -> AuthResult:
        login = data.login.decode("utf-8", "replace")
        wanted = self._options.users.get(login)
        return AuthResult(
            success=wanted is not None and data.password == wanted.encode(), handled=False
        )

    async def _with_dsn(
        self,
        pattern: re.Pattern[str],
        argument: str | None,
        go_on: Callable[[str | None], Awaitable[None]],
    ) -> None:
        self._parameters = {}
        if argument is not None and self._options.dsn:
            try:
                argument, self._parameters = take_parameters(pattern, argument)
                parse_notify(self._parameters.get("NOTIFY"))
                parse_ret(self._parameters.get("RET"))
            except ValueError as problem:
                await self.push(f"501 5.5.4 Bad DSN parameter: {problem}")
                return
        await go_on(argument)

    async def smtp_MAIL(self, arg: str | None) -> None:  # noqa: N802 - aiosmtpd's naming
        await self._with_dsn(_MAIL_DSN, arg, super().smtp_MAIL)

    async def handle_MAIL(  # noqa: N802 - aiosmtpd's naming
        self, _server: SMTP, session: Session, envelope: Envelope, address: str, options: list[str]
    ) -> str:
        if self._options.users and not session.authenticated:
            return "530 5.7.0 Authentication required"
        sender = "" if address == "<>" else address
        self._deal = Transaction(
            sender=sender,
            ret=parse_ret(self._parameters.get("RET")),
            envid=self._parameters.get("ENVID"),
        )
        refusal = await self._gate(Stage.MAIL)
        if refusal is not None:
            self._deal = None
            return refusal
        envelope.mail_from = address or "<>"
        envelope.mail_options.extend(options)
        return "250 2.1.0 Ok"

    async def smtp_RCPT(self, arg: str | None) -> None:  # noqa: N802 - aiosmtpd's naming
        await self._with_dsn(_RCPT_DSN, arg, super().smtp_RCPT)

    async def handle_RCPT(  # noqa: N802 - aiosmtpd's naming
        self,
        _server: SMTP,
        _session: Session,
        envelope: Envelope,
        address: str,
        _options: list[str],
    ) -> str:
        refusal = await self._gate(Stage.RCPT, address)
        if refusal is not None:
            return refusal
        envelope.rcpt_tos.append(address)
        if self._deal is not None:
            self._deal.recipients.append(
                Recipient(
                    address,
                    parse_notify(self._parameters.get("NOTIFY")),
                    self._parameters.get("ORCPT"),
                )
            )
        return "250 2.1.5 Ok"

    async def smtp_DATA(self, arg: str) -> None:  # noqa: N802 - aiosmtpd's naming
        reply = await self._gate(Stage.DATA)
        await (super().smtp_DATA(arg) if reply is None else self.push(reply))

    async def handle_DATA(  # noqa: N802 - aiosmtpd's naming
        self, _server: SMTP, _session: Session, envelope: Envelope
    ) -> str:
        deal, self._deal = self._deal, None
        if deal is None:
            return "503 5.5.1 No transaction"
        try:
            return await self._policy.message(
                self._client(), deal, envelope.original_content or b""
            )
        except DropConnection:
            return await self._hang_up()

    async def handle_RSET(  # noqa: N802 - aiosmtpd's naming
        self, _server: SMTP, _session: Session, _envelope: Envelope
    ) -> str:
        self._deal = None
        return "250 2.0.0 Ok"

    async def handle_exception(self, error: Exception) -> str:
        """A fault of the lab itself must not look like a fault of the mail."""
        with contextlib.suppress(Exception):
            self.loop.call_exception_handler(
                {"message": "the lab's SMTP server failed", "exception": error, "protocol": self}
            )
        return "451 4.3.0 Internal error of the lab"
