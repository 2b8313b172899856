"""Submissions that go well, against aiosmtpd and a scripted relay."""

import asyncio
import re
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from ipaddress import ip_address

import msgspec
import pytest
from aiosmtpd.smtp import SMTP, Envelope, Session

from probes.contract.config.models import RelayTls
from probes.contract.events import Reply, Submission
from probes.contract.names import Path
from probes.contract.stages import Result, Stage
from probes.smtp import Endpoint, Mail, SmtpTarget, resolve, send
from tests.probes.smtp.conftest import CONTENT, Serve, TargetOf
from tests.probes.smtp.scripted import Peer


@dataclass
class Inbox:
    """An aiosmtpd handler that keeps what it got."""

    port: int = 0
    envelopes: list[Envelope] = field(default_factory=list)

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:  # noqa: N802 - aiosmtpd's name
        assert server.session is session
        assert session.host_name == "sfo.monitor.example"
        self.envelopes.append(envelope)
        return "250 2.0.0 Ok: queued as 4VxYz"


@pytest.fixture
async def inbox() -> AsyncIterator[Inbox]:
    handler = Inbox()
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: SMTP(handler, hostname="relay.test"), "127.0.0.1", 0)
    handler.port = server.sockets[0].getsockname()[1]
    yield handler
    server.close()
    await server.wait_closed()


async def test_round_trip(inbox: Inbox, target: TargetOf, mail: Mail) -> None:
    report = await send(target(inbox.port), mail)

    assert report.result is Result.ACCEPTED
    assert (report.stage, report.reason, report.detail) == (None, None, None)
    assert report.reply == Reply(250, "2.0.0", "2.0.0 Ok: queued as 4VxYz")
    assert report.queue_id == "4VxYz"
    assert (report.peer, report.source, report.tls) == ("127.0.0.1", "127.0.0.1", None)
    assert report.attempts == []
    assert report.dsn is False
    [envelope] = inbox.envelopes
    assert envelope.mail_from == mail.sender
    assert envelope.rcpt_tos == [mail.recipient]
    assert envelope.mail_options == [f"SIZE={len(CONTENT)}"]
    assert envelope.content == CONTENT


async def test_every_phase_is_timed_alone(inbox: Inbox, target: TargetOf, mail: Mail) -> None:
    ticks = iter(range(1000))
    report = await send(target(inbox.port), mail, monotonic=lambda: float(next(ticks)))

    assert list(report.phases) == [
        *("resolve", "connect", "banner", "ehlo", "mail", "rcpt", "data", "accept")
    ]
    # The clock is read once more for the attempt within connect.
    assert list(report.phases.values()) == [1, 2, 1, 1, 1, 1, 1, 1]


async def test_report_makes_an_event(inbox: Inbox, target: TargetOf, mail: Mail) -> None:
    report = await send(target(inbox.port), mail)
    fields = {name: getattr(report, name) for name in report.__slots__}
    event = Submission(canary="c", path=Path("a", "r", "c/m"), sent_ns=1, at_ns=2, **fields)
    assert msgspec.json.decode(msgspec.json.encode(event), type=Submission) == event


async def test_names_are_resolved(inbox: Inbox, target: TargetOf, mail: Mail) -> None:
    report = await send(target(inbox.port, host="localhost"), mail)
    assert report.result is Result.ACCEPTED
    assert report.peer == "127.0.0.1"


async def test_source_address(inbox: Inbox, target: TargetOf, mail: Mail) -> None:
    source = ip_address("127.0.0.9")
    report = await send(target(inbox.port, host="localhost", source_address=source), mail)
    assert report.result is Result.ACCEPTED
    assert report.source == "127.0.0.9"
    assert report.attempts == []


@pytest.mark.usefixtures("ipv6")
async def test_ipv6(serve: Serve, target: TargetOf, mail: Mail) -> None:
    async def script(peer: Peer) -> None:
        await peer.up_to(Stage.ACCEPT)
        await peer.accept()

    server = await serve(script, host="::1")
    report = await send(target(server.port, host="::1"), mail)
    assert report.result is Result.ACCEPTED
    assert (report.peer, report.source) == ("::1", "::1")


async def test_dsn_is_asked_for_where_it_is_offered(
    serve: Serve, target: TargetOf, mail: Mail
) -> None:
    async def script(peer: Peer) -> None:
        await peer.greet("250-relay.test", "250 dsn")
        await peer.envelope(Stage.ACCEPT)
        await peer.accept("250 OK id=1aBcDe-0001Xy-2Z")

    server = await serve(script)
    report = await send(target(server.port), mail)

    assert report.dsn is True
    assert report.queue_id == "1aBcDe-0001Xy-2Z"
    [peer] = server.peers
    assert peer.heard == [
        "EHLO sfo.monitor.example",
        "MAIL FROM:<canary@monitor.example> RET=HDRS ENVID=c-1",
        "RCPT TO:<inbox@acme.example> NOTIFY=FAILURE,DELAY ORCPT=rfc822;inbox@acme.example",
        "DATA",
        "QUIT",
    ]
    assert peer.content == b"Subject: canary\r\n\r\nhello\r\n..a dot\r\n.\r\n"


