"""One look at one host: what hosts of all kinds do, and that it always ends."""

import asyncio
import contextlib
import os
import resource
import socket
import threading
import time
from collections.abc import Iterator

import pytest

from probes.contract.stages import Reason, Stage
from probes.egress import EgressProbe, Vantage
from probes.egress.greeting import GREETING_LIMIT
from tests.probes.egress.conftest import Serve, target
from tests.probes.smtp.scripted import Peer

LONG = 10.0
SHORT = 0.3


async def greets(peer: Peer) -> None:
    await peer.say("220 mx1.bigmail.example ESMTP")
    if await peer.line() == "QUIT":
        await peer.say("221 2.0.0 Bye")
    await peer.gone()


async def test_a_mail_server_is_greeted_by(serve: Serve) -> None:
    server = await serve(greets)
    finding = await EgressProbe().probe(target(server.port), LONG)
    assert finding.ok
    assert (finding.stage, finding.reason, finding.detail) == (None, None, None)
    assert (finding.target, finding.source) == ("bigmail", "127.0.0.1")
    assert list(finding.timings) == ["resolve", "connect", "banner"]
    assert finding.timings["resolve"] == 0.01
    assert finding.egress is not None
    assert (finding.egress.code, finding.egress.banner) == (220, "mx1.bigmail.example ESMTP")
    assert (finding.egress.host, finding.egress.address) == ("127.0.0.1", "127.0.0.1")
    await server.finished()
    assert server.peers[0].heard == ["QUIT"]


async def test_nothing_is_said_before_the_greeting_is_whole(serve: Serve) -> None:
    begun = asyncio.Event()

    async def slowly(peer: Peer) -> None:
        await peer.raw(b"220-mx1.bigmail.example\r\n220-wai")
        begun.set()
        # Whoever speaks too early is told so by Postfix's postscreen.
        done, waiting = await asyncio.wait({asyncio.create_task(peer.some())}, timeout=0.2)
        assert not done
        await peer.raw(b"ting\r\n220 now\r\n")
        [task] = waiting
        assert await task == b"QUIT\r\n"

    server = await serve(slowly)
    finding = await EgressProbe().probe(target(server.port), LONG)
    assert finding.ok
    assert finding.egress is not None
    assert finding.egress.banner == "mx1.bigmail.example waiting now"
    await server.finished()


@pytest.mark.parametrize(
    ("code", "reason", "leaves"),
    [(554, Reason.REPLY_5XX, "QUIT"), (450, Reason.REPLY_4XX, "QUIT"), (421, Reason.REPLY_4XX, "")],
)
async def test_a_mail_server_that_refuses(
    serve: Serve, code: int, reason: Reason, leaves: str
) -> None:
    async def refuses(peer: Peer) -> None:
        await peer.say(f"{code} 5.7.1 mx.test takes nothing from you")
        await peer.line()

    server = await serve(refuses)
    finding = await EgressProbe().probe(target(server.port, host="mx.test"), LONG)
    assert not finding.ok
    assert (finding.stage, finding.reason) == (Stage.EGRESS_BANNER, reason)
    where = f"mx.test (127.0.0.1), port {server.port}"
    assert finding.detail == f"{where}: {code} 5.7.1 mx.test takes nothing from you"
    assert finding.egress is not None
    assert finding.egress.code == code
    await server.finished()
    assert server.peers[0].heard == [leaves]


async def test_refused(refused: int) -> None:
    finding = await EgressProbe().probe(target(refused), LONG)
    assert (finding.ok, finding.stage) == (False, Stage.EGRESS_CONNECT)
    assert finding.reason is Reason.REFUSED
    assert finding.detail == f"127.0.0.1, port {refused}: connection refused"
    assert list(finding.timings) == ["resolve", "connect"]
    assert finding.egress is not None
    assert (finding.egress.code, finding.egress.banner) == (None, None)


async def test_filtered(blackhole: int) -> None:
    finding = await EgressProbe().probe(target(blackhole), SHORT)
    assert (finding.ok, finding.stage) == (False, Stage.EGRESS_CONNECT)
    assert finding.reason is Reason.TIMEOUT
    assert finding.detail == f"127.0.0.1, port {blackhole}: timed out after 0.3 s"
    assert finding.timings["connect"] >= SHORT - 0.05


