"""Logging in, and never showing the secret."""

import asyncio
import logging
from base64 import b64decode, b64encode

import pytest

from probes.contract.secret import Secret
from probes.contract.stages import Reason, Stage
from probes.imap import FolderSession, ImapFailure
from probes.imap.login import redactor
from probes.imap.wire import xoauth2
from tests.probes.imap.scripted import PASSWORD, Conversation, ScriptedServer

FIELDS = ("X-Mailcanary",)


async def open_and_close(server: ScriptedServer, **changes: object) -> None:
    session = await FolderSession.open(server.target(**changes), "INBOX", header_fields=FIELDS)
    await session.close()


async def failure(server: ScriptedServer, **changes: object) -> ImapFailure:
    with pytest.raises(ImapFailure) as caught:
        await FolderSession.open(server.target(**changes), "INBOX", header_fields=FIELDS)
    return caught.value


async def test_login_is_quoted(server: ScriptedServer) -> None:
    await open_and_close(server, user='can"ary\\ of acme')
    assert any(line.endswith(rb'LOGIN "can\"ary\\ of acme" "open sesame"') for line in server.lines)


async def test_wrong_password(server: ScriptedServer) -> None:
    error = await failure(server, secret=Secret("wrong"))
    assert (error.stage, error.reason) == (Stage.AUTH, Reason.CREDENTIALS)
    assert error.detail == "[AUTHENTICATIONFAILED] no"


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (b"", Reason.CREDENTIALS),
        (b"wrong", Reason.CREDENTIALS),
        (b"[EXPIRED] old", Reason.CREDENTIALS),
        (b"[UNAVAILABLE] later", Reason.REFUSED),
        (b"[LIMIT] too many", Reason.REFUSED),
        (b"[PRIVACYREQUIRED] TLS", Reason.AUTH_NOT_OFFERED),
    ],
)
async def test_why_a_login_was_refused(server: ScriptedServer, text: bytes, reason: Reason) -> None:
    async def login(conversation: Conversation, tag: bytes, arguments: bytes) -> None:  # noqa: ARG001 - a handler's shape
        await conversation.send(tag + b" NO " + text)

    server.script["LOGIN"] = login
    error = await failure(server)
    assert (error.stage, error.reason) == (Stage.AUTH, reason)


async def test_login_disabled_sends_no_password(server: ScriptedServer) -> None:
    server.capabilities = b"IMAP4rev1 LOGINDISABLED STARTTLS"
    error = await failure(server)
    assert (error.stage, error.reason) == (Stage.AUTH, Reason.AUTH_NOT_OFFERED)
    assert server.commands == ["CAPABILITY"]


async def test_login_with_literals(server: ScriptedServer) -> None:
    received: list[bytes] = []

    async def login(conversation: Conversation, tag: bytes, arguments: bytes) -> None:
        received.append(arguments)
        for _ in range(2):
            await conversation.send(b"+ go ahead")
            received.append(await conversation.line())
        await conversation.send(tag + b" OK [CAPABILITY IMAP4rev1 IDLE] welcome")

    server.script["LOGIN"] = login
    session = await FolderSession.open(
        server.target(user="\u00e9ve", secret=Secret("p\u00e4ss")), "INBOX", header_fields=FIELDS
    )
    assert received == [b"{4}", "\u00e9ve {5}".encode(), "p\u00e4ss".encode()]
    assert session.capabilities == {"IMAP4REV1", "IDLE"}
    assert server.commands == ["CAPABILITY", "LOGIN", "SELECT"]
    await session.close()


@pytest.mark.parametrize("secret", ["", "a\r\nb", "a\x00"])
async def test_secret_that_cannot_be_sent(server: ScriptedServer, secret: str) -> None:
    error = await failure(server, secret=Secret(secret))
    assert (error.stage, error.reason) == (Stage.AUTH, Reason.SECRET)
    assert "LOGIN" not in server.commands


async def test_greeting_that_is_logged_in(server: ScriptedServer) -> None:
    async def greeting(conversation: Conversation, tag: bytes, arguments: bytes) -> None:  # noqa: ARG001 - a handler's shape
        await conversation.send(b"* PREAUTH [CAPABILITY IMAP4rev1 IDLE] hello canary")

    server.script["GREETING"] = greeting
    await open_and_close(server)
    assert server.commands == ["SELECT", "LOGOUT"]


