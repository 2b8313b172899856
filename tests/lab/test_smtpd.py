"""The SMTP server speaks DSN, AUTH and STARTTLS, and survives rude clients."""

import asyncio
import re
import ssl
from collections.abc import AsyncIterator

import aiosmtplib
import pytest
import trustme

from lab.estate import Estate
from lab.relay import Relay
from lab.smtpd import decode_xtext, parse_notify, parse_ret, take_parameters
from lab.specs import RelaySpec
from probes.contract.config.models import RelayTls
from tests.lab.clients import (
    BOUNCES,
    INBOX,
    RCPT,
    SENDER,
    client,
    delivered,
    mail,
    only_message,
    tls_client,
)

CA = trustme.CA()


@pytest.fixture(scope="module")
def server_tls() -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    CA.issue_cert(*(f"127.20.0.{n}" for n in range(1, 9))).configure_cert(context)
    return context


@pytest.fixture(scope="module")
def client_tls() -> ssl.SSLContext:
    context = ssl.create_default_context()
    CA.configure_trust(context)
    return context


@pytest.fixture
async def secured(server_tls: ssl.SSLContext) -> AsyncIterator[Estate]:
    """One relay for each way to use TLS; the strict one wants AUTH too."""
    relays = [
        RelaySpec(name="plain"),
        RelaySpec(name="maybe", tls=RelayTls.OPPORTUNISTIC, tls_context=server_tls),
        RelaySpec(
            name="strict",
            tls=RelayTls.STARTTLS,
            tls_context=server_tls,
            users={"canary": "pässword"},
        ),
        RelaySpec(name="wrapped", tls=RelayTls.IMPLICIT, tls_context=server_tls),
    ]
    async with Estate(relays, [INBOX]) as running:
        yield running


@pytest.mark.parametrize(
    ("name", "protocol", "login"),
    [
        ("maybe", "ESMTPS", {}),
        ("strict", "ESMTPSA", {"username": "canary", "password": "pässword"}),
        ("wrapped", "ESMTPS", {}),
    ],
)
async def test_mail_over_tls(
    secured: Estate,
    client_tls: ssl.SSLContext,
    name: str,
    protocol: str,
    login: dict[str, str],
) -> None:
    async with tls_client(secured.relays[name], client_tls, **login) as smtp:
        await smtp.sendmail(SENDER, [RCPT], mail("tls@x"))
    await delivered(secured, 1)
    _outer, inner = (await only_message(secured.mailboxes[INBOX])).get_all("Received", [])
    assert "using TLSv1.3 with cipher TLS_" in inner
    assert f"with {protocol} id " in inner


async def test_what_each_relay_offers(secured: Estate) -> None:
    offers = {}
    for name in ("plain", "maybe", "strict"):
        async with client(secured.relays[name]) as smtp:
            await smtp.ehlo()
            assert smtp.supports_extension("dsn")
            assert smtp.supports_extension("enhancedstatuscodes")
            offers[name] = (
                smtp.supports_extension("starttls"),
                smtp.supports_extension("auth"),
            )
    assert offers == {"plain": (False, False), "maybe": (True, False), "strict": (True, True)}


async def test_strict_takes_nothing_in_the_clear_nor_without_login(
    secured: Estate, client_tls: ssl.SSLContext
) -> None:
    strict = secured.relays["strict"]
    async with client(strict) as smtp:
        await smtp.ehlo()
        with pytest.raises(aiosmtplib.SMTPSenderRefused) as refused:
            await smtp.mail(SENDER)
        assert refused.value.code == 530
    async with tls_client(strict, client_tls) as smtp:
        with pytest.raises(aiosmtplib.SMTPSenderRefused) as refused:
            await smtp.mail(SENDER)
        assert (refused.value.code, refused.value.message[:5]) == (530, "5.7.0")
        for user, password in (("canary", "wrong"), ("nobody", "pässword")):
            with pytest.raises(aiosmtplib.SMTPAuthenticationError) as denied:
                await smtp.login(user, password)
            assert denied.value.code == 535


async def test_a_client_that_does_not_trust_the_certificate_hurts_nobody(
    secured: Estate, client_tls: ssl.SSLContext
) -> None:
    for name in ("maybe", "wrapped"):
        with pytest.raises((ssl.SSLError, aiosmtplib.SMTPConnectError), match="VERIFY_FAILED"):
            await tls_client(secured.relays[name], ssl.create_default_context()).connect()
        async with tls_client(secured.relays[name], client_tls) as smtp:
            await smtp.noop()


async def test_what_comes_in_the_clear_behind_starttls_is_dropped(secured: Estate) -> None:
    maybe = secured.relays["maybe"]
    reader, writer = await asyncio.open_connection(maybe.host, maybe.port)
    await reader.readline()
    writer.write(b"EHLO x\r\n")
    while not (await reader.readline()).startswith(b"250 "):
        pass
    writer.write(b"STARTTLS\r\nMAIL FROM:<evil@x.example>\r\n")
    assert (await reader.readline()).startswith(b"220 ")
    trusting = ssl.create_default_context()
    CA.configure_trust(trusting)
    await writer.start_tls(trusting, server_hostname=maybe.host)
    writer.write(b"NOOP\r\nRCPT TO:<a@b.example>\r\n")
    assert (await reader.readline()).startswith(b"250 ")
    assert (await reader.readline()).startswith(b"503 "), "EHLO is due again"
    writer.close()
    await writer.wait_closed()


