"""TLS to a relay: what is demanded, what is recorded, and what happens when it fails."""

import asyncio
import ssl
from typing import Any

import pytest

from probes.contract.config.models import RelayTls
from probes.contract.secret import Secret
from probes.contract.stages import Reason, Result, Stage
from probes.smtp import Mail, SendReport, SmtpTarget, send
from probes.smtp.tls import context as client_context
from tests.probes.smtp.conftest import HOST, Certificates, Serve, TargetOf, to_loopback
from tests.probes.smtp.scripted import Peer, Script, ScriptedServer

UNTRUSTED = "not issued by a trusted authority"
BAD = ["expired", "wrong-name", "foreign", "self-signed"]


def starttls(context: ssl.SSLContext) -> Script:
    """A relay that offers STARTTLS and takes a mail, over TLS or not."""

    async def script(peer: Peer) -> None:
        await peer.greet("250-relay.test", "250 STARTTLS")
        if await peer.line() != "STARTTLS":
            return
        await peer.say("220 2.0.0 Ready to start TLS")
        await peer.start_tls(context)
        assert await peer.line() == "EHLO sfo.monitor.example"
        await peer.say("250-relay.test", "250 DSN")
        await peer.envelope(Stage.ACCEPT)
        await peer.accept()

    return script


async def implicit(peer: Peer) -> None:
    """A relay whose connection is encrypted already."""
    await peer.up_to(Stage.ACCEPT)
    await peer.accept()


@pytest.fixture
def over(target: TargetOf, certificates: Certificates) -> TargetOf:
    """A target by name, trusting the test's own CA."""

    def make(port: int, **fields: Any) -> SmtpTarget:
        return target(port, **{"host": HOST, "ca_file": certificates.ca_file} | fields)

    return make


async def submit(
    server: ScriptedServer, over: TargetOf, mail: Mail, **fields: object
) -> SendReport:
    return await send(over(server.port, **fields), mail, resolve=to_loopback)


@pytest.mark.parametrize("tls", [RelayTls.STARTTLS, RelayTls.OPPORTUNISTIC])
@pytest.mark.parametrize("kind", ["good", "intermediate"])
async def test_starttls(
    serve: Serve,
    over: TargetOf,
    mail: Mail,
    certificates: Certificates,
    tls: RelayTls,
    kind: str,
) -> None:
    server = await serve(starttls(certificates.context(kind)))
    report = await submit(server, over, mail, tls=tls)
    assert report.result is Result.ACCEPTED, report.detail
    assert report.tls is not None
    assert (report.tls.verified, report.tls.problem) == (True, None)
    assert report.tls.version == "TLSv1.3"
    assert report.tls.cipher.startswith("TLS_")
    assert report.tls.not_after_ns == certificates.not_after_ns(kind)
    assert list(report.phases) == [
        *("resolve", "connect", "banner", "ehlo", "tls", "mail", "rcpt", "data", "accept")
    ]
    # What was offered before TLS does not count after it.
    assert report.dsn is True


async def test_implicit_tls(
    serve: Serve, over: TargetOf, mail: Mail, certificates: Certificates
) -> None:
    server = await serve(implicit, certificates.context("good"))
    report = await submit(server, over, mail, tls=RelayTls.IMPLICIT)
    assert report.result is Result.ACCEPTED, report.detail
    assert report.tls is not None
    assert report.tls.verified
    assert list(report.phases)[:4] == ["resolve", "connect", "tls", "banner"]
    await server.finished()
    assert server.peers[0].heard[-1] == "QUIT"


@pytest.mark.parametrize(
    ("kind", "problem"),
    [
        ("expired", "expired on {not_after:%Y-%m-%d}"),
        ("wrong-name", "is for other.test, not for relay.test"),
        ("foreign", UNTRUSTED),
        ("self-signed", "self-signed"),
    ],
)
async def test_opportunistic_tls_takes_any_certificate_and_tells(
    serve: Serve,
    over: TargetOf,
    mail: Mail,
    certificates: Certificates,
    kind: str,
    problem: str,
) -> None:
    server = await serve(starttls(certificates.context(kind)))
    report = await submit(server, over, mail, tls=RelayTls.OPPORTUNISTIC)
    assert report.result is Result.ACCEPTED, report.detail
    assert report.tls is not None
    assert report.tls.verified is False
    assert report.tls.problem == problem.format(not_after=certificates.not_after(kind))
    assert report.tls.not_after_ns == certificates.not_after_ns(kind)


