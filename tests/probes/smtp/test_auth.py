"""Credentials: sent as they must be, only where they may, and never shown."""

import base64
import logging
from dataclasses import replace

import msgspec
import pytest

from probes.contract.config.models import RelayTls
from probes.contract.secret import Secret
from probes.contract.stages import Reason, Result, Stage
from probes.smtp import Mail, SendReport, SmtpTarget, send
from probes.smtp.credentials import HIDDEN, Credentials
from probes.smtp.model import SubmissionError
from tests.probes.smtp.conftest import HOST, Certificates, Serve, TargetOf, to_loopback
from tests.probes.smtp.scripted import Peer, Script

PASSWORD = "corréct horse+battery"
PLAIN = base64.b64encode(f"\0canary\0{PASSWORD}".encode()).decode()
LOGIN = base64.b64encode(PASSWORD.encode()).decode()


@pytest.fixture
def login(target: TargetOf, certificates: Certificates) -> SmtpTarget:
    return target(
        25,
        host=HOST,
        tls=RelayTls.IMPLICIT,
        ca_file=certificates.ca_file,
        user="canary",
        password=Secret(PASSWORD, "relay-a1"),
    )


def offering(methods: str, *steps: tuple[str, str]) -> Script:
    """A relay that offers AUTH and expects what is first in each step, to reply the second."""

    async def script(peer: Peer) -> None:
        await peer.greet("250-relay.test", f"250 AUTH {methods}")
        for expected, reply in steps:
            assert await peer.line() == expected
            await peer.say(reply)
        if steps and steps[-1][1].startswith("235"):
            await peer.envelope(Stage.ACCEPT)
            await peer.accept()
        else:
            await peer.line()

    return script


@pytest.mark.parametrize(
    "script",
    [
        offering("LOGIN PLAIN", (f"AUTH PLAIN {PLAIN}", "235 2.7.0 welcome")),
        offering(
            "LOGIN",
            ("AUTH LOGIN", "334 VXNlcm5hbWU6"),
            ("Y2FuYXJ5", "334 UGFzc3dvcmQ6"),
            (LOGIN, "235 2.7.0 welcome"),
        ),
    ],
    ids=["plain", "login"],
)
async def test_welcome(
    serve: Serve, login: SmtpTarget, mail: Mail, certificates: Certificates, script: Script
) -> None:
    server = await serve(script, certificates.context("good"))
    report = await send(replace(login, port=server.port), mail, resolve=to_loopback)
    assert report.result is Result.ACCEPTED, report.detail
    assert list(report.phases)[4:6] == ["ehlo", "auth"]


@pytest.mark.parametrize(
    ("reply", "result", "reason"),
    [
        ("535 5.7.8 bad credentials", Result.FAILED, Reason.CREDENTIALS),
        ("534 5.7.9 too weak", Result.FAILED, Reason.REPLY_5XX),
        ("454 4.7.0 try later", Result.FAILED, Reason.REPLY_4XX),
        ("421 4.7.0 closing", Result.DEFERRED, Reason.REPLY_4XX),
        ("334 more?", Result.FAILED, Reason.PROTOCOL),
    ],
)
async def test_refused(
    serve: Serve,
    login: SmtpTarget,
    mail: Mail,
    certificates: Certificates,
    reply: str,
    result: Result,
    reason: Reason,
) -> None:
    script = offering("PLAIN", (f"AUTH PLAIN {PLAIN}", reply))
    server = await serve(script, certificates.context("good"))
    report = await send(replace(login, port=server.port), mail, resolve=to_loopback)
    assert (report.result, report.stage, report.reason) == (result, Stage.AUTH, reason)
    assert report.detail in (f"auth: {reply}", f"auth: unexpected reply {reply}")


async def test_no_method_that_we_know(
    serve: Serve, login: SmtpTarget, mail: Mail, certificates: Certificates
) -> None:
    server = await serve(offering("CRAM-MD5 NTLM"), certificates.context("good"))
    report = await send(replace(login, port=server.port), mail, resolve=to_loopback)
    assert (report.result, report.stage) == (Result.FAILED, Stage.AUTH)
    assert report.reason is Reason.AUTH_NOT_OFFERED
    assert report.detail == "auth: neither PLAIN nor LOGIN is offered (offered: CRAM-MD5 NTLM)"


