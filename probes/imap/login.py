"""The steps from the greeting to an account: capabilities and authentication."""

import asyncio
from base64 import b64decode, b64encode
from collections.abc import Callable

import aioimaplib

from probes.contract.stages import Reason, Stage
from probes.imap.model import ImapStage, ImapTarget
from probes.imap.protocol import ImapProtocol, Reply, Request
from probes.imap.replies import response_code
from probes.imap.view import FolderView
from probes.imap.wire import is_sendable, strings, xoauth2

HIDDEN = "<hidden>"

_NOT_THE_CREDENTIALS = frozenset(
    {b"UNAVAILABLE", b"INUSE", b"LIMIT", b"SERVERBUG", b"CONTACTADMIN", b"OVERQUOTA"}
)
"""Codes of RFC 5530 with which a login fails although the credentials may be right."""


def redactor(target: ImapTarget) -> Callable[[str], str]:
    """A function that hides the target's secret, in every form it is sent in, from a text.

    A server may well echo what it was sent.
    """
    secret = target.secret.reveal()
    escaped = secret.replace("\\", "\\\\").replace('"', '\\"')
    coded = b64encode(secret.encode()).decode()
    forms = sorted(
        {form for form in (secret, escaped, coded, xoauth2(target.user, secret)) if form},
        key=len,
        reverse=True,
    )

    def redact(text: str) -> str:
        for form in forms:
            text = text.replace(form, HIDDEN)
        return text

    return redact


async def greet(protocol: ImapProtocol, view: FolderView, limit_s: float) -> None:
    """Wait for the server's greeting, and note the capabilities that it may name.

    Raises:
        ImapFailure: at BANNER.
    """
    try:
        async with asyncio.timeout(limit_s):
            line = await protocol.greeting
    except TimeoutError:
        protocol.die(Reason.TIMEOUT, f"no greeting within {limit_s:g} s")
        line = b""
    protocol.check_alive()
    kind = line[2:].split(b" ", 1)[0].upper() if line.startswith(b"* ") else b""
    if kind == b"BYE":
        raise protocol.fail(Stage.BANNER, Reason.REFUSED, protocol.said(line[6:]))
    if kind not in (b"OK", b"PREAUTH"):
        detail = f"the server's greeting is {protocol.said(line)!r}"
        raise protocol.fail(Stage.BANNER, Reason.PROTOCOL, detail)
    protocol.state = aioimaplib.NONAUTH if kind == b"OK" else aioimaplib.AUTH
    view.note_capabilities(line.split(b" ", 2)[-1])


async def log_in(protocol: ImapProtocol, view: FolderView, target: ImapTarget) -> None:
    """Authenticate, if the server has not done so by itself, and learn what it then offers.

    Raises:
        ImapFailure: at AUTH or CAPABILITY.
    """
    if protocol.state != aioimaplib.AUTH:
        if not view.capabilities:
            await _ask_capabilities(protocol, view, target)
        request = _request(protocol, view, target)
        # What is offered before and after are two different things (RFC 3501 section 6.1.1).
        view.capabilities = frozenset()
        reply = await protocol.run(Stage.AUTH, request, target.command_timeout_s)
        _judge(protocol, request, reply)
        protocol.state = aioimaplib.AUTH
        view.note_capabilities(reply.text)
    if not view.capabilities:
        await _ask_capabilities(protocol, view, target)


async def _ask_capabilities(protocol: ImapProtocol, view: FolderView, target: ImapTarget) -> None:
    request = Request("CAPABILITY", protocol.new_tag())
    reply = await protocol.run(ImapStage.CAPABILITY, request, target.command_timeout_s)
    if reply.status != "OK" or not view.capabilities:
        raise protocol.fail(
            ImapStage.CAPABILITY, Reason.PROTOCOL, "the server names no capabilities"
        )


def _request(protocol: ImapProtocol, view: FolderView, target: ImapTarget) -> Request:
    secret = target.secret.reveal()
    if not secret or not (is_sendable(secret) and is_sendable(target.user)):
        detail = "user or secret is empty or holds a line break or NUL"
        raise protocol.fail(Stage.AUTH, Reason.SECRET, detail)
    tag = protocol.new_tag()
    if target.auth == "xoauth2":
        if "AUTH=XOAUTH2" not in view.capabilities:
            raise protocol.fail(Stage.AUTH, Reason.AUTH_NOT_OFFERED, "the server offers no XOAUTH2")
        response = xoauth2(target.user, secret)
        # The empty answer is for the challenge that tells of an error; only then comes the NO.
        if "SASL-IR" in view.capabilities:
            return Request("AUTHENTICATE", tag, "XOAUTH2", response, answers=[b""])
        return Request("AUTHENTICATE", tag, "XOAUTH2", answers=[response.encode(), b""])
    if "LOGINDISABLED" in view.capabilities:
        raise protocol.fail(
            Stage.AUTH, Reason.AUTH_NOT_OFFERED, "the server has LOGIN disabled here"
        )
    first, *answers = strings((target.user, secret))
    return Request("LOGIN", tag, first.decode(), answers=answers)


def _judge(protocol: ImapProtocol, request: Request, reply: Reply) -> None:
    if reply.status == "OK":
        return
    code = response_code(reply.text)
    name = b"" if code is None else code.name
    if name == b"PRIVACYREQUIRED":
        reason = Reason.AUTH_NOT_OFFERED
    elif name in _NOT_THE_CREDENTIALS:
        reason = Reason.REFUSED
    else:
        reason = Reason.CREDENTIALS
    detail = protocol.said(reply.text) or "the server gave no reason"
    challenge = next((text for text in reversed(request.continuations) if text.strip()), b"")
    if request.name == "AUTHENTICATE" and challenge:
        detail = f"{detail} ({protocol.said(_challenge(challenge))})"
    raise protocol.fail(Stage.AUTH, reason, detail)


def _challenge(text: bytes) -> bytes:
    """XOAUTH2's error challenge, JSON in base64; as it stands when it is none."""
    try:
        return b64decode(text, validate=True)
    except ValueError:
        return text
