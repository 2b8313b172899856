"""From host name to connection: what fails, how it is named, and that the next address is tried."""

import asyncio
import socket
import threading
from collections.abc import Sequence
from ipaddress import ip_address

import pytest

from probes.contract.config.models import RelayTls
from probes.contract.stages import Reason, Result, Stage
from probes.resolver import Lookups, OwnFaultError
from probes.smtp import Endpoint, Mail, resolve, send
from probes.smtp.dial import begin_lookup
from tests.probes.smtp.conftest import Serve, TargetOf, to_loopback
from tests.probes.smtp.scripted import Peer


class Addresses:
    """A resolver that answers what it was made with."""

    def __init__(self, *endpoints: tuple[str, int]) -> None:
        self._endpoints = [Endpoint(socket.AF_INET, each) for each in endpoints]
        self.asked: list[tuple[str, int, int]] = []

    async def __call__(self, host: str, port: int, family: int) -> Sequence[Endpoint]:
        self.asked.append((host, port, family))
        return self._endpoints


async def takes_it(peer: Peer) -> None:
    await peer.up_to(Stage.ACCEPT)
    await peer.accept()


async def test_refused(refused: int, target: TargetOf, mail: Mail) -> None:
    report = await send(target(refused), mail)
    assert (report.result, report.stage) == (Result.UNREACHABLE, Stage.CONNECT)
    assert report.reason is Reason.REFUSED
    assert report.detail == "connect: connection refused"
    assert list(report.phases) == ["resolve", "connect"]
    [attempt] = report.attempts
    assert (attempt.address, attempt.reason) == ("127.0.0.1", Reason.REFUSED)
    assert (report.peer, report.reply) == (None, None)


async def test_filtered(blackhole: int, target: TargetOf, mail: Mail) -> None:
    report = await send(target(blackhole, connect=0.2), mail)
    assert (report.result, report.stage) == (Result.UNREACHABLE, Stage.CONNECT)
    assert report.reason is Reason.TIMEOUT
    assert report.detail == "connect: timed out after 0.2 s"


async def test_the_second_address_is_tried(
    refused: int, serve: Serve, target: TargetOf, mail: Mail
) -> None:
    server = await serve(takes_it)
    addresses = Addresses(("127.0.0.2", refused), ("127.0.0.1", server.port))
    report = await send(target(25, host="relay.test"), mail, resolve=addresses)
    assert report.result is Result.ACCEPTED
    assert report.peer == "127.0.0.1"
    [attempt] = report.attempts
    assert (attempt.address, attempt.reason) == ("127.0.0.2", Reason.REFUSED)
    assert addresses.asked == [("relay.test", 25, socket.AF_UNSPEC)]


async def test_the_address_after_a_filtered_one_is_tried(
    blackhole: int, serve: Serve, target: TargetOf, mail: Mail
) -> None:
    server = await serve(takes_it)
    addresses = Addresses(("127.0.0.1", blackhole), ("127.0.0.1", server.port))
    report = await send(target(25, connect=0.2, host="relay.test"), mail, resolve=addresses)
    assert report.result is Result.ACCEPTED
    assert [attempt.reason for attempt in report.attempts] == [Reason.TIMEOUT]


async def test_all_addresses_dead(
    refused: int, blackhole: int, target: TargetOf, mail: Mail
) -> None:
    addresses = Addresses(("127.0.0.2", refused), ("127.0.0.1", blackhole))
    report = await send(target(25, connect=0.2, host="relay.test"), mail, resolve=addresses)
    assert report.result is Result.UNREACHABLE
    assert report.reason is Reason.TIMEOUT
    assert report.detail == (
        "connect: 127.0.0.2 connection refused; 127.0.0.1 timed out after 0.2 s"
    )
    assert [attempt.reason for attempt in report.attempts] == [Reason.REFUSED, Reason.TIMEOUT]