async def talk(relay: Relay, *lines: bytes) -> list[bytes]:
    """Send lines one by one; returns the last line of each reply, the banner's first."""
    reader, writer = await asyncio.open_connection(relay.host, relay.port)
    replies = []
    for line in (b"", *lines):
        if line:
            writer.write(line + b"\r\n")
        reply = await reader.readline()
        while reply[3:4] == b"-":
            reply = await reader.readline()
        replies.append(reply.rstrip())
    writer.close()
    await writer.wait_closed()
    return replies


async def test_dsn_parameters_are_taken_and_bad_ones_refused(estate: Estate) -> None:
    replies = await talk(
        estate.relays["a"],
        b"EHLO x",
        b"MAIL FROM:<a@b.example> RET=SOME",
        b"MAIL FROM:<a@b.example> ENVID=1 ENVID=2",
        b"MAIL FROM:<a@b.example> RET=hdrs ENVID=QQ+2B314 SIZE=100 BODY=8BITMIME",
        b"RCPT TO:<inbox@acme.example> NOTIFY=NEVER,FAILURE",
        b"RCPT TO:<inbox@acme.example> NOTIFY=",
        b"RCPT TO:<inbox@acme.example> NOTIFY=SUCCESS,DELAY ORCPT=rfc822;a+3Db@c.example",
        b"RSET",
        b"MAIL FROM:<>",
        b"RCPT TO:<" + b"x" * 400 + b"@acme.example> ORCPT=rfc822;" + b"y" * 480,
    )
    assert [reply[:3] for reply in replies] == [
        b"220", b"250", b"501", b"501", b"250", b"501", b"501", b"250", b"250", b"250", b"250"
    ]  # fmt: skip
    assert replies[2] == b"501 5.5.4 Bad DSN parameter: RET=SOME"


async def test_rude_clients_get_errors_and_the_relay_goes_on(estate: Estate) -> None:
    relay = estate.relays["a"]
    replies = await talk(
        relay,
        b"MAIL FROM:<a@b.example>",
        b"EHLO x",
        b"RCPT TO:<a@b.example>",
        b"DATA",
        b"\xff\xfe",
        b"X" * 5000,
        b"WHAT",
        b"MAIL FROM:a@b@c <",
        b"NOOP",
    )
    assert [reply[:1] for reply in replies] == [
        b"2", b"5", b"2", b"5", b"5", b"5", b"5", b"5", b"5", b"2"
    ]  # fmt: skip
    reader, writer = await asyncio.open_connection(relay.host, relay.port)
    await reader.readline()
    for line in (b"EHLO x", b"MAIL FROM:<a@b.example>", b"RCPT TO:<inbox@acme.example>", b"DATA"):
        writer.write(line + b"\r\n")
    writer.write(b"half a mess")
    await writer.drain()
    writer.close()
    await writer.wait_closed()
    assert (await talk(relay, b"NOOP"))[1] == b"250 OK"
    assert estate.truth.acceptances == []


async def test_several_recipients_each_get_their_copy(estate: Estate) -> None:
    async with client(estate.relays["a"]) as smtp:
        await smtp.sendmail(SENDER, [RCPT, "other@ACME.example"], mail("both@x"))
    await delivered(estate, 2)
    assert {record.mailbox for record in estate.truth.deliveries} == {INBOX, "acme/other"}
    assert len({record.queue_id for record in estate.truth.acceptances}) == 1


async def test_nothing_is_sent_to_who_wants_no_dsn(estate: Estate) -> None:
    async with client(estate.relays["a"]) as smtp:
        await smtp.ehlo()
        for notify in ("NEVER", "DELAY", "FAILURE"):
            await smtp.mail(SENDER)
            await smtp.rcpt("nobody@acme.example", options=[f"NOTIFY={notify}"])
            await smtp.data(mail(f"{notify}@x"))
    await estate.until(lambda: len(estate.truth.bounces) == 3)
    await delivered(estate, 1)
    assert [record.mailbox for record in estate.truth.deliveries] == [BOUNCES]


def test_parameters_are_split_off_behind_the_path_only() -> None:
    pattern = re.compile(r"\s+(RET|ENVID)=(\S+)", re.IGNORECASE)
    assert take_parameters(pattern, "FROM:<a@b> ret=FULL SIZE=1") == (
        "FROM:<a@b> SIZE=1",
        {"RET": "FULL"},
    )
    assert take_parameters(pattern, 'FROM:<"a RET=x"@b>') == ('FROM:<"a RET=x"@b>', {})


def test_parameter_values() -> None:
    assert parse_notify(None) is None
    assert parse_notify("success,FAILURE") == frozenset({"SUCCESS", "FAILURE"})
    assert parse_notify("NEVER") == frozenset({"NEVER"})
    assert parse_ret("hdrs") == "HDRS"
    assert decode_xtext("a+2Bb+3D") == "a+b="
    for bad in ("", "NEVER,DELAY", "SOMETIMES"):
        with pytest.raises(ValueError, match="NOTIFY"):
            parse_notify(bad)
