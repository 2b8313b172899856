"""A host that stands still for longer than a limit does not blame the relay for it."""

import asyncio
import contextlib
import socket
import threading
import time
from collections.abc import Iterator

import pytest

from probes.contract.stages import Reason, Result, Stage
from probes.smtp import Endpoint, Mail, SendReport, send
from tests.probes.smtp.conftest import TargetOf, to_loopback

LIMIT = 0.4
STALL = 1.2

LINES = {
    Stage.BANNER: b"220 relay.test ESMTP",
    Stage.EHLO: b"250 relay.test",
    Stage.MAIL: b"250 2.1.0 Ok",
    Stage.RCPT: b"250 2.1.5 Ok",
    Stage.DATA: b"354 Go on",
    Stage.ACCEPT: b"250 2.0.0 Ok",
}


class Relay:
    """A healthy relay outside the loop, which stands still while it replies to one stage.

    The thread has the loop blocked first and replies then, so reply and timer wait together.
    """

    def __init__(self, stage: Stage, loop: asyncio.AbstractEventLoop, says: bytes | None) -> None:
        self._stage = stage
        self._loop = loop
        self._says = says
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._sockets = [self._listener]
        self.port: int = self._listener.getsockname()[1]
        self._thread = threading.Thread(target=self._serve)
        self._thread.start()

    def _stall(self) -> None:
        blocked = threading.Event()

        def block() -> None:
            blocked.set()
            time.sleep(STALL)

        self._loop.call_soon_threadsafe(block)
        blocked.wait(10)

    def _serve(self) -> None:
        with contextlib.suppress(OSError):
            sock, _ = self._listener.accept()
            self._sockets.append(sock)
            with sock, sock.makefile("rb") as heard:
                for stage, line in LINES.items():
                    if stage is Stage.ACCEPT:
                        while heard.readline() not in (b".\r\n", b""):
                            pass
                    elif stage is not Stage.BANNER:
                        heard.readline()
                    if stage is self._stage:
                        self._stall()
                        line = line if self._says is None else self._says  # noqa: PLW2901 - the reply
                    sock.sendall(line + b"\r\n")

    def stop(self) -> None:
        for sock in self._sockets:
            with contextlib.suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._thread.join(10)


@contextlib.contextmanager
def relay(stage: Stage, says: bytes | None = None) -> Iterator[Relay]:
    healthy = Relay(stage, asyncio.get_running_loop(), says)
    try:
        yield healthy
    finally:
        healthy.stop()


LIMITS = dict.fromkeys(("connect", "banner", "command", "accept"), LIMIT)


def blames_nobody(report: SendReport, stage: Stage) -> None:
    """Which of reply and timer is seen first is the loop's affair; neither blames the relay."""
    if report.result is Result.ACCEPTED:
        return
    dotted = stage is Stage.ACCEPT
    assert report.result is (Result.UNKNOWN if dotted else Result.UNSENT)
    assert (report.stage, report.reason) == (stage, Reason.LOCAL)
    assert report.detail == f"{stage}: this agent stood still for longer than the limit of 0.4 s"
    assert report.phases[stage] > LIMIT


@pytest.mark.parametrize("stage", [Stage.BANNER, Stage.RCPT])
async def test_a_stall_before_the_dot_is_no_fault_of_the_relay(
    target: TargetOf, mail: Mail, stage: Stage
) -> None:
    with relay(stage) as healthy:
        report = await send(target(healthy.port, **LIMITS), mail)
    blames_nobody(report, stage)


async def test_a_stall_after_the_dot_leaves_it_open(target: TargetOf, mail: Mail) -> None:
    with relay(Stage.ACCEPT) as healthy:
        report = await send(target(healthy.port, **LIMITS), mail)
    blames_nobody(report, Stage.ACCEPT)


async def test_a_relay_that_hangs_up_on_a_host_that_stands_still(
    target: TargetOf, mail: Mail
) -> None:
    with relay(Stage.MAIL, b"421 4.4.2 timeout exceeded") as healthy:
        report = await send(target(healthy.port, **LIMITS), mail)
    assert (report.result, report.stage) == (Result.UNSENT, Stage.MAIL)
    assert report.reason is Reason.LOCAL


async def test_a_stall_while_connecting(target: TargetOf, mail: Mail) -> None:
    async def slow(host: str, port: int, family: int) -> list[Endpoint]:
        found = await to_loopback(host, port, family)
        # Runs when the connection is on its way, before the loop looks at it.
        asyncio.get_running_loop().call_soon(time.sleep, STALL)
        return found

    with relay(Stage.RESOLVE) as healthy:
        where = target(healthy.port, host="relay.test", **LIMITS)
        report = await send(where, mail, resolve=slow)
    blames_nobody(report, Stage.CONNECT)
    assert {attempt.reason for attempt in report.attempts} <= {Reason.LOCAL}


async def test_a_stall_while_resolving(target: TargetOf, mail: Mail) -> None:
    async def slow(host: str, port: int, family: int) -> list[Endpoint]:
        loop = asyncio.get_running_loop()
        loop.call_soon(time.sleep, STALL)
        await loop.run_in_executor(None, time.time)
        return await to_loopback(host, port, family)

    with relay(Stage.RESOLVE) as healthy:
        where = target(healthy.port, host="relay.test", **LIMITS)
        report = await send(where, mail, resolve=slow)
    blames_nobody(report, Stage.RESOLVE)