async def test_server_without_capabilities(server: ScriptedServer) -> None:
    async def none(conversation: Conversation, tag: bytes, arguments: bytes) -> None:  # noqa: ARG001 - a handler's shape
        await conversation.send(tag + b" OK nothing")

    server.script["CAPABILITY"] = none
    assert (await failure(server)).reason is Reason.PROTOCOL


CHALLENGE = b'{"status":"401","schemes":"bearer","scope":"https://mail.example/"}'


@pytest.mark.parametrize("initial", [True, False])
@pytest.mark.parametrize("good", [True, False])
async def test_xoauth2(server: ScriptedServer, initial: bool, good: bool) -> None:
    received: list[bytes] = []

    async def authenticate(conversation: Conversation, tag: bytes, arguments: bytes) -> None:
        mechanism, _, response = arguments.partition(b" ")
        assert mechanism == b"XOAUTH2"
        if not initial:
            assert response == b""
            await conversation.send(b"+ ")
            response = await conversation.line()
        received.append(b64decode(response))
        if good:
            await conversation.send(tag + b" OK [CAPABILITY IMAP4rev1] welcome")
            return
        await conversation.send(b"+ " + b64encode(CHALLENGE))
        received.append(await conversation.line())
        await conversation.send(tag + b" NO SASL authentication failed")

    server.capabilities = b"IMAP4rev1 AUTH=XOAUTH2" + (b" SASL-IR" if initial else b"")
    server.script["AUTHENTICATE"] = authenticate
    if good:
        await open_and_close(server, auth="xoauth2")
    else:
        error = await failure(server, auth="xoauth2")
        assert (error.stage, error.reason) == (Stage.AUTH, Reason.CREDENTIALS)
        assert '"status":"401"' in error.detail
        assert received[1:] == [b""]
    assert received[0] == b"user=canary\x01auth=Bearer open sesame\x01\x01"


async def test_xoauth2_not_offered(server: ScriptedServer) -> None:
    error = await failure(server, auth="xoauth2")
    assert (error.stage, error.reason) == (Stage.AUTH, Reason.AUTH_NOT_OFFERED)


async def test_a_continuation_too_many(server: ScriptedServer) -> None:
    async def authenticate(conversation: Conversation, tag: bytes, arguments: bytes) -> None:  # noqa: ARG001 - a handler's shape
        for _ in range(3):
            await conversation.send(b"+ more")
        await conversation.hang()

    server.capabilities = b"IMAP4rev1 AUTH=XOAUTH2"
    server.script["AUTHENTICATE"] = authenticate
    error = await failure(server, auth="xoauth2")
    assert (error.stage, error.reason) == (Stage.AUTH, Reason.PROTOCOL)


@pytest.mark.parametrize("auth", ["login", "xoauth2"])
@pytest.mark.parametrize("status", [b"NO", b"BAD", b"?"])
async def test_an_echoed_secret_is_hidden_everywhere(
    server: ScriptedServer, caplog: pytest.LogCaptureFixture, auth: str, status: bytes
) -> None:
    secret = 'pa ss"\\wo rd'

    async def echo(conversation: Conversation, tag: bytes, arguments: bytes) -> None:
        echoed = arguments + secret.encode()
        await conversation.send(b"* OK " + echoed, tag + b" " + status + b" " + echoed)

    caplog.set_level(logging.DEBUG)
    asyncio.get_running_loop().set_debug(True)
    server.capabilities = b"IMAP4rev1 AUTH=XOAUTH2 SASL-IR"
    server.script["LOGIN"] = server.script["AUTHENTICATE"] = echo
    error = await failure(server, auth=auth, secret=Secret(secret, "acme/imap"))
    shown = f"{error!r} {error} {error.detail} {server.target(secret=Secret(secret))!r}"
    for text in (shown, caplog.text):
        assert "pa ss" not in text
        assert "wo rd" not in text
        assert xoauth2("canary", secret) not in text
    assert "<hidden>" in shown


async def test_nothing_is_logged_of_a_login(
    server: ScriptedServer, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    await open_and_close(server)
    assert PASSWORD not in caplog.text
    assert "LOGIN" not in caplog.text


async def test_redactor(server: ScriptedServer) -> None:
    redact = redactor(server.target(secret=Secret('a"b')))
    coded = b64encode(b'a"b').decode()
    assert redact(f'x a"b y a\\"b z {coded}') == "x <hidden> y <hidden> z <hidden>"
