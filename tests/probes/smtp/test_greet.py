"""A greeting: as far as the login, with no mail, and everything that was offered on the way."""

from dataclasses import replace

import pytest

from probes.contract.config.models import RelayTls
from probes.contract.secret import Secret
from probes.contract.stages import Reason, Stage
from probes.smtp.greet import Greeting, greet
from tests.probes.smtp.conftest import HOST, Certificates, Serve, TargetOf, to_loopback
from tests.probes.smtp.scripted import Peer

OFFER = ("250-relay.test", "250-SIZE 1000", "250-DSN", "250-STARTTLS", "250 AUTH PLAIN LOGIN")


async def test_what_is_offered_is_told_and_no_mail_is_begun(serve: Serve, target: TargetOf) -> None:
    async def script(peer: Peer) -> None:
        await peer.greet(*OFFER)
        assert await peer.line() == "QUIT"
        await peer.say("221 bye")

    server = await serve(script)
    seen = await greet(target(server.port))
    assert (seen.stage, seen.reason, seen.detail) == (None, None, None)
    assert seen.banner is not None
    assert (seen.banner.code, seen.banner.text) == (220, "relay.test ESMTP")
    assert seen.extensions["size"] == "1000"
    assert {"dsn", "starttls"} <= set(seen.extensions)
    assert sorted(seen.auth_methods) == ["login", "plain"]
    assert seen.peer == "127.0.0.1"
    assert list(seen.phases) == ["resolve", "connect", "banner", "ehlo"]


async def test_login_over_tls(serve: Serve, target: TargetOf, certificates: Certificates) -> None:
    context = certificates.context("good")

    async def script(peer: Peer) -> None:
        await peer.greet(*OFFER)
        assert await peer.line() == "STARTTLS"
        await peer.say("220 go on")
        await peer.start_tls(context)
        await peer.line()
        await peer.say("250-relay.test", "250 AUTH PLAIN")
        await peer.line()
        await peer.say("535 5.7.8 Hunter2 is wrong")
        assert await peer.line() == "QUIT"

    server = await serve(script)
    wanted = replace(
        target(server.port, host=HOST, tls=RelayTls.STARTTLS, ca_file=certificates.ca_file),
        user="canary",
        password=Secret("Hunter2"),
    )
    seen = await greet(wanted, resolve=to_loopback)
    assert (seen.stage, seen.reason) == (Stage.AUTH, Reason.CREDENTIALS)
    assert seen.tls is not None
    assert seen.tls.verified
    assert "starttls" not in seen.extensions  # those after TLS count
    assert "Hunter2" not in repr(seen)


async def test_a_closed_port(target: TargetOf, refused: int) -> None:
    seen = await greet(target(refused))
    assert (seen.stage, seen.reason) == (Stage.CONNECT, Reason.REFUSED)
    assert seen.banner is None
    assert [attempt.address for attempt in seen.attempts] == ["127.0.0.1"]


@pytest.mark.parametrize("ca_file", ["/nonexistent/ca.pem"])
async def test_what_cannot_begin(target: TargetOf, refused: int, ca_file: str) -> None:
    seen = await greet(target(refused, tls=RelayTls.IMPLICIT, ca_file=ca_file))
    assert seen == Greeting(
        stage=Stage.TLS,
        reason=Reason.LOCAL,
        detail=f"tls: CA file {ca_file}: No such file or directory",
    )