@pytest.mark.parametrize("host", ["relay.invalid", "a..b", "x" * 70 + ".test"])
async def test_a_name_that_does_not_exist(target: TargetOf, mail: Mail, host: str) -> None:
    report = await send(target(25, host=host), mail)
    assert (report.result, report.stage) == (Result.UNREACHABLE, Stage.RESOLVE)
    assert report.reason is Reason.NO_ADDRESS
    assert report.detail is not None
    assert report.detail.startswith(f"resolve: {host}: ")
    assert list(report.phases) == ["resolve"]


async def test_no_address_of_the_source_family(target: TargetOf, mail: Mail) -> None:
    aimed = target(25, host="relay.test", source_address=ip_address("::1"))
    addresses = Addresses(("127.0.0.1", 25))
    report = await send(aimed, mail, resolve=addresses)
    assert addresses.asked == [("relay.test", 25, socket.AF_INET6)]
    assert (report.result, report.stage) == (Result.UNREACHABLE, Stage.RESOLVE)
    assert report.detail == "resolve: relay.test: no IPv6 address"


async def test_a_resolver_that_hangs(target: TargetOf, mail: Mail) -> None:
    async def hang(host: str, port: int, family: int) -> Sequence[Endpoint]:
        never: asyncio.Future[list[Endpoint]] = asyncio.get_running_loop().create_future()
        assert host and port and family == socket.AF_UNSPEC  # noqa: PT018 - their only use
        return await never

    report = await send(target(25, connect=0.2, host="relay.test"), mail, resolve=hang)
    assert (report.result, report.stage) == (Result.UNREACHABLE, Stage.RESOLVE)
    assert report.reason is Reason.TIMEOUT
    assert report.detail == "resolve: timed out after 0.2 s"


async def test_a_lookup_that_this_host_could_not_make(target: TargetOf, mail: Mail) -> None:
    async def fail(host: str, port: int, family: int) -> Sequence[Endpoint]:
        assert host and port and family == socket.AF_UNSPEC  # noqa: PT018 - their only use
        raise OwnFaultError("too many open files")

    report = await send(target(25, host="relay.test"), mail, resolve=fail)
    assert (report.result, report.stage) == (Result.UNSENT, Stage.RESOLVE)
    assert report.reason is Reason.LOCAL
    assert report.detail == "resolve: relay.test: too many open files"


async def test_the_wait_for_a_thread_is_not_the_relays(target: TargetOf) -> None:
    asked: list[str] = []
    let_go = threading.Event()

    def ask(host: str, family: int) -> Sequence[Endpoint]:
        asked.append(f"{host} {family}")
        let_go.wait()
        return [Endpoint(socket.AF_INET, ("192.0.2.1", 0))]

    lookups = Lookups("tests", 1, ask)
    # Twice the same name is one lookup; another has to wait, and is not begun.
    mine, again = [await begin_lookup(target(25, host="a.test"), lookups) for _ in range(2)]
    with pytest.raises(OwnFaultError):
        await begin_lookup(target(25, host="b.test"), lookups, 0.01)
    assert await begin_lookup(target(25), lookups) is resolve  # an address
    let_go.set()
    for each in (mine, again):
        assert await each("a.test", 25, socket.AF_UNSPEC) == [
            Endpoint(socket.AF_INET, ("192.0.2.1", 25))
        ]
    assert asked == [f"a.test {socket.AF_UNSPEC.value}"]


async def test_a_source_address_that_is_not_ours(
    refused: int, target: TargetOf, mail: Mail
) -> None:
    report = await send(target(refused, source_address=ip_address("192.0.2.1")), mail)
    assert (report.result, report.stage) == (Result.UNSENT, Stage.CONNECT)
    assert report.reason is Reason.LOCAL
    assert report.detail == "connect: cannot assign requested address"


async def test_a_missing_ca_file(target: TargetOf, mail: Mail) -> None:
    aimed = target(25, tls=RelayTls.STARTTLS, ca_file="/nowhere/ca.pem")
    report = await send(aimed, mail, resolve=to_loopback)
    assert (report.result, report.stage) == (Result.UNSENT, Stage.TLS)
    assert report.reason is Reason.LOCAL
    assert report.detail == "tls: CA file /nowhere/ca.pem: No such file or directory"
