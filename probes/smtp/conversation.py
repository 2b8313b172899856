"""What is said between connection and final dot, phase by phase."""

import re
import ssl
from collections.abc import Awaitable, Callable, Container
from functools import lru_cache

from aiosmtplib import SMTPResponse, SMTPResponseException, SMTPServerDisconnected
from aiosmtplib.esmtp import parse_esmtp_extensions

from probes.connecting import connection_reason
from probes.contract.config.models import RelayTls
from probes.contract.events import Reply, TlsInfo
from probes.contract.stages import Reason, Result, Stage
from probes.smtp import syntax, tls
from probes.smtp.credentials import Credentials
from probes.smtp.model import Mail, SmtpTarget, SubmissionError
from probes.smtp.phases import Phases
from probes.smtp.replies import clean, make_reply, one_line, verdict
from probes.smtp.wire import Wire

_CLOSING = re.compile(r"421[ -](.*)")

# EHLO is then not known to the server at all, and HELO is (RFC 5321 section 4.1.4).
_NO_EHLO = (500, 502)


# A relay says the same every time.
@lru_cache(maxsize=64)
def _offered(ehlo: str) -> tuple[dict[str, str], list[str]]:
    return parse_esmtp_extensions(ehlo)


class Conversation:
    """What is said over one connection. All that goes wrong is a :class:`SubmissionError`.

    ``extensions`` are the keywords of the last EHLO, in lower case, with their parameters.
    """

    def __init__(
        self,
        wire: Wire,
        target: SmtpTarget,
        phases: Phases,
        context: ssl.SSLContext | None,
        credentials: Credentials | None,
        wall_ns: Callable[[], int],
    ) -> None:
        self.tls: TlsInfo | None = None
        self.dsn = False
        self.banner: Reply | None = None
        self.extensions: dict[str, str] = {}
        self.auth_methods: list[str] = []
        self._wire = wire
        self._target = target
        self._phases = phases
        self._context = context
        self._wall_ns = wall_ns
        self._credentials = credentials

    async def submit(self, mail: Mail, on_data_sent: Callable[[], None] | None) -> Reply:
        """All phases from banner (or implicit TLS) to acceptance; the reply to the final dot."""
        await self.introduce()
        content = syntax.normalise(mail.content)
        await self._envelope(mail, len(content))
        return await self._content(syntax.transmitted(content), on_data_sent)

    async def introduce(self) -> Reply:
        """The phases from banner (or implicit TLS) to AUTH, as wanted; the relay's banner."""
        limits = self._target.timeouts
        if self._target.tls is RelayTls.IMPLICIT:
            self._phases.begin(Stage.TLS, limits.command)
            await self._handshake(self._wire.open_tls)
            self._phases.end()

        self._phases.begin(Stage.BANNER, limits.banner)
        response = await self._read()
        self._require(response)
        self.banner = self._reply(response)
        self._phases.end()

        self._phases.begin(Stage.EHLO, limits.command)
        await self._hello()
        self._phases.end()

        if self._target.tls in (RelayTls.STARTTLS, RelayTls.OPPORTUNISTIC):
            await self._upgrade()
        if self._credentials is not None:
            self._phases.begin(Stage.AUTH, limits.command)
            await self._authenticate(self._credentials)
            self._phases.end()
        return self.banner

    async def quit(self) -> None:
        """Say goodbye; what is answered does not matter any more."""
        if self._wire.is_connected and not self._wire.unasked():
            try:
                await self._wire.command(b"QUIT")
            except (SMTPResponseException, SMTPServerDisconnected):
                return

    async def _hello(self) -> None:
        name = syntax.helo_argument(self._target.helo)
        response = await self._ask(b"EHLO", name)
        if response.code in _NO_EHLO:
            self.extensions, self.auth_methods = {}, []
            self._require(await self._ask(b"HELO", name), step=Stage.EHLO)
            return
        self._require(response, step=Stage.EHLO)
        extensions, auth_methods = _offered(response.message)
        self.extensions, self.auth_methods = extensions.copy(), auth_methods.copy()

    async def _upgrade(self) -> None:
        """STARTTLS where it is offered, and the EHLO that must follow it (RFC 3207)."""
        required = self._target.tls is RelayTls.STARTTLS
        if "starttls" not in self.extensions and not required:
            return
        self._phases.begin(Stage.TLS, self._target.timeouts.command)
        if "starttls" not in self.extensions:
            raise SubmissionError(
                Result.FAILED, Reason.TLS_NOT_OFFERED, "STARTTLS is required and not offered"
            )
        self._require(await self._ask(b"STARTTLS"))
        # Whatever came in the clear behind the 220 may be an attacker's.
        self._in_turn()
        await self._handshake(self._wire.upgrade)
        await self._hello()
        self._phases.end()

    async def _handshake(
        self, shake: Callable[[ssl.SSLContext, str, float], Awaitable[ssl.SSLObject]]
    ) -> None:
        if self._context is None:
            raise AssertionError("a handshake without a context")
        target = self._target
        host = target.host.rstrip(".")
        try:
            # The phase's own limit is the shorter one.
            secure = await shake(self._context, host, target.timeouts.command + 1)
        except ssl.SSLCertVerificationError as error:
            text = error.verify_message.rstrip(".")
            raise SubmissionError(Result.FAILED, Reason.CERTIFICATE, text) from error
        except ssl.SSLError as error:
            text = (error.reason or str(error)).replace("_", " ").lower()
            text = f"handshake failed: {text}"
            raise SubmissionError(Result.FAILED, Reason.TLS_HANDSHAKE, text) from error
        except OSError as error:
            cause = error.__cause__ or self._wire.lost or error
            reason, text = connection_reason(cause, "the relay")
            raise SubmissionError(Result.FAILED, reason, f"{text} within the handshake") from error
        except ValueError as error:  # a host that cannot be a server name
            raise SubmissionError(Result.FAILED, Reason.TLS_HANDSHAKE, str(error)) from error
        strict = tls.must_verify(target)
        self.tls = tls.describe(secure, host, target.ca_file, strict=strict, now_ns=self._wall_ns())

    async def _authenticate(self, credentials: Credentials) -> None:
        """AUTH PLAIN, else LOGIN (RFC 4954)."""
        safe = self.tls is not None and self.tls.verified
        if not safe and not self._target.allow_plaintext_auth:
            why = "is not encrypted" if self.tls is None else "has no verified certificate"
            text = f"credentials are not sent, since the connection {why}"
            raise SubmissionError(Result.FAILED, Reason.POLICY, text)
        if "plain" in self.auth_methods:
            self._require(await self._ask(b"AUTH", b"PLAIN", credentials.plain))
        elif "login" in self.auth_methods:
            self._require(await self._ask(b"AUTH", b"LOGIN"), (334,))
            self._require(await self._ask(credentials.login_user), (334,))
            self._require(await self._ask(credentials.login_password))
        else:
            offered = clean(" ".join(self.auth_methods).upper()) or "none"
            text = f"neither PLAIN nor LOGIN is offered (offered: {offered})"
            raise SubmissionError(Result.FAILED, Reason.AUTH_NOT_OFFERED, text)

    async def _envelope(self, mail: Mail, size: int) -> None:
        """MAIL, RCPT and DATA, each a phase; ``size`` in octets, dots not stuffed."""
        phases, command = self._phases, self._target.timeouts.command
        dsn = "dsn" in self.extensions

        phases.begin(Stage.MAIL, command)
        arguments = syntax.mail_arguments(
            mail.sender,
            size=size if "size" in self.extensions else None,
            dsn=dsn,
            envid=mail.envid,
        )
        self._require(await self._ask(b"MAIL", *arguments))
        phases.end()

        phases.begin(Stage.RCPT, command)
        arguments = syntax.rcpt_arguments(mail.recipient, dsn=dsn)
        self._require(await self._ask(b"RCPT", *arguments))
        phases.end()
        self.dsn = dsn

        phases.begin(Stage.DATA, command)
        self._require(await self._ask(b"DATA"))
        self._in_turn()
        phases.end()

    async def _content(self, content: bytes, on_data_sent: Callable[[], None] | None) -> Reply:
        """The content in one piece, and the reply to its final dot."""
        if on_data_sent is not None and self._wire.is_connected:
            # Not after the write: while this process waits to go on, the mail may come home.
            on_data_sent()
        try:
            self._wire.write(content)
        except SMTPServerDisconnected as error:
            # Nothing was written, so this still belongs to DATA.
            raise self._lost(error) from error
        self._phases.begin(Stage.ACCEPT, self._target.timeouts.accept)
        response = await self._read()
        self._require(response)
        self._phases.end()
        return self._reply(response)

    async def _ask(self, *command: bytes) -> SMTPResponse:
        self._in_turn()
        try:
            return await self._wire.command(*command)
        except SMTPResponseException as error:
            raise self._garbage(error) from error
        except SMTPServerDisconnected as error:
            raise self._lost(error) from error

    async def _read(self) -> SMTPResponse:
        try:
            return await self._wire.reply()
        except SMTPResponseException as error:
            raise self._garbage(error) from error
        except SMTPServerDisconnected as error:
            raise self._lost(error) from error

    def _require(
        self,
        response: SMTPResponse,
        wanted: Container[int] | None = None,
        step: Stage | None = None,
    ) -> None:
        """Go on only after a good reply; ``step`` is what it replies to within the stage."""
        judged = verdict(step or self._phases.stage, response.code, wanted)
        if judged is None:
            return
        result, reason = judged
        reply = self._reply(response)
        text = one_line(reply)
        if reason is Reason.PROTOCOL:
            text = f"unexpected reply {text}"
        raise SubmissionError(result, reason, text, reply)

    def _in_turn(self) -> None:
        """Refuse to go on when the relay spoke unasked: replies could no longer be told apart."""
        stray = self._wire.unasked()
        if not stray:
            return
        text = self._quote(stray.decode("utf-8", "replace").strip())
        if found := _CLOSING.match(text):
            self._require(SMTPResponse(421, found[1]), ())
        raise SubmissionError(
            Result.FAILED, Reason.PROTOCOL, f"the relay spoke unasked: {text[:100]!r}"
        )

    def _reply(self, response: SMTPResponse) -> Reply:
        return make_reply(response.code, self._hide(response.message))

    def _hide(self, text: str) -> str:
        """``text`` without the credentials, which some servers repeat in their refusals."""
        return text if self._credentials is None else self._credentials.hide(text)

    def _quote(self, text: str) -> str:
        return clean(self._hide(text))

    def _garbage(self, error: SMTPResponseException) -> SubmissionError:
        text = self._quote(error.message.strip())
        return SubmissionError(Result.FAILED, Reason.PROTOCOL, f"not a reply: {text[:100]}")

    def _lost(self, error: SMTPServerDisconnected) -> SubmissionError:
        return SubmissionError(
            Result.FAILED, *connection_reason(error.__cause__ or self._wire.lost, "the relay")
        )
