"""A TCP listener whose connections can be filtered, refused, hung or cut while it runs."""

import asyncio
import socket
import ssl
from collections.abc import Callable
from contextlib import suppress
from enum import StrEnum

from lab.blackhole import OPEN_BACKLOG, AcceptFilter, bind_listening, stop_listening


class Mode(StrEnum):
    """What happens to a new connection. Those already made are not touched by a change of mode."""

    OPEN = "open"
    FILTERED = "filtered"
    """It times out."""
    CLOSED = "closed"
    """It is refused."""
    HUNG = "hung"
    """It is accepted and served only once the mode is another again."""


ProtocolFactory = Callable[["Listener"], asyncio.BaseProtocol]


class Listener:
    """Accepts TCP connections on one loopback address and hands them to protocols.

    It accepts by itself rather than through an ``asyncio.Server``, because the socket must outlive
    every mode: the address stays the same and nobody else can take it. A protocol reports its
    transport and the task that serves it with :meth:`opened`, so that :meth:`close` can end both.
    """

    def __init__(
        self, host: str, factory: ProtocolFactory, *, tls: ssl.SSLContext | None = None
    ) -> None:
        self.host = host
        self.port = 0
        self._factory = factory
        self._tls = tls
        self._mode = Mode.OPEN
        self._socket: socket.socket | None = None
        self._filter: AcceptFilter | None = None
        self._parked: list[socket.socket] = []
        self._handshakes: set[asyncio.Task[None]] = set()
        self._serving: dict[asyncio.Task[None], asyncio.WriteTransport] = {}

    @property
    def mode(self) -> Mode:
        """What happens to new connections now."""
        return self._mode

    def start(self, port: int = 0) -> None:
        """Bind and listen; call it inside the running loop.

        Raises:
            OSError: when the address cannot be bound.
        """
        self._socket = bind_listening(self.host, port)
        self.port = int(self._socket.getsockname()[1])
        self._filter = AcceptFilter(self._socket)
        self._watch(self._socket)

    def set_mode(self, mode: Mode) -> None:
        """Change what happens to new connections, at once."""
        if self._socket is None or self._filter is None or mode is self._mode:
            return
        if self._mode in (Mode.OPEN, Mode.HUNG):
            self._accept(self._socket)  # what waits in the queue came under the old mode
        before, self._mode = self._mode, mode
        if before is Mode.FILTERED:
            for stranger in self._filter.open_gate():
                self._admit(stranger)
            self._watch(self._socket)
        elif before is Mode.CLOSED:
            self._socket.listen(OPEN_BACKLOG)
            self._watch(self._socket)
        elif before is Mode.HUNG:
            parked, self._parked = self._parked, []
            for accepted in parked:
                self._admit(accepted)
        if mode in (Mode.FILTERED, Mode.CLOSED):
            asyncio.get_running_loop().remove_reader(self._socket)
            if mode is Mode.FILTERED:
                self._filter.close_gate()
            else:
                stop_listening(self._socket)

    def opened(self, transport: asyncio.WriteTransport, task: asyncio.Task[None]) -> None:
        """Called by a protocol once it is connected; ``task`` serves it and ends with it."""
        self._serving[task] = transport
        task.add_done_callback(self._ended)

    def cut(self) -> None:
        """Abort every connection that is open now."""
        for handshake in list(self._handshakes):
            handshake.cancel()
        for transport in list(self._serving.values()):
            transport.abort()
        for accepted in self._parked:
            accepted.close()
        self._parked.clear()

    async def close(self) -> None:
        """Stop listening, cut every connection and wait until all their tasks have ended."""
        if self._socket is None:
            return
        if self._mode is Mode.FILTERED and self._filter is not None:
            for stranger in self._filter.open_gate():
                stranger.close()
        elif self._mode is not Mode.CLOSED:
            asyncio.get_running_loop().remove_reader(self._socket)
        self._socket.close()
        self._socket = None
        self.cut()  # sockets that were only parked have no task to wait for
        while self._serving or self._handshakes:
            self.cut()
            await asyncio.wait([*self._serving, *self._handshakes])
            await asyncio.sleep(0)  # the callbacks that forget the tasks run now

    def _watch(self, listening: socket.socket) -> None:
        asyncio.get_running_loop().add_reader(listening, self._accept, listening)

    def _accept(self, listening: socket.socket) -> None:
        while True:
            try:
                accepted, _peer = listening.accept()
            except OSError:  # nothing left to accept, or the client is gone already
                return
            self._admit(accepted)

    def _admit(self, accepted: socket.socket) -> None:
        accepted.setblocking(False)
        # asyncio does this only for sockets that were made with their protocol named; without it
        # every reply of several lines waits for the client's delayed ACK, some 40 ms.
        accepted.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if self._mode is Mode.HUNG:
            self._parked.append(accepted)
            return
        task = asyncio.get_running_loop().create_task(self._connect(accepted))
        self._handshakes.add(task)
        task.add_done_callback(self._handshakes.discard)

    async def _connect(self, accepted: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        with suppress(OSError):  # ssl.SSLError is one: the client's TLS did not work out
            await loop.connect_accepted_socket(lambda: self._factory(self), accepted, ssl=self._tls)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._serving.pop(task, None)
        if not task.cancelled():
            task.exception()  # a connection that broke is the client's business, not ours