async def test_silent(serve: Serve) -> None:
    async def silent(peer: Peer) -> None:
        assert await peer.gone() == b""

    server = await serve(silent)
    finding = await EgressProbe().probe(target(server.port), SHORT)
    assert (finding.stage, finding.reason) == (Stage.EGRESS_BANNER, Reason.SILENT)
    assert finding.detail is not None
    assert "silent until the limit of 0.3 s" in finding.detail
    await server.finished()


async def test_closed(serve: Serve) -> None:
    async def closes(peer: Peer) -> None:
        peer.close()

    server = await serve(closes)
    finding = await EgressProbe().probe(target(server.port), LONG)
    assert (finding.stage, finding.reason) == (Stage.EGRESS_BANNER, Reason.CLOSED)
    assert finding.detail is not None
    assert finding.detail.endswith("closed by the host before a greeting")


async def test_closed_in_the_middle(serve: Serve) -> None:
    async def closes(peer: Peer) -> None:
        await peer.raw(b"220-mx.test\r\n22")
        peer.close()
        await peer.gone()

    server = await serve(closes)
    finding = await EgressProbe().probe(target(server.port), LONG)
    assert (finding.stage, finding.reason) == (Stage.EGRESS_BANNER, Reason.CLOSED)
    assert finding.detail is not None
    assert finding.detail.endswith("closed by the host after 15 octets: '220 mx.test'")
    assert finding.egress is not None
    assert finding.egress.code == 220


async def test_reset(serve: Serve) -> None:
    async def resets(peer: Peer) -> None:
        peer.reset()

    server = await serve(resets)
    finding = await EgressProbe().probe(target(server.port), LONG)
    assert (finding.stage, finding.reason) == (Stage.EGRESS_BANNER, Reason.RESET)


async def test_one_octet_at_a_time(serve: Serve) -> None:
    sent = 0

    async def drips(peer: Peer) -> None:
        nonlocal sent
        for octet in b"220-" + b"a" * 10_000:
            await peer.raw(bytes([octet]))
            sent += 1
            await asyncio.sleep(0.02)

    server = await serve(drips)
    finding = await EgressProbe().probe(target(server.port), SHORT)
    assert (finding.stage, finding.reason) == (Stage.EGRESS_BANNER, Reason.TIMEOUT)
    assert finding.detail is not None
    assert "no whole greeting within 0.3 s after" in finding.detail
    assert "octets: '220 a" in finding.detail
    assert 4 < sent < 10_000


@pytest.mark.parametrize(
    "says",
    [
        b"HTTP/1.1 400 Bad Request\r\n",
        b"\x16\x03\x01\x02\x00\xff\x00" * 100,
        b"\r\n220 late\r\n",
        b"250 mx.test is no greeting\r\n",
        b"220-mx.test\r\n221 another\r\n",
        b"999 mx.test\r\n",
        b"SSH-2.0-OpenSSH_9.2p1\r\n",
    ],
)
async def test_no_smtp(serve: Serve, says: bytes) -> None:
    async def speaks(peer: Peer) -> None:
        await peer.raw(says)
        assert await peer.gone() == b""  # nothing is said to what speaks no SMTP

    server = await serve(speaks)
    finding = await EgressProbe().probe(target(server.port), LONG)
    assert (finding.stage, finding.reason) == (Stage.EGRESS_BANNER, Reason.PROTOCOL)
    assert finding.detail is not None
    assert finding.detail.isprintable()
    await server.finished()


@pytest.mark.parametrize(
    "piece", [b"220-and so on\r\n" * 100, b"220-" + b"x" * 5000, b"\xff" * 9000]
)
async def test_a_greeting_without_an_end(serve: Serve, piece: bytes) -> None:
    async def endless(peer: Peer) -> None:
        while True:
            await peer.raw(piece)

    server = await serve(endless)
    finding = await EgressProbe().probe(target(server.port), LONG)
    assert (finding.stage, finding.reason) == (Stage.EGRESS_BANNER, Reason.PROTOCOL)
    assert finding.egress is not None
    assert finding.egress.banner is not None
    assert len(finding.egress.banner) <= 300
    assert GREETING_LIMIT < 10_000


async def test_a_host_that_never_answers_quit(serve: Serve) -> None:
    async def stays(peer: Peer) -> None:
        await peer.say("220 mx.test ESMTP")
        assert await peer.gone() == b"QUIT\r\n"

    server = await serve(stays)
    finding = await EgressProbe().probe(target(server.port), SHORT)
    assert finding.ok
    await server.finished()