@pytest.mark.parametrize("tls", [RelayTls.NONE, RelayTls.OPPORTUNISTIC])
async def test_nothing_is_sent_in_the_clear(
    serve: Serve, login: SmtpTarget, mail: Mail, tls: RelayTls
) -> None:
    server = await serve(offering("PLAIN LOGIN"))
    report = await send(replace(login, port=server.port, tls=tls), mail, resolve=to_loopback)
    assert (report.result, report.stage) == (Result.FAILED, Stage.AUTH)
    assert report.reason is Reason.POLICY
    assert report.detail == "auth: credentials are not sent, since the connection is not encrypted"
    await server.finished()
    assert server.peers[0].heard == ["EHLO sfo.monitor.example", "QUIT"]


async def test_unless_that_is_allowed(serve: Serve, login: SmtpTarget, mail: Mail) -> None:
    server = await serve(offering("PLAIN", (f"AUTH PLAIN {PLAIN}", "235 ok")))
    aimed = replace(login, port=server.port, tls=RelayTls.NONE, allow_plaintext_auth=True)
    report = await send(aimed, mail, resolve=to_loopback)
    assert report.result is Result.ACCEPTED, report.detail


def shown(report: SendReport, caplog: pytest.LogCaptureFixture) -> str:
    """All that may end up in a log, an event or a traceback."""
    records = [repr(record.__dict__) for record in caplog.records]
    written = msgspec.json.encode(report).decode()
    return "\n".join([repr(report), str(report.detail), written, caplog.text, *records])


@pytest.mark.parametrize(
    "echo",
    [
        f"535 no such login: {PLAIN}",
        f"535-{LOGIN}\r\n535 {PASSWORD}",
        f"{PASSWORD} is no reply",
        f"334 {PLAIN}",
        f"250 {PLAIN}\r\n250 {PASSWORD}",
    ],
)
async def test_a_relay_that_repeats_the_password(
    serve: Serve,
    login: SmtpTarget,
    mail: Mail,
    certificates: Certificates,
    caplog: pytest.LogCaptureFixture,
    echo: str,
) -> None:
    caplog.set_level(logging.DEBUG)
    script = offering("PLAIN", (f"AUTH PLAIN {PLAIN}", echo))
    server = await serve(script, certificates.context("good"))
    aimed = replace(login, port=server.port)
    report = await send(aimed, mail, resolve=to_loopback)
    assert report.stage is Stage.AUTH
    assert report.detail is not None
    assert HIDDEN in report.detail
    everything = shown(report, caplog) + repr(aimed) + repr(Credentials.of(aimed))
    for form in (PASSWORD, PLAIN, LOGIN, repr(PASSWORD)[1:-1], "horse"):
        assert form not in everything


@pytest.mark.parametrize("stage", [Stage.MAIL, Stage.ACCEPT])
async def test_a_relay_that_repeats_it_later(
    serve: Serve, login: SmtpTarget, mail: Mail, certificates: Certificates, stage: Stage
) -> None:
    async def script(peer: Peer) -> None:
        await peer.greet("250-relay.test", "250 AUTH PLAIN")
        await peer.line()
        await peer.say("235 ok")
        await peer.envelope(stage)
        await peer.say(f"550 {PASSWORD}")
        await peer.line()

    server = await serve(script, certificates.context("good"))
    report = await send(replace(login, port=server.port), mail, resolve=to_loopback)
    assert report.result is Result.REJECTED
    assert report.detail == f"{stage}: 550 {HIDDEN}"
    assert report.reply is not None
    assert report.reply.text == HIDDEN


@pytest.mark.parametrize("password", ["nul\0nul", "lone \ud800 surrogate"])
async def test_a_password_that_cannot_be_sent(login: SmtpTarget, mail: Mail, password: str) -> None:
    aimed = replace(login, password=Secret(password))
    report = await send(aimed, mail, resolve=to_loopback)
    assert (report.result, report.stage) == (Result.UNSENT, Stage.AUTH)
    assert report.reason is Reason.SECRET
    assert report.detail is not None
    assert "nul" not in report.detail
    assert "surrogate" not in report.detail
    with pytest.raises(SubmissionError) as caught:
        Credentials.of(aimed)
    assert caught.value.__context__ is None
