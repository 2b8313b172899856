"""The listening side: connections in bounded number and time, TLS, nothing decompressed."""

import asyncio
import contextlib
import logging
import ssl
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from pathlib import Path

import structlog
from aiohttp import web
from aiohttp.http_exceptions import HttpProcessingError

from collector.control.tokens import without_tokens
from collector.web.doors import Doors, Guest
from collector.web.metrics import METRICS, Metrics
from collector.web.peers import Networks
from probes.contract.errors import MailcanaryError

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Certificate:
    """The files of a server's certificate (chain first its own) and key, both PEM."""

    cert: Path
    key: Path


@dataclass(frozen=True, slots=True)
class ServerOptions:
    """Where to listen, and how much to put up with.

    ``head_s`` is how long a connection may take to send a whole request head, the first one and
    each that follows; so it is how long an idle connection is kept, too. ``proxies`` are not held
    to ``connections_per_address``: all come from them.
    """

    address: str = "127.0.0.1"
    port: int = 8420
    certificate: Certificate | None = None
    head_s: float = 30.0
    connections: int = 2000
    connections_per_address: int = 500
    proxies: Networks = ()
    shutdown_s: float = 10.0


class Tls:
    """A server's TLS whose certificate can be read again while it serves."""

    def __init__(self, certificate: Certificate) -> None:
        self._certificate = certificate
        self.context = _context(certificate)

    def reload(self) -> None:
        """Read certificate and key again; those in use stay when the files are no pair.

        Raises:
            MailcanaryError: saying what is wrong with them.
        """
        # In a context of its own first: a half-loaded pair would refuse every handshake.
        _context(self._certificate)
        _load(self.context, self._certificate)


def _context(certificate: Certificate) -> ssl.SSLContext:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols(["http/1.1"])
    _load(context, certificate)
    return context


def _load(context: ssl.SSLContext, certificate: Certificate) -> None:
    def no_password() -> str:
        raise ValueError("the key is encrypted")

    for file in (certificate.cert, certificate.key):
        try:
            file.open("rb").close()
        except OSError as error:
            reason = (error.strerror or str(error)).lower()
            raise MailcanaryError(
                f"tls: {file}: found {reason}, allowed is a readable file"
            ) from None
    try:
        context.load_cert_chain(certificate.cert, certificate.key, no_password)
    except (OSError, ValueError) as error:
        raise MailcanaryError(
            f"tls: found {certificate.cert} and {certificate.key}: {error}; allowed is a readable "
            "certificate and its key, both PEM"
        ) from None


class _Quiet(logging.Filter):
    """Keeps the HTTP library's log free of tokens, and of what strangers send that is no HTTP."""

    def __init__(self, metrics: Metrics) -> None:
        super().__init__()
        self._metrics = metrics

    def filter(self, record: logging.LogRecord) -> bool:
        # All records come here, so that all strangers are counted; details are nobody's news.
        error = record.exc_info[1] if record.exc_info else None
        if isinstance(error, HttpProcessingError):
            # Its text quotes the header that could not be read.
            self._metrics.malformed.inc()
            return False
        if record.levelno < logging.WARNING:
            return False
        record.msg, record.args = without_tokens(record.getMessage()), ()
        if record.exc_info:
            text = logging.Formatter().formatException(record.exc_info)
            record.msg = f"{record.msg}\n{without_tokens(text)}"
            record.exc_info = None
        return True


def _http_logger(metrics: Metrics) -> logging.Logger:
    logger = logging.getLogger("collector.web.http")
    for old in logger.filters[:]:
        logger.removeFilter(old)
    logger.addFilter(_Quiet(metrics))
    logger.setLevel(logging.DEBUG)
    return logger


@dataclass(frozen=True, slots=True)
class Serving:
    """A server that listens: its address, and its TLS to read again."""

    url: str
    port: int
    tls: Tls | None


@contextlib.asynccontextmanager
async def serving(
    app: web.Application, options: ServerOptions | None = None
) -> AsyncIterator[Serving]:
    """Serve ``app`` until the block ends; requests under way get ``shutdown_s`` to finish.

    Raises:
        MailcanaryError: the address cannot be listened on, or the certificate not be used.
    """
    options = options or ServerOptions(port=0)
    tls = None if options.certificate is None else Tls(options.certificate)
    metrics = app[METRICS]
    runner = web.AppRunner(
        app,
        auto_decompress=False,
        access_log=None,
        logger=_http_logger(metrics),
        keepalive_timeout=options.head_s,
        lingering_time=2.0,
        max_line_size=8190,
        max_field_size=8190,
        max_headers=64,
        shutdown_timeout=options.shutdown_s,
    )
    await runner.setup()
    try:
        server = await _listen(_factory(runner, options, metrics), options, tls)
        try:
            host, port = server.sockets[0].getsockname()[:2]
            shown = f"[{host}]" if ":" in host else host
            url = f"{'http' if tls is None else 'https'}://{shown}:{port}"
            yield Serving(url, port, tls)
        finally:
            server.close()
    finally:
        await runner.cleanup()


def _factory(
    runner: web.AppRunner, options: ServerOptions, metrics: Metrics
) -> Callable[[], asyncio.Protocol]:
    server = runner.server
    if server is None:
        raise RuntimeError("a runner that was set up has a server")
    doors = Doors(
        options.connections,
        options.connections_per_address,
        options.proxies,
        lambda why: metrics.connections_refused.labels(why).inc(),
    )
    return lambda: Guest(doors, server)


async def _listen(
    factory: Callable[[], asyncio.Protocol], options: ServerOptions, tls: Tls | None
) -> asyncio.Server:
    loop = asyncio.get_running_loop()
    context = None if tls is None else tls.context
    try:
        return await loop.create_server(
            factory,
            options.address,
            options.port,
            ssl=context,
            backlog=512,
            ssl_handshake_timeout=None if tls is None else 10.0,
        )
    except OSError as error:
        raise MailcanaryError(
            f"listen: found {options.address}:{options.port}: {error.strerror or error}, allowed "
            "is an address of this host and a port that is free"
        ) from error
