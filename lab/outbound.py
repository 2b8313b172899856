"""One attempt to deliver one message by SMTP, as a relay's delivery agent makes it."""

import asyncio
import os
import re
import socket
from dataclasses import dataclass
from enum import StrEnum

import aiosmtplib

_ENHANCED = re.compile(r"^([245]\.\d{1,3}\.\d{1,3})\b")


class End(StrEnum):
    """How an attempt ended."""

    DELIVERED = "delivered"
    DEFERRED = "deferred"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class Attempted:
    """An attempt's end; ``text`` is worded as Postfix words it, ``remote`` names the next hop.

    ``diagnostic`` is the remote reply, ``None`` when there was none (RFC 3464 section 2.3.6).
    """

    end: End
    status: str
    text: str
    remote: str
    diagnostic: str | None = None


@dataclass(frozen=True, slots=True)
class Route:
    """Where a relay delivers to, and how."""

    host: str
    port: int
    name: str
    source: str
    helo: str
    connect_timeout: float
    reply_timeout: float

    @property
    def remote(self) -> str:
        """The next hop as log lines name it."""
        return f"{self.name}[{self.host}]"


async def deliver(route: Route, sender: str, recipient: str, content: bytes) -> Attempted:
    """Deliver over a fresh connection. Never raises for what the network or the server does."""
    try:
        connected = await _connect(route)
    except TimeoutError:
        return _not_connected(route, "Connection timed out")
    except OSError as problem:
        why = os.strerror(problem.errno) if problem.errno else str(problem)
        return _not_connected(route, why)
    client = aiosmtplib.SMTP(
        hostname=None,
        port=None,
        sock=connected,
        local_hostname=route.helo,
        timeout=route.reply_timeout,
        start_tls=False,
    )
    phase = "initial server greeting"
    try:
        await client.connect()
        phase = "EHLO command"
        await client.ehlo()
        phase = "MAIL FROM command"
        await client.mail(sender)
        phase = "RCPT TO command"
        await client.rcpt(recipient)
        phase = "end of DATA command"
        reply = await client.data(content)
        text = f"{reply.code} {reply.message}"
        return Attempted(End.DELIVERED, "2.0.0", text, route.remote, text)
    except aiosmtplib.SMTPResponseException as refusal:
        return _refused(route, phase, refusal.code, refusal.message)
    except aiosmtplib.SMTPTimeoutError:
        return Attempted(
            End.DEFERRED, "4.4.2", f"timeout in the {phase} with {route.remote}", route.remote
        )
    except (aiosmtplib.SMTPException, OSError):
        return Attempted(
            End.DEFERRED, "4.4.2", f"lost connection with {route.remote} in {phase}", route.remote
        )
    finally:
        client.close()


async def _connect(route: Route) -> socket.socket:
    loop = asyncio.get_running_loop()
    connecting = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    try:
        connecting.setblocking(False)
        connecting.bind((route.source, 0))
        async with asyncio.timeout(route.connect_timeout):
            await loop.sock_connect(connecting, (route.host, route.port))
    except BaseException:
        connecting.close()
        raise
    return connecting


def _not_connected(route: Route, why: str) -> Attempted:
    text = f"connect to {route.remote}:{route.port}: {why}"
    return Attempted(End.DEFERRED, "4.4.1", text, route.remote)


def _refused(route: Route, phase: str, code: int, message: str) -> Attempted:
    line = " ".join(message.split())
    found = _ENHANCED.match(line)
    permanent = 500 <= code <= 599
    status = found[1] if found else ("5.0.0" if permanent else "4.0.0")
    return Attempted(
        End.FAILED if permanent else End.DEFERRED,
        status,
        f"host {route.remote} said: {code} {line} (in reply to {phase})",
        route.remote,
        f"{code} {line}",
    )
