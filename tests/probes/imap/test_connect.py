"""Each step before the greeting fails under its own name."""

import asyncio
import socket
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from ipaddress import ip_address
from pathlib import Path

import pytest

from probes.contract.config.models import ImapTls
from probes.contract.stages import Reason, Stage
from probes.imap import AddressPolicy, FolderSession, ImapFailure
from probes.resolver import Endpoint, Lookups
from tests.probes.imap.scripted import ScriptedServer
from tests.servers.certificates import Authority, CertificateFiles

FIELDS = ("X-Mailcanary",)
Accept = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


async def failure(
    server: ScriptedServer, permits: AddressPolicy | None = None, **changes: object
) -> ImapFailure:
    with pytest.raises(ImapFailure) as caught:
        await FolderSession.open(
            server.target(**changes), "INBOX", header_fields=FIELDS, permits=permits
        )
    return caught.value


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("ca") / "authority")


@pytest.fixture(scope="module")
def good(authority: Authority) -> CertificateFiles:
    return authority.issue("good", "localhost", "127.0.0.1")


@asynccontextmanager
async def listening(accept: Accept) -> AsyncIterator[int]:
    server = await asyncio.start_server(accept, "127.0.0.1", 0)
    async with server:
        yield server.sockets[0].getsockname()[1]


@asynccontextmanager
async def secure(certificate: CertificateFiles) -> AsyncIterator[ScriptedServer]:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificate.chain, certificate.key)
    async with ScriptedServer().running(context) as server:
        yield server


async def test_tls(authority: Authority, good: CertificateFiles) -> None:
    async with secure(good) as server:
        target = server.target(tls=ImapTls.IMPLICIT, ca_file=str(authority.ca_file))
        session = await FolderSession.open(target, "INBOX", header_fields=FIELDS)
        server.mailbox.add()
        assert len((await session.fetch_from(1)).messages) == 1
        await session.close()


async def test_lost_tls_connection_ends_idle_at_once(
    authority: Authority, good: CertificateFiles
) -> None:
    async with secure(good) as server:
        target = server.target(tls=ImapTls.IMPLICIT, ca_file=str(authority.ca_file))
        session = await FolderSession.open(target, "INBOX", header_fields=FIELDS)
        waiting = asyncio.create_task(session.idle(600, asyncio.Event()))
        await server.idling.wait()
        server.drop_all()
        with pytest.raises(ImapFailure) as caught:
            await waiting
        assert caught.value.reason in (Reason.CLOSED, Reason.RESET)


async def test_unknown_authority_and_wrong_name(
    authority: Authority, good: CertificateFiles
) -> None:
    async with secure(good) as server:
        error = await failure(server, tls=ImapTls.IMPLICIT)
        assert (error.stage, error.reason) == (Stage.TLS, Reason.CERTIFICATE)
        session = await FolderSession.open(
            server.target(tls=ImapTls.IMPLICIT, verify=False), "INBOX", header_fields=FIELDS
        )
        await session.close()
    async with secure(authority.issue("other", "other.example")) as server:
        error = await failure(server, tls=ImapTls.IMPLICIT, ca_file=str(authority.ca_file))
        assert (error.stage, error.reason) == (Stage.TLS, Reason.CERTIFICATE)


async def test_expired_certificate(authority: Authority) -> None:
    expired = authority.issue("expired", "127.0.0.1", expired=True)
    async with secure(expired) as server:
        error = await failure(server, tls=ImapTls.IMPLICIT, ca_file=str(authority.ca_file))
        assert (error.stage, error.reason) == (Stage.TLS, Reason.CERTIFICATE)
        assert "expired" in error.detail


async def test_missing_ca_file(server: ScriptedServer, tmp_path: Path) -> None:
    error = await failure(server, tls=ImapTls.IMPLICIT, ca_file=str(tmp_path / "none.pem"))
    assert (error.stage, error.reason) == (Stage.TLS, Reason.LOCAL)
    assert "none.pem" in error.detail


async def test_connections_share_a_tls_context(
    authority: Authority, good: CertificateFiles
) -> None:
    sessions = []
    async with secure(good) as server:
        for verify in (True, True, False):
            target = server.target(
                tls=ImapTls.IMPLICIT, ca_file=str(authority.ca_file), verify=verify
            )
            sessions.append(await FolderSession.open(target, "INBOX", header_fields=FIELDS))
        first, second, lax = (
            session._commands._protocol.transport.get_extra_info("sslcontext")
            for session in sessions
        )
        assert first is second
        assert lax is not first
        for session in sessions:
            await session.close()


