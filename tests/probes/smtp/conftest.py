"""Servers to submit to, certificates to show, and a target for each."""

import asyncio
import socket
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Protocol

import pytest
import trustme
import uvloop
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from probes.contract.config.models import RelayTls, Timeouts
from probes.smtp import Endpoint, Mail, SmtpTarget
from tests.probes.smtp.scripted import Script, ScriptedServer

HOST = "relay.test"
CONTENT = b"Subject: canary\r\n\r\nhello\r\n.a dot\r\n"


def pytest_asyncio_loop_factories() -> dict[str, Callable[[], asyncio.AbstractEventLoop]]:
    """Every test here runs on both loops: they do not fail in the same way."""
    return {"asyncio": asyncio.new_event_loop, "uvloop": uvloop.new_event_loop}


class Serve(Protocol):
    """Starts a scripted server on loopback, to be stopped with the test."""

    def __call__(
        self, script: Script, context: ssl.SSLContext | None = None, host: str = "127.0.0.1"
    ) -> Awaitable[ScriptedServer]: ...


@pytest.fixture
async def serve() -> AsyncIterator[Serve]:
    servers: list[ScriptedServer] = []

    async def start(
        script: Script, context: ssl.SSLContext | None = None, host: str = "127.0.0.1"
    ) -> ScriptedServer:
        server = ScriptedServer(script, context)
        servers.append(server)
        await server.start(host)
        return server

    yield start
    for server in servers:
        await server.stop()


@pytest.fixture
def mail() -> Mail:
    return Mail("canary@monitor.example", "inbox@acme.example", CONTENT, "c-1")


TargetOf = Callable[..., SmtpTarget]


@pytest.fixture
def target() -> TargetOf:
    """A target on loopback; keywords override its fields and, in seconds, its time limits."""

    def make(port: int, **fields: Any) -> SmtpTarget:
        limits = {name: f"{fields.pop(name, 10)}s" for name in Timeouts.model_fields}
        timeouts = Timeouts.model_validate(limits)
        base = SmtpTarget("127.0.0.1", port, RelayTls.NONE, "sfo.monitor.example")
        return replace(base, timeouts=timeouts, **fields)

    return make


async def to_loopback(host: str, port: int, family: int) -> list[Endpoint]:
    """A resolver by which every name is 127.0.0.1."""
    assert host
    assert family in (socket.AF_UNSPEC, socket.AF_INET)
    return [Endpoint(socket.AF_INET, ("127.0.0.1", port))]


@pytest.fixture
def blackhole() -> Iterator[int]:
    """A port whose connections time out: its queue is full, so further SYNs are dropped."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        fillers = [socket.socket() for _ in range(4)]
        for filler in fillers:
            filler.setblocking(False)
            filler.connect_ex(listener.getsockname())
        yield listener.getsockname()[1]
        for filler in fillers:
            filler.close()


@pytest.fixture
def refused() -> Iterator[int]:
    """A port at which nobody listens, and nobody else can meanwhile."""
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))
        yield holder.getsockname()[1]


@dataclass
class Certificates:
    """A CA in a file, and server contexts that show certificates of all kinds."""

    ca: trustme.CA
    ca_file: str
    directory: Path
    _files: dict[str, Path] = field(default_factory=dict)

    def context(self, kind: str) -> ssl.SSLContext:
        """A server that shows the certificate of a kind: ``good``, ``intermediate``, ``expired``,
        ``wrong-name``, ``foreign`` (of an unknown CA) or ``self-signed``.
        """
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self._file(kind))
        return context

    def not_after(self, kind: str) -> datetime:
        """When that certificate expires."""
        leaf = x509.load_pem_x509_certificates(self._file(kind).read_bytes())[0]
        return leaf.not_valid_after_utc

    def not_after_ns(self, kind: str) -> int:
        """The same in nanoseconds since the epoch."""
        return round(self.not_after(kind).timestamp()) * 10**9

    def _file(self, kind: str) -> Path:
        if kind not in self._files:
            self._files[kind] = self.directory / f"{kind}.pem"
            self._files[kind].write_bytes(self._pem(kind))
        return self._files[kind]

    def _pem(self, kind: str) -> bytes:
        now = datetime.now(UTC)
        if kind == "self-signed":
            return self_signed(HOST, now)
        issuer = trustme.CA() if kind == "foreign" else self.ca
        if kind == "intermediate":
            issuer = self.ca.create_child_ca()
        certificate = issuer.issue_cert(
            "other.test" if kind == "wrong-name" else HOST,
            not_before=now - timedelta(days=30),
            not_after=now + timedelta(days=-2 if kind == "expired" else 30),
        )
        return certificate.private_key_and_cert_chain_pem.bytes()


def self_signed(name: str, now: datetime) -> bytes:
    """A key and a certificate signed with it, PEM."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    certificate = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=30))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
        .sign(key, hashes.SHA256())
    )
    return key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    ) + certificate.public_bytes(serialization.Encoding.PEM)


@pytest.fixture(scope="session")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    directory = tmp_path_factory.mktemp("certificates")
    ca = trustme.CA()
    ca_file = directory / "ca.pem"
    ca.cert_pem.write_to_path(str(ca_file))
    return Certificates(ca, str(ca_file), directory)


@pytest.fixture
def ipv6() -> None:
    """Skips where loopback has no IPv6."""
    try:
        with socket.socket(socket.AF_INET6) as sock:
            sock.bind(("::1", 0))
    except OSError:
        pytest.skip("no IPv6 on loopback")
