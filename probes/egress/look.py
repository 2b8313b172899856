"""One look at one host and port: connect, and at the mail port read the greeting."""

import asyncio
import contextlib
import socket
from collections.abc import Callable

from probes.connecting import connect_reason, connection_reason, words
from probes.contract.checks import Finding
from probes.contract.stages import Reason, Stage
from probes.egress.greeting import GREETING_LIMIT, Greeting
from probes.egress.model import EgressTarget, Failure, Seen, finding
from probes.egress.sources import address_towards
from probes.resolver import Endpoint
from probes.stalls import LATE_S, Patience, stalls

QUIT_LIMIT_S = 1.0
"""Seconds that the reply to QUIT is waited for at most; all is known by then."""

_HANGS_UP = frozenset({Reason.RESET, Reason.CLOSED})


async def look(
    target: EgressTarget, endpoint: Endpoint, deadline_s: float, monotonic: Callable[[], float]
) -> Finding:
    """What the host at ``endpoint`` does, within ``deadline_s`` seconds; QUIT included.

    Time for which the loop stands still is added to the deadline, and no host is blamed for it.
    """
    clock = stalls()
    clock.watch()
    try:
        return await _Look(target, endpoint, deadline_s, monotonic).run()
    finally:
        clock.unwatch()


class _Look:
    def __init__(
        self,
        target: EgressTarget,
        endpoint: Endpoint,
        deadline_s: float,
        monotonic: Callable[[], float],
    ) -> None:
        self._target = target
        self._endpoint = endpoint
        self._deadline_s = deadline_s
        self._monotonic = monotonic
        self._seen = Seen(stage=Stage.EGRESS_CONNECT)
        self._greeting = Greeting()
        self._began = self._since = monotonic()
        self._stood_before_s = stalls().total_s()

    async def run(self) -> Finding:
        seen = self._seen
        try:
            with self._socket() as sock:
                await self._talk(sock)
        except OSError as error:  # no socket, or not with that address
            seen.failure = self._failure(error)
            self._note_times()
        if seen.source is None:
            seen.source = self._target.vantage.address or address_towards(self._endpoint)
        seen.code, seen.banner = self._greeting.code, self._greeting.text
        return finding(self._target, seen)

    async def _talk(self, sock: socket.socket) -> None:
        try:
            async with Patience(self._deadline_s):
                await asyncio.get_running_loop().sock_connect(sock, self._endpoint.sockaddr)
                self._connected(sock)
                if not self._target.control:
                    await self._listen(sock)
        except OSError as error:  # TimeoutError is one
            self._seen.failure = self._whose(self._failure(error))
        self._note_times()
        if self._greeting.complete:
            await self._take_leave(sock)

    def _socket(self) -> socket.socket:
        sock = socket.socket(self._endpoint.family, socket.SOCK_STREAM)
        try:
            sock.setblocking(False)
            if self._target.vantage.address is not None:
                sock.bind((self._target.vantage.address, 0))
        except BaseException:
            sock.close()
            raise
        return sock

    def _connected(self, sock: socket.socket) -> None:
        with contextlib.suppress(OSError):  # one that was reset already has no ends
            self._seen.source = sock.getsockname()[0]
        if not self._target.control:
            self._note_times()
            self._seen.stage = Stage.EGRESS_BANNER

    def _note_times(self) -> None:
        """End the phase that is going on, where the next one begins."""
        now = self._monotonic()
        took_s, self._since = now - self._since, now
        if self._seen.stage is Stage.EGRESS_CONNECT:
            self._seen.connect_s = took_s
        else:
            self._seen.banner_s = took_s

    async def _listen(self, sock: socket.socket) -> None:
        """Read the greeting; nothing is said before it (RFC 5321 section 4.3.1)."""
        loop, greeting = asyncio.get_running_loop(), self._greeting
        while not greeting.complete:
            data = await loop.sock_recv(sock, GREETING_LIMIT)
            if not data:
                reason, text = connection_reason(None, "the host")
                self._seen.failure = self._whose(Failure(reason, text + self._so_far()))
                return
            greeting.feed(data)
        if greeting.failure is not None:
            self._seen.failure = self._whose(greeting.failure)

    def _failure(self, error: OSError) -> Failure:
        if isinstance(error, TimeoutError) and not error.errno:  # ours; the kernel's has an errno
            return self._overdue()
        if self._seen.stage is Stage.EGRESS_CONNECT:
            return Failure(connect_reason(error), words(error))
        reason, text = connection_reason(error, "the host")
        return Failure(reason, text + self._so_far())

    def _overdue(self) -> Failure:
        limit = f"{self._deadline_s:g} s"
        if self._seen.stage is Stage.EGRESS_CONNECT:
            return Failure(Reason.TIMEOUT, f"timed out after {limit}")
        if not self._greeting.octets:
            text = f"connected, and no greeting: silent until the limit of {limit}"
            return Failure(Reason.SILENT, text)
        return Failure(Reason.TIMEOUT, f"no whole greeting within {limit}{self._so_far()}")

    def _so_far(self) -> str:
        greeting = self._greeting
        if not greeting.octets:
            return " before a greeting"
        said = " ".join(str(each) for each in (greeting.code, greeting.text) if each is not None)
        return f" after {greeting.octets} octets: {said[:100]!r}"

    def _whose(self, failure: Failure) -> Failure:
        """The failure, or this host's own when nobody else can have brought it about."""
        stood_s = stalls().total_s() - self._stood_before_s
        if failure.reason in (Reason.TIMEOUT, Reason.SILENT):
            took_s = self._monotonic() - self._began
            if took_s > self._deadline_s + stood_s + LATE_S:
                text = f"this host stood still for longer than the limit of {self._deadline_s:g} s"
                return Failure(Reason.LOCAL, text)
            return failure
        # Who waits for one that stands still has reason to hang up.
        hung_up = failure.reason in _HANGS_UP or self._greeting.code == 421
        if hung_up and stood_s > LATE_S:
            return Failure(
                Reason.LOCAL, f"this host stood still for {stood_s:.1f} s, {failure.text}"
            )
        return failure

    async def _take_leave(self, sock: socket.socket) -> None:
        """Say QUIT where it is understood, and give the host a moment to answer."""
        failure = self._seen.failure
        if self._greeting.code == 421 or (failure and failure.reason is Reason.PROTOCOL):
            return
        left_s = self._deadline_s - (self._monotonic() - self._began)
        with contextlib.suppress(OSError):  # TimeoutError is one
            sock.send(b"QUIT\r\n")
            async with asyncio.timeout(max(0.0, min(QUIT_LIMIT_S, left_s))):
                await asyncio.get_running_loop().sock_recv(sock, GREETING_LIMIT)