async def test_the_systems_store_knows_no_test_ca(
    serve: Serve, over: TargetOf, mail: Mail, certificates: Certificates
) -> None:
    server = await serve(starttls(certificates.context("good")))
    report = await submit(server, over, mail, tls=RelayTls.OPPORTUNISTIC, ca_file=None)
    assert report.result is Result.ACCEPTED, report.detail
    assert report.tls is not None
    assert report.tls.problem in (UNTRUSTED, "no trusted roots to judge it by")


async def serve_over(tls: RelayTls, serve: Serve, context: ssl.SSLContext) -> ScriptedServer:
    """A server with TLS from the first byte, or with STARTTLS."""
    if tls is RelayTls.IMPLICIT:
        return await serve(implicit, context)
    return await serve(starttls(context))


@pytest.mark.parametrize("tls", [RelayTls.STARTTLS, RelayTls.IMPLICIT])
@pytest.mark.parametrize(
    ("kind", "words"),
    [
        ("expired", "certificate has expired"),
        ("wrong-name", "Hostname mismatch"),
        ("foreign", "self-signed certificate in certificate chain"),
        ("self-signed", "self-signed certificate"),
    ],
)
async def test_required_tls_refuses_a_bad_certificate(
    serve: Serve,
    over: TargetOf,
    mail: Mail,
    certificates: Certificates,
    tls: RelayTls,
    kind: str,
    words: str,
) -> None:
    server = await serve_over(tls, serve, certificates.context(kind))
    report = await submit(server, over, mail, tls=tls)
    assert (report.result, report.stage) == (Result.FAILED, Stage.TLS)
    assert report.reason is Reason.CERTIFICATE
    assert report.detail is not None
    assert report.detail.startswith("tls: ")
    # OpenSSL's wording of the unknown issuer depends on the chain that the server shows.
    assert words in report.detail or (kind == "foreign" and "issuer" in report.detail)
    assert list(report.phases)[-1] == "tls"


@pytest.mark.parametrize("tls", [RelayTls.STARTTLS, RelayTls.IMPLICIT])
@pytest.mark.parametrize("kind", BAD)
async def test_verification_can_be_lifted(
    serve: Serve,
    over: TargetOf,
    mail: Mail,
    certificates: Certificates,
    tls: RelayTls,
    kind: str,
) -> None:
    server = await serve_over(tls, serve, certificates.context(kind))
    report = await submit(server, over, mail, tls=tls, verify=False)
    assert report.result is Result.ACCEPTED, report.detail
    assert report.tls is not None
    assert report.tls.verified is False


async def test_opportunistic_tls_goes_on_without_where_it_is_not_offered(
    serve: Serve, over: TargetOf, mail: Mail
) -> None:
    server = await serve(implicit)
    report = await submit(server, over, mail, tls=RelayTls.OPPORTUNISTIC)
    assert (report.result, report.tls) == (Result.ACCEPTED, None)
    assert "tls" not in report.phases


@pytest.mark.parametrize("tls", [RelayTls.STARTTLS, RelayTls.OPPORTUNISTIC])
@pytest.mark.parametrize(
    ("reply", "reason", "result"),
    [
        ("454 4.7.0 TLS not available", Reason.REPLY_4XX, Result.FAILED),
        ("502 5.5.1 no", Reason.REPLY_5XX, Result.FAILED),
        ("421 4.3.2 closing", Reason.REPLY_4XX, Result.DEFERRED),
    ],
)
async def test_starttls_offered_and_refused(
    serve: Serve,
    over: TargetOf,
    mail: Mail,
    tls: RelayTls,
    reply: str,
    reason: Reason,
    result: Result,
) -> None:
    async def script(peer: Peer) -> None:
        await peer.greet("250-relay.test", "250 STARTTLS")
        await peer.line()
        await peer.say(reply)
        await peer.line()

    report = await submit(await serve(script), over, mail, tls=tls)
    assert (report.result, report.stage, report.reason) == (result, Stage.TLS, reason)
    assert report.detail == f"tls: {reply}"