async def test_an_old_relay_gets_helo(serve: Serve, target: TargetOf, mail: Mail) -> None:
    async def script(peer: Peer) -> None:
        await peer.greet("502 what?")
        assert await peer.line() == "HELO sfo.monitor.example"
        await peer.say("250 relay.test")
        await peer.envelope(Stage.ACCEPT)
        await peer.accept("250 OK")

    server = await serve(script)
    report = await send(target(server.port, tls=RelayTls.OPPORTUNISTIC), mail)
    assert report.result is Result.ACCEPTED
    assert server.peers[0].heard[2] == "MAIL FROM:<canary@monitor.example>"
    assert (report.queue_id, report.dsn, report.tls) == (None, False, None)


async def test_multi_line_replies_in_any_pieces(serve: Serve, target: TargetOf, mail: Mail) -> None:
    async def script(peer: Peer) -> None:
        for piece in (b"2", b"20-relay.test\r", b"\n220-no spam", b"\r\n22", b"0 ESMTP\r\n"):
            await peer.raw(piece)
        await peer.line()
        await peer.say("250 relay.test")
        await peer.envelope(Stage.ACCEPT)
        await peer.say("250-2.0.0 thanks", "250-2.0.0 a lot,", "250 2.0.0 Ok: queued as 77")
        assert await peer.line() == "QUIT"

    server = await serve(script)
    report = await send(target(server.port), mail)
    assert report.result is Result.ACCEPTED
    assert report.reply == Reply(250, "2.0.0", "2.0.0 thanks\n2.0.0 a lot,\n2.0.0 Ok: queued as 77")
    assert report.queue_id == "77"


async def test_data_sent_is_told_before_the_reply(
    serve: Serve, target: TargetOf, mail: Mail
) -> None:
    order: list[str] = []

    async def script(peer: Peer) -> None:
        await peer.up_to(Stage.ACCEPT)
        order.append("reply")
        await peer.accept()

    server = await serve(script)
    await send(target(server.port), mail, on_data_sent=lambda: order.append("sent"))
    assert order == ["sent", "reply"]


async def test_one_connection_each(serve: Serve, target: TargetOf, mail: Mail) -> None:
    async def script(peer: Peer) -> None:
        await peer.up_to(Stage.ACCEPT)
        await peer.accept()

    server = await serve(script)
    for _ in range(3):
        await send(target(server.port), mail)
    await server.finished()
    assert len(server.peers) == 3
    assert all(peer.heard[-1] == "QUIT" for peer in server.peers)


async def test_resolve_gives_each_address_once() -> None:
    found = await resolve("127.0.0.1", 25, 0)
    assert [(each.sockaddr[0], each.sockaddr[1]) for each in found] == [("127.0.0.1", 25)]
    assert isinstance(found[0], Endpoint)


@pytest.mark.parametrize(
    "addresses",
    [
        ("canary", "a@b.example"),
        ("a@b.example", "<a@b.example>"),
        ("a b@c.example", "a@b.example"),
        ("a@b.example\r\nRSET", "a@b.example"),
        ("ä@b.example", "a@b.example"),
        ("", "a@b.example"),
    ],
)
def test_a_mail_with_bad_addresses_cannot_be_made(addresses: tuple[str, str]) -> None:
    with pytest.raises(ValueError, match="address"):
        Mail(*addresses, CONTENT)


@pytest.mark.parametrize("envid", ["", "x" * 101])
def test_a_mail_with_a_bad_envid_cannot_be_made(envid: str) -> None:
    with pytest.raises(ValueError, match="envid"):
        Mail("a@b.example", "a@b.example", CONTENT, envid)


@pytest.mark.parametrize("helo", ["", "a b", "a\r\nMAIL", "ä.example"])
def test_a_target_with_a_bad_helo_cannot_be_made(helo: str) -> None:
    with pytest.raises(ValueError, match=re.escape("helo")):
        SmtpTarget("127.0.0.1", 25, RelayTls.NONE, helo)


def test_a_target_with_half_a_login_cannot_be_made() -> None:
    with pytest.raises(ValueError, match="password"):
        SmtpTarget("127.0.0.1", 25, RelayTls.NONE, "me.example", user="canary")