async def test_a_control_is_connected_to_and_no_more(serve: Serve) -> None:
    async def silent(peer: Peer) -> None:
        assert await peer.gone() == b""

    server = await serve(silent)
    finding = await EgressProbe().probe(target(server.port, control=True), LONG)
    assert finding.ok
    assert list(finding.timings) == ["resolve", "connect"]
    assert finding.egress is not None
    assert finding.egress.control
    await server.finished()


async def test_a_control_that_is_refused(refused: int) -> None:
    finding = await EgressProbe().probe(target(refused, control=True), LONG)
    assert (finding.stage, finding.reason) == (Stage.EGRESS_CONNECT, Reason.REFUSED)


async def test_the_source_is_what_the_connection_has(serve: Serve) -> None:
    server = await serve(greets)
    elsewhere = Vantage(socket.AF_INET, "127.0.0.9", "127.0.0.9")
    finding = await EgressProbe().probe(target(server.port, vantage=elsewhere), LONG)
    assert finding.source == "127.0.0.9"
    unbound = Vantage(socket.AF_INET, None, None, "192.0.2.1 is none of this host's")
    finding = await EgressProbe().probe(target(server.port, vantage=unbound), LONG)
    assert finding.source == "127.0.0.1"
    assert finding.ok
    assert finding.detail is not None
    assert finding.detail.endswith("192.0.2.1 is none of this host's")


async def test_an_address_that_is_gone_is_no_fault_of_the_host(serve: Serve) -> None:
    server = await serve(greets)
    gone = Vantage(socket.AF_INET, "192.0.2.1", "192.0.2.1")
    finding = await EgressProbe().probe(target(server.port, vantage=gone), LONG)
    assert (finding.ok, finding.reason) == (False, Reason.LOCAL)
    assert finding.source == "192.0.2.1"


@contextlib.contextmanager
def no_more_files() -> Iterator[None]:
    """This process can open no more files than it has."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    taken = [os.open(os.devnull, os.O_RDONLY)]
    resource.setrlimit(resource.RLIMIT_NOFILE, (taken[0] + 1, hard))
    try:
        while True:
            taken.append(os.dup(taken[0]))
    except OSError:
        yield
    finally:
        for number in taken:
            os.close(number)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


async def test_no_file_descriptor_is_no_fault_of_the_host() -> None:
    with no_more_files():
        finding = await EgressProbe().probe(target(25), LONG)
    assert (finding.ok, finding.reason) == (False, Reason.LOCAL)
    assert finding.stage is Stage.EGRESS_CONNECT
    assert finding.detail is not None
    assert "too many open files" in finding.detail


async def test_cancelling_closes_the_connection(serve: Serve) -> None:
    connected = asyncio.Event()

    async def silent(peer: Peer) -> None:
        connected.set()
        assert await peer.gone() == b""

    server = await serve(silent)
    look = asyncio.create_task(EgressProbe().probe(target(server.port), LONG))
    await connected.wait()
    look.cancel()
    with pytest.raises(asyncio.CancelledError):
        await look
    await server.finished()


class Threaded:
    """A mail server outside the loop, which speaks while the loop stands still."""

    def __init__(self, says: bytes, stall_s: float) -> None:
        self._loop = asyncio.get_running_loop()
        self._says = says
        self._stall_s = stall_s
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self._thread = threading.Thread(target=self._serve)
        self._thread.start()

    def _serve(self) -> None:
        sock, _ = self._listener.accept()
        with sock:
            blocked = threading.Event()

            def block() -> None:
                blocked.set()
                time.sleep(self._stall_s)  # the loop stands still: this is what is looked at

            self._loop.call_soon_threadsafe(block)
            blocked.wait(10)
            sock.sendall(self._says)
            sock.shutdown(socket.SHUT_WR)
            while sock.recv(1000):
                pass

    def stop(self) -> None:
        self._thread.join(10)
        self._listener.close()


@pytest.mark.parametrize(
    ("says", "reason"),
    [
        (b"220 mx.test ESMTP\r\n", {None, Reason.LOCAL}),
        (b"421 4.4.2 mx.test timeout exceeded\r\n", {Reason.LOCAL}),
        (b"", {Reason.LOCAL}),
    ],
)
async def test_a_stall_of_the_loop_is_no_fault_of_the_host(
    says: bytes, reason: set[Reason | None]
) -> None:
    server = Threaded(says, stall_s=1.2)
    finding = await EgressProbe().probe(target(server.port), 0.4)
    server.stop()
    assert finding.reason in reason
