"""From a host name to an open connection, each step timed and named on its own."""

import asyncio
import errno
import socket
import ssl
from collections.abc import Callable
from ipaddress import ip_address
from typing import Any

from probes.contract.config.models import ImapTls
from probes.contract.stages import Reason, Stage
from probes.imap.model import AddressPolicy, ImapFailure, ImapTarget
from probes.imap.protocol import ImapProtocol
from probes.resolver import Endpoint, Lookups, OwnFaultError, literal
from probes.trust import context

MAILBOXES = Lookups("mailboxes", 8)
"""Looks up the mailboxes' servers, which customers name, apart from all others."""

PATIENCE_S = 60.0
"""Seconds that a lookup waits for a thread; it is not measured, and other customers' names come
first in their turn."""

_SILENT = 4
"""Addresses without an answer after which no more are tried: a name may have hundreds."""

_LOCAL = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.ENOBUFS, errno.EACCES})
"""Errors of a connect that say something of this machine, not of the server."""


async def connect(
    target: ImapTarget,
    permits: AddressPolicy | None,
    factory: Callable[[], ImapProtocol],
    lookups: Lookups = MAILBOXES,
) -> ImapProtocol:
    """A connected protocol, with TLS where the target wants it; the greeting is not yet read.

    Raises:
        ImapFailure: at RESOLVE, CONNECT or TLS.
    """
    addresses = _permitted(await _resolve(target, lookups), permits)
    secured = _context(target) if target.tls is ImapTls.IMPLICIT else None
    sock = await _connect_first(addresses, target.connect_timeout_s)
    loop = asyncio.get_running_loop()
    try:
        async with asyncio.timeout(target.connect_timeout_s):
            _, protocol = await loop.create_connection(
                factory,
                sock=sock,
                ssl=secured,
                server_hostname=target.host if secured is not None else None,
            )
    except TimeoutError as error:
        detail = f"no handshake within {target.connect_timeout_s:g} s"
        raise ImapFailure(Stage.TLS, Reason.TIMEOUT, detail) from error
    except ssl.SSLCertVerificationError as error:
        raise ImapFailure(Stage.TLS, Reason.CERTIFICATE, error.verify_message) from error
    except ssl.SSLError as error:
        detail = error.reason or str(error)
        raise ImapFailure(Stage.TLS, Reason.TLS_HANDSHAKE, detail) from error
    except OSError as error:
        raise ImapFailure(Stage.TLS, Reason.RESET, _text(error)) from error
    except BaseException:
        sock.close()
        raise
    return protocol


def _context(target: ImapTarget) -> ssl.SSLContext:
    try:
        return context(target.ca_file, strict=target.verify)
    except OSError as error:  # ssl.SSLError is one
        detail = f"CA file {target.ca_file}: {error}"
        raise ImapFailure(Stage.TLS, Reason.LOCAL, detail) from error


async def _resolve(target: ImapTarget, lookups: Lookups) -> list[Endpoint]:
    host = target.host
    known = literal(host, target.port)
    if known is not None:
        return [known]
    try:
        lookup = await lookups.begin(host, socket.AF_UNSPEC, PATIENCE_S)
        async with asyncio.timeout(target.connect_timeout_s):
            return await lookup.endpoints(target.port)
    except OwnFaultError as error:
        raise ImapFailure(Stage.RESOLVE, Reason.LOCAL, f"{host}: {error}") from error
    except TimeoutError as error:
        detail = f"no answer within {target.connect_timeout_s:g} s"
        raise ImapFailure(Stage.RESOLVE, Reason.TIMEOUT, detail) from error
    except (OSError, UnicodeError) as error:
        raise ImapFailure(Stage.RESOLVE, Reason.NO_ADDRESS, f"{host}: {error}") from error


def _permitted(addresses: list[Endpoint], permits: AddressPolicy | None) -> list[Endpoint]:
    if permits is None:
        return addresses
    # The scope of a link-local address (fe80::1%eth0) is no part of the address itself.
    allowed = [
        each for each in addresses if permits(ip_address(each.sockaddr[0].partition("%")[0]))
    ]
    if not allowed:
        found = ", ".join(address[0] for _, address in addresses)
        raise ImapFailure(Stage.RESOLVE, Reason.POLICY, f"no permitted address among {found}")
    return allowed


async def _connect_first(addresses: list[Endpoint], timeout_s: float) -> socket.socket:
    """A connection to the first address that takes one; the last failure when none does.

    It takes ``timeout_s`` for each address that does not answer, and at most ``_SILENT`` of these.
    """
    silent = 0
    failure = ImapFailure(Stage.CONNECT, Reason.NO_ADDRESS, "no address to connect to")
    for family, address in addresses:
        where = f"{address[0]} port {address[1]}"
        try:
            return await _connect_one(family, address, timeout_s)
        except TimeoutError:
            detail = f"{where}: timed out after {timeout_s:g} s"
            failure = ImapFailure(Stage.CONNECT, Reason.TIMEOUT, detail)
            silent += 1
            if silent == _SILENT:
                break
        except OSError as error:
            failure = ImapFailure(Stage.CONNECT, _reason(error), f"{where}: {_text(error)}")
    raise failure


async def _connect_one(family: int, address: tuple[Any, ...], limit: float) -> socket.socket:
    sock = socket.socket(family, socket.SOCK_STREAM)
    try:
        sock.setblocking(False)
        # Two small writes in a row must not wait for an acknowledgement: that is measured as delay.
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        async with asyncio.timeout(limit):
            await asyncio.get_running_loop().sock_connect(sock, address)
    except BaseException:
        sock.close()
        raise
    return sock


def _reason(error: OSError) -> Reason:
    if isinstance(error, ConnectionRefusedError):
        return Reason.REFUSED
    if isinstance(error, ConnectionResetError):
        return Reason.RESET
    return Reason.LOCAL if error.errno in _LOCAL else Reason.UNREACHABLE


def _text(error: OSError) -> str:
    return error.strerror or str(error) or type(error).__name__