async def test_no_tls_at_the_other_end(server: ScriptedServer) -> None:
    error = await failure(server, tls=ImapTls.IMPLICIT)
    assert (error.stage, error.reason) == (Stage.TLS, Reason.TLS_HANDSHAKE)


async def test_handshake_cut_short(server: ScriptedServer) -> None:
    async def close(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1)
        writer.close()

    async with listening(close) as port:
        error = await failure(server, port=port, tls=ImapTls.IMPLICIT)
        assert error.stage is Stage.TLS
        assert error.reason in (Reason.RESET, Reason.TLS_HANDSHAKE)


async def test_handshake_that_hangs(server: ScriptedServer) -> None:
    async def hang(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while await reader.read(4096):
            pass
        writer.close()

    async with listening(hang) as port:
        error = await failure(server, port=port, tls=ImapTls.IMPLICIT, connect_timeout_s=0.2)
        assert (error.stage, error.reason) == (Stage.TLS, Reason.TIMEOUT)


async def test_nobody_listens(server: ScriptedServer) -> None:
    with socket.socket() as reserved:
        reserved.bind(("127.0.0.1", 0))
        error = await failure(server, port=reserved.getsockname()[1])
    assert (error.stage, error.reason) == (Stage.CONNECT, Reason.REFUSED)
    assert "127.0.0.1" in error.detail


async def test_nobody_answers(server: ScriptedServer) -> None:
    with socket.socket() as full, socket.socket() as filler, socket.socket() as other:
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        for client in (filler, other):
            client.setblocking(False)
            client.connect_ex(full.getsockname())
        error = await failure(server, port=full.getsockname()[1], connect_timeout_s=0.2)
    assert (error.stage, error.reason) == (Stage.CONNECT, Reason.TIMEOUT)
    assert "timed out after 0.2 s" in error.detail


async def test_of_very_many_addresses_that_do_not_answer_a_few_are_tried(
    server: ScriptedServer,
) -> None:
    def ask(_host: str, _family: int) -> list[Endpoint]:
        # The last one refuses at once, since nobody listens there.
        hosts = ["127.0.0.1"] * 5 + ["127.0.0.2"]
        return [Endpoint(socket.AF_INET, (host, 0)) for host in hosts]

    with socket.socket() as full, socket.socket() as filler, socket.socket() as other:
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        for client in (filler, other):
            client.setblocking(False)
            client.connect_ex(full.getsockname())
        target = server.target(
            host="imap.example", port=full.getsockname()[1], connect_timeout_s=0.2
        )
        with pytest.raises(ImapFailure) as caught:
            await FolderSession.open(
                target, "INBOX", header_fields=FIELDS, lookups=Lookups("tests", 1, ask)
            )
    assert (caught.value.stage, caught.value.reason) == (Stage.CONNECT, Reason.TIMEOUT)


async def test_no_such_host(server: ScriptedServer) -> None:
    error = await failure(server, host="a..b")
    assert (error.stage, error.reason) == (Stage.RESOLVE, Reason.NO_ADDRESS)


async def test_address_policy(server: ScriptedServer) -> None:
    asked = []

    def permits(address: object) -> bool:
        asked.append(address)
        return False

    error = await failure(server, permits=permits)
    assert (error.stage, error.reason) == (Stage.RESOLVE, Reason.POLICY)
    assert asked == [ip_address("127.0.0.1")]
    assert server.commands == []


async def test_greeting_goodbye(server: ScriptedServer) -> None:
    async def bye(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:  # noqa: ARG001 - its shape
        writer.write(b"* BYE Too many connections\r\n")
        writer.close()

    async with listening(bye) as port:
        error = await failure(server, port=port)
    assert (error.stage, error.reason) == (Stage.BANNER, Reason.REFUSED)
    assert error.detail == "Too many connections"


async def test_another_protocol(server: ScriptedServer) -> None:
    async def smtp(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:  # noqa: ARG001 - its shape
        writer.write(b"220 mx.example ESMTP\r\n")
        writer.close()

    async with listening(smtp) as port:
        error = await failure(server, port=port)
    assert (error.stage, error.reason) == (Stage.BANNER, Reason.PROTOCOL)
    assert "220 mx.example ESMTP" in error.detail
