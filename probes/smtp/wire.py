"""aiosmtplib's protocol, watched for what it would let pass."""

import asyncio
import re
import socket
import ssl
from collections.abc import Callable
from contextlib import suppress
from functools import lru_cache
from ipaddress import IPv4Address, IPv6Address
from typing import Any, Self, cast

from aiosmtplib import SMTPResponse, SMTPServerDisconnected
from aiosmtplib.protocol import MAX_RESPONSE_LENGTH, SMTPProtocol

from probes import transports
from probes.resolver import Endpoint

Source = IPv4Address | IPv6Address | None
"""The address to connect from; ``None`` leaves it to the system."""

_STRAY_LIMIT = 512
_CONTROL = re.compile(rb"[\x00-\x1f\x7f]")
# One whole line, short enough for aiosmtplib, whose code it would read as this number.
_ONE_LINE = re.compile(rb"([0-9]{3}) ([^\n]{0,1000})\n")
_SEVERAL = re.compile(rb"(?:[0-9]{3}-[^\n]{0,1000}\n){1,60}[0-9]{3} [^\n]{0,1000}\n")


def _ends_reply(data: bytes) -> bool:
    """Whether the last of these whole lines is the last of a reply; most replies are one piece."""
    if not data.endswith(b"\n"):
        return False
    last = data.rfind(b"\n", 0, -1) + 1
    return data[last + 3 : last + 4] != b"-"


def _one_line(data: bytes) -> SMTPResponse | None:
    """The reply, if it is one whole line, as most are."""
    found = _ONE_LINE.fullmatch(data)
    if found is None:
        return None
    return SMTPResponse(int(found[1]), found[2].strip(b" \t\r").decode("utf-8", "surrogateescape"))


# A relay says the same to every EHLO.
@lru_cache(maxsize=64)
def _lines(data: bytes) -> SMTPResponse | None:
    """The reply, if it is several lines and whole, and aiosmtplib would not object to it."""
    if _SEVERAL.fullmatch(data) is None:
        return None
    lines = data.removesuffix(b"\n").split(b"\n")
    said = b"\n".join([line[4:].strip(b" \t\r") for line in lines]).lstrip(b"\n")
    return SMTPResponse(int(lines[-1][:3]), said.decode("utf-8", "surrogateescape"))