@pytest.mark.parametrize("tls", [RelayTls.STARTTLS, RelayTls.OPPORTUNISTIC])
@pytest.mark.parametrize(
    ("fault", "reason"),
    [
        ("garbage", Reason.TLS_HANDSHAKE),
        ("closes", Reason.CLOSED),
        ("resets", Reason.RESET),
        ("silent", Reason.TIMEOUT),
        ("injects", Reason.PROTOCOL),
    ],
)
async def test_a_handshake_that_fails_is_no_reason_to_go_on_in_the_clear(
    serve: Serve, over: TargetOf, mail: Mail, tls: RelayTls, fault: str, reason: Reason
) -> None:
    left = b""

    async def script(peer: Peer) -> None:
        nonlocal left
        await peer.greet("250-relay.test", "250 STARTTLS")
        assert await peer.line() == "STARTTLS"
        if fault == "injects":
            await peer.say("220 go", "250 injected in the clear")
        else:
            await peer.say("220 go")
        if fault == "garbage":
            assert (await peer.some()).startswith(b"\x16\x03")
            await peer.say("500 what is this?")
        elif fault == "closes":
            return
        elif fault == "resets":
            peer.reset()
            return
        left = await peer.gone()

    server = await serve(script)
    limit = 0.3 if fault == "silent" else 10
    report = await submit(server, over, mail, tls=tls, command=limit)
    assert (report.result, report.stage) == (Result.FAILED, Stage.TLS), report.detail
    assert report.reason is reason
    assert report.tls is None
    await server.finished()
    assert b"MAIL" not in left
    assert b"QUIT" not in left


async def test_implicit_tls_to_a_plain_port(serve: Serve, over: TargetOf, mail: Mail) -> None:
    async def script(peer: Peer) -> None:
        await peer.say("220 relay.test ESMTP")
        await peer.gone()

    report = await submit(await serve(script), over, mail, tls=RelayTls.IMPLICIT)
    assert (report.result, report.stage) == (Result.FAILED, Stage.TLS)
    assert report.reason is Reason.TLS_HANDSHAKE


@pytest.mark.parametrize(
    ("fault", "reason"),
    [("closes", Reason.CLOSED), ("resets", Reason.RESET), ("silent", Reason.TIMEOUT)],
)
async def test_implicit_tls_that_does_not_come_about(
    serve: Serve, over: TargetOf, mail: Mail, fault: str, reason: Reason
) -> None:
    async def script(peer: Peer) -> None:
        assert (await peer.some()).startswith(b"\x16\x03")
        if fault == "resets":
            peer.reset()
        elif fault == "silent":
            await peer.gone()

    server = await serve(script)
    limit = 0.3 if fault == "silent" else 10
    report = await submit(server, over, mail, tls=RelayTls.IMPLICIT, command=limit)
    assert (report.result, report.stage, report.reason) == (Result.FAILED, Stage.TLS, reason)
    # The connection is closed, or this would wait for ever.
    await server.finished()


@pytest.mark.parametrize("tls", [RelayTls.STARTTLS, RelayTls.IMPLICIT])
async def test_cancelling_within_the_handshake_closes_the_connection(
    serve: Serve, over: TargetOf, mail: Mail, tls: RelayTls
) -> None:
    shaking = asyncio.Event()

    async def script(peer: Peer) -> None:
        if tls is RelayTls.STARTTLS:
            await peer.greet("250-relay.test", "250 STARTTLS")
            await peer.line()
            await peer.say("220 go")
        await peer.some()
        shaking.set()
        await peer.gone()

    server = await serve(script)
    task = asyncio.create_task(submit(server, over, mail, tls=tls))
    await shaking.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await server.finished()


async def test_closed_within_tls(
    serve: Serve, over: TargetOf, mail: Mail, certificates: Certificates
) -> None:
    async def script(peer: Peer) -> None:
        await peer.up_to(Stage.RCPT)

    server = await serve(script, certificates.context("good"))
    report = await submit(server, over, mail, tls=RelayTls.IMPLICIT)
    assert (report.result, report.stage) == (Result.FAILED, Stage.RCPT)
    assert report.reason in (Reason.CLOSED, Reason.RESET)
    assert report.tls is not None


async def test_contexts_are_made_once(certificates: Certificates) -> None:
    one = client_context(certificates.ca_file, strict=True)
    assert client_context(certificates.ca_file, strict=True) is one
    assert client_context(certificates.ca_file, strict=False) is not one


async def test_credentials_make_opportunistic_tls_strict(
    serve: Serve, over: TargetOf, mail: Mail, certificates: Certificates
) -> None:
    server = await serve(starttls(certificates.context("self-signed")))
    report = await submit(
        server,
        over,
        mail,
        tls=RelayTls.OPPORTUNISTIC,
        verify=False,
        user="canary",
        password=Secret("s3cr3t"),
    )
    assert (report.result, report.stage) == (Result.FAILED, Stage.TLS)
    assert report.reason is Reason.CERTIFICATE
