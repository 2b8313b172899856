"""A host that stands still, for longer than a limit or not, does not blame the relay for it."""

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
    """A relay outside the loop, which stands still while the relay replies to one stage.

    The thread has the loop blocked first and replies then, so reply and timer wait together; with
    ``after_s``, it replies so long after the loop goes on, and if that is ``None``, never.
    """

    def __init__(
        self,
        stage: Stage,
        loop: asyncio.AbstractEventLoop,
        says: bytes | None,
        stall_s: float = STALL,
        after_s: float | None = 0.0,
    ) -> None:
        self._stage = stage
        self._loop = loop
        self._says = says
        self._stall_s = stall_s
        self._after_s = after_s
        self._stopped = threading.Event()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._sockets = [self._listener]
        self.port: int = self._listener.getsockname()[1]
        self._thread = threading.Thread(target=self._serve)
        self._thread.start()

    def _stall(self) -> None:
        blocked, goes_on = threading.Event(), threading.Event()

        def block() -> None:
            blocked.set()
            time.sleep(self._stall_s)
            goes_on.set()

        self._loop.call_soon_threadsafe(block)
        blocked.wait(10)
        if self._after_s != 0.0:
            goes_on.wait(10)
            self._stopped.wait(self._after_s)

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
        self._stopped.set()
        for sock in self._sockets:
            with contextlib.suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._thread.join(10)


@contextlib.contextmanager
def relay(
    stage: Stage,
    says: bytes | None = None,
    stall_s: float = STALL,
    after_s: float | None = 0.0,
) -> Iterator[Relay]:
    healthy = Relay(stage, asyncio.get_running_loop(), says, stall_s, after_s)
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


LONGER = dict.fromkeys(("connect", "banner", "command", "accept"), 0.8)


@pytest.mark.parametrize("stage", [Stage.BANNER, Stage.MAIL, Stage.ACCEPT])
async def test_a_stall_shorter_than_the_limit_takes_nothing_off_it(
    target: TargetOf, mail: Mail, stage: Stage
) -> None:
    """Nine tenths of the limit went by in the stall, and the relay replied after the rest."""
    with relay(stage, stall_s=0.7, after_s=0.3) as slow:
        report = await send(target(slow.port, **LONGER), mail)
    assert (report.result, report.detail) == (Result.ACCEPTED, None)


async def test_a_relay_that_is_silent_is_blamed_all_the_same(target: TargetOf, mail: Mail) -> None:
    with relay(Stage.MAIL, stall_s=0.3, after_s=None) as dead:
        report = await send(target(dead.port, **LONGER), mail)
    assert (report.result, report.stage) == (Result.FAILED, Stage.MAIL)
    assert (report.reason, report.detail) == (Reason.TIMEOUT, "mail: timed out after 0.8 s")


async def test_a_filtered_relay_is_blamed_though_the_agent_stood_still(
    blackhole: int, target: TargetOf, mail: Mail
) -> None:
    asyncio.get_running_loop().call_later(0.1, time.sleep, 0.9)
    report = await send(target(blackhole, **LIMITS), mail)
    assert (report.result, report.stage) == (Result.UNREACHABLE, Stage.CONNECT)
    assert (report.reason, report.detail) == (Reason.TIMEOUT, "connect: timed out after 0.4 s")


async def test_a_relay_that_hangs_up_within_the_limit_of_a_host_that_stands_still(
    target: TargetOf, mail: Mail
) -> None:
    with relay(Stage.RCPT, b"421 4.4.2 timeout exceeded", stall_s=0.7) as strict:
        report = await send(target(strict.port, **LONGER), mail)
    assert (report.result, report.stage) == (Result.UNSENT, Stage.RCPT)
    assert report.reason is Reason.LOCAL
    assert "421" in (report.detail or "") or "timeout exceeded" in (report.detail or "")