class Wire(SMTPProtocol):
    """One SMTP connection, never used again after an error.

    aiosmtplib drops what the server says unasked between two commands, and takes what it says
    unasked in one packet with a reply for the reply to the *next* command, so that a refusal
    could be read as an acceptance. Here both are kept for :meth:`unasked`.

    ``source`` and ``peer`` are the addresses of its two ends, as far as the system tells them.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__(loop)
        self.lost: Exception | None = None
        self.source: str | None = None
        self.peer: str | None = None
        self._bare: socket.socket | None = None
        self._stray = b""
        self._held = bytearray()
        self._begun = b""

    @classmethod
    async def dial(cls, endpoint: Endpoint, source: Source, *, bare: bool) -> Self:
        """Connect. A ``bare`` connection begins with :meth:`open_tls`: until then nobody reads it.

        Raises:
            OSError: there is no connection.
        """
        wire = cls(asyncio.get_running_loop())
        here = None if source is None else (str(source), 0)
        await (wire._connect_bare if bare else wire._connect)(endpoint, here)
        return wire

    async def _connect(self, endpoint: Endpoint, here: tuple[str, int] | None) -> None:
        host, port = endpoint.sockaddr[:2]
        # Handing a connected socket to the loop costs twice as much.
        transport, _ = await self._loop.create_connection(
            lambda: self, host, port, family=endpoint.family, local_addr=here
        )
        self._note_ends(
            lambda: transport.get_extra_info("sockname"),
            lambda: transport.get_extra_info("peername"),
        )

    async def _connect_bare(self, endpoint: Endpoint, here: tuple[str, int] | None) -> None:
        sock = socket.socket(endpoint.family, socket.SOCK_STREAM)
        try:
            sock.setblocking(False)
            # Two small writes in a row must not wait for an acknowledgement, which counts as delay.
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            if here is not None:
                sock.bind(here)
            await self._loop.sock_connect(sock, endpoint.sockaddr)
        except BaseException:
            sock.close()
            raise
        self._bare = sock
        self._note_ends(sock.getsockname, sock.getpeername)

    def _note_ends(self, here: Callable[[], Any], there: Callable[[], Any]) -> None:
        # A connection that was reset already has no ends: the banner's stage will say so.
        with suppress(OSError, TypeError):
            self.source = here()[0]
            self.peer = there()[0]

    def data_received(self, data: bytes) -> None:
        """Take a reply that is waited for; set aside what is not."""
        waiter = self._response_waiter
        if waiter is not None and (waiter.done() or not self._response_pending):
            self._stray += data[: _STRAY_LIMIT - len(self._stray)]
            return
        if not self._held and not self._begun:
            if waiter is not None and not self._buffer:
                # aiosmtplib would say the same in several times the time.
                reply = _one_line(data) or _lines(data)
                if reply is not None:
                    waiter.set_result(reply)
                    return
            if _ends_reply(data):
                super().data_received(data)
                return
        # aiosmtplib reads a reply from its beginning with every piece that comes: one in thousands
        # of pieces would take it many seconds. So it gets none before the last line is there.
        self._held += data
        if self._goes_on(data) and len(self._held) <= MAX_RESPONSE_LENGTH:
            return
        whole = bytes(self._held)
        self._held.clear()
        super().data_received(whole)

    def _goes_on(self, data: bytes) -> bool:
        """Whether every line that ends in ``data`` says that another follows."""
        *lines, begun = (self._begun + data).split(b"\n")
        self._begun = begun[:4]
        return all(line[:3].isdigit() and line[3:4] == b"-" for line in lines)

    def connection_lost(self, exc: Exception | None) -> None:
        """Keep the cause, which later commands would not tell."""
        self.lost = exc
        super().connection_lost(exc)

    def unasked(self) -> bytes:
        """The beginning of what the server said without being asked."""
        if not (self._buffer or self._held or self._stray):
            return b""
        return bytes(self._buffer[:_STRAY_LIMIT]) + bytes(self._held[:_STRAY_LIMIT]) + self._stray

    async def command(self, *words: bytes) -> SMTPResponse:
        """Say a command and read the reply to it, as ``execute_command`` without a limit would.

        There is one who talks, so no lock is needed; what limits the wait is the caller's.

        Raises:
            ValueError: when a word has a control character in it.
            SMTPServerDisconnected, SMTPResponseException: no connection; no reply.
        """
        line = b" ".join(words)
        if _CONTROL.search(line):
            raise ValueError("a command has a control character in it")
        # Before it is written: whatever comes from now on may be the reply.
        self._response_pending = True
        self.write(line + b"\r\n")
        if line == b"QUIT":
            self._quit_sent = True
        return await self.reply()

    async def reply(self) -> SMTPResponse:
        """The next reply, as ``read_response`` without a limit gives it.

        Raises:
            SMTPServerDisconnected, SMTPResponseException: no connection; no reply.
        """
        waiter = self._response_waiter
        if waiter is None:
            raise SMTPServerDisconnected("Connection lost")
        self._response_pending = True
        try:
            return await waiter
        finally:
            self._response_pending = False
            self._response_waiter = None if self.transport is None else self._loop.create_future()

    async def open_tls(self, context: ssl.SSLContext, host: str, limit: float) -> ssl.SSLObject:
        """Begin a bare connection with TLS, with ``host`` as server name.

        Raises:
            OSError: when the handshake fails; ``ssl.SSLError`` and ``ConnectionError`` are ones.
        """
        sock, self._bare = self._bare, None
        secure, _ = await self._loop.create_connection(
            lambda: self,
            sock=sock,
            ssl=context,
            server_hostname=host,
            ssl_handshake_timeout=limit,
        )
        return cast("ssl.SSLObject", secure.get_extra_info("ssl_object"))

    async def upgrade(self, context: ssl.SSLContext, host: str, limit: float) -> ssl.SSLObject:
        """Put the open connection into TLS; otherwise as :meth:`open_tls`."""
        plain = self.transport
        if plain is None or plain.is_closing():
            raise SMTPServerDisconnected("Connection lost")
        secure = await self._loop.start_tls(
            cast("asyncio.WriteTransport", plain),
            self,
            context,
            server_hostname=host,
            ssl_handshake_timeout=limit,
        )
        if secure is None:  # the connection went away within the handshake
            raise SMTPServerDisconnected("Connection lost")
        self.transport = secure
        return cast("ssl.SSLObject", secure.get_extra_info("ssl_object"))

    def hang_up(self, *, cleanly: bool) -> None:
        """Close now; ``cleanly`` first says so to a TLS peer, without waiting for its answer."""
        if self._bare is not None:
            self._bare.close()
        transport = cast("asyncio.Transport | None", self.transport)
        if transport is not None:
            if cleanly:
                transports.close(transport)
            transports.abort(transport)
