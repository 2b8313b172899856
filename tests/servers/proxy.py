"""A TCP proxy that makes a path slow, stalls it or cuts it, at run time."""

import asyncio
import contextlib
import socket
import struct
import threading
from collections.abc import Coroutine
from dataclasses import dataclass
from typing import Any, Self, TypeVar

from tests.servers.namespaces import Endpoint

CHUNK = 16 * 1024
# Bounds what a stalled direction holds, so that the sender feels the stall.
CHUNKS_HELD = 64

T = TypeVar("T")


@dataclass(frozen=True)
class Direction:
    """What happens to bytes that go one way: `latency` in seconds, `bandwidth` in bytes/s."""

    latency: float = 0.0
    bandwidth: float | None = None


CLEAR = Direction()


class TcpProxy:
    """Passes connections on to `target`; listens on a free loopback port unless told where.

    It runs in a thread of its own, so that blocking tests and asyncio tests use it alike. All
    methods may be called from any thread; they act on open connections and on new ones.
    """

    def __init__(self, target: Endpoint, listen: Endpoint | None = None) -> None:
        self._target = target
        self._directions = {"target": CLEAR, "client": CLEAR}
        self._loop = asyncio.new_event_loop()
        self._flowing = asyncio.Event()
        self._flowing.set()
        self._writers: set[asyncio.StreamWriter] = set()
        self._connections: set[asyncio.Task[None]] = set()
        self._server: asyncio.Server | None = None
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        try:
            self.endpoint = self._call(self._listen(listen or Endpoint("127.0.0.1", 0)))
        except BaseException:
            self._end_thread()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def slow(self, *, to_target: Direction = CLEAR, to_client: Direction = CLEAR) -> None:
        """Delay what comes from now on. Bytes keep their order, also when the latency falls."""

        async def change() -> None:
            self._directions = {"target": to_target, "client": to_client}

        self._call(change())

    def stall(self) -> None:
        """Let nothing pass. Connections are still accepted, and end nowhere."""

        async def change() -> None:
            self._flowing.clear()

        self._call(change())

    def resume(self) -> None:
        """End a stall; what was held passes now."""

        async def change() -> None:
            self._flowing.set()

        self._call(change())

    def cut(self) -> None:
        """End the open connections with a reset. New ones may come."""

        async def change() -> None:
            for writer in self._writers:
                _reset(writer)

        self._call(change())

    def refuse(self) -> None:
        """Refuse new connections, until `accept`. Open ones live on."""

        async def change() -> None:
            if self._server is not None:
                self._server.close()
                self._server = None

        self._call(change())

    def accept(self) -> None:
        """Listen again after `refuse`, on the same port."""
        self._call(self._listen(self.endpoint))

    def close(self) -> None:
        """End all connections, the listener and the thread."""
        self.refuse()
        self._call(self._end_connections())
        self._end_thread()

    def _call(self, coroutine: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop).result(timeout=30)

    def _end_thread(self) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    async def _listen(self, where: Endpoint) -> Endpoint:
        self._server = await asyncio.start_server(self._accepted, where.host, where.port)
        host, port = self._server.sockets[0].getsockname()[:2]
        return Endpoint(host, port)

    async def _end_connections(self) -> None:
        tasks = list(self._connections)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _accepted(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = self._loop.create_task(self._connection(reader, writer))
        self._connections.add(task)
        task.add_done_callback(self._connections.discard)

    async def _connection(
        self, client_reader: asyncio.StreamReader, client_writer: asyncio.StreamWriter
    ) -> None:
        writers = {client_writer}
        self._writers.add(client_writer)
        try:
            target_reader, target_writer = await asyncio.open_connection(*self._target)
            writers.add(target_writer)
            self._writers.add(target_writer)
            async with asyncio.TaskGroup() as group:
                group.create_task(self._pass("target", client_reader, target_writer))
                group.create_task(self._pass("client", target_reader, client_writer))
        except* OSError:
            # One side is gone: the other one learns it by a reset.
            for writer in writers:
                _reset(writer)
        finally:
            self._writers -= writers
            for writer in writers:
                writer.close()

    async def _pass(
        self, way: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        """Pass bytes one way, and their end, each when it is due."""
        held: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue(CHUNKS_HELD)

        async def take_in() -> None:
            due = 0.0
            while True:
                data = await reader.read(CHUNK)
                direction = self._directions[way]
                # Latency is a pipe's length: chunks overlap in it. Bandwidth puts them in a row.
                due = max(due, self._loop.time() + direction.latency)
                if direction.bandwidth is not None:
                    due += len(data) / direction.bandwidth
                await held.put((due, data))
                if not data:
                    return

        async def give_out() -> None:
            while True:
                due, data = await held.get()
                await asyncio.sleep(max(0.0, due - self._loop.time()))
                await self._flowing.wait()
                if not data:
                    with contextlib.suppress(OSError):
                        writer.write_eof()
                    return
                writer.write(data)
                await writer.drain()

        async with asyncio.TaskGroup() as group:
            group.create_task(take_in())
            group.create_task(give_out())


def _reset(writer: asyncio.StreamWriter) -> None:
    connection = writer.get_extra_info("socket")
    if connection is not None and connection.fileno() != -1:
        # A zero linger time makes close() send RST in place of FIN.
        linger = struct.pack("ii", 1, 0)
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
    writer.transport.abort()
