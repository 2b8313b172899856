"""A server on loopback that says exactly what a test tells it to, and nothing else."""

import asyncio
import socket
import ssl
import struct
from collections.abc import Awaitable, Callable

from probes.contract.stages import Stage

HELLO = ("250-relay.test at your service", "250-SIZE 10000000", "250 ENHANCEDSTATUSCODES")


class Peer:
    """One connection, seen from the server."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer
        self.heard: list[str] = []
        self.content = b""

    async def say(self, *lines: str) -> None:
        """Send lines, each ended with CRLF, in one piece."""
        await self.raw("".join(f"{line}\r\n" for line in lines).encode())

    async def raw(self, data: bytes) -> None:
        """Send octets as they are."""
        self._writer.write(data)
        await self._writer.drain()

    async def line(self) -> str:
        """The next command; empty when the client has gone."""
        text = (await self._reader.readline()).decode().rstrip("\r\n")
        self.heard.append(text)
        return text

    async def body(self) -> bytes:
        """What follows the 354, up to and with the final dot."""
        self.content = await self._reader.readuntil(b"\r\n.\r\n")
        return self.content

    async def some(self) -> bytes:
        """What comes next, whatever it is."""
        return await self._reader.read(65536)

    async def gone(self) -> bytes:
        """Wait until the client closes; what it said until then."""
        try:
            return await self._reader.read()
        except ConnectionError:
            return b""

    async def start_tls(self, context: ssl.SSLContext) -> None:
        """Serve the TLS handshake."""
        await self._writer.start_tls(context)

    def reset(self) -> None:
        """End the connection with RST."""
        sock: socket.socket = self._writer.get_extra_info("socket")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._writer.transport.abort()

    def close(self) -> None:
        """End the connection with FIN."""
        self._writer.close()

    async def greet(self, *hello: str) -> None:
        """The banner and the reply to EHLO."""
        await self.say("220 relay.test ESMTP")
        await self.line()
        await self.say(*(hello or HELLO))

    async def up_to(self, stage: Stage) -> None:
        """Play along until the reply of ``stage`` is due."""
        if stage is Stage.BANNER:
            return
        await self.say("220 relay.test ESMTP")
        await self.line()
        if stage is Stage.EHLO:
            return
        await self.say(*HELLO)
        await self.envelope(stage)

    async def envelope(self, stage: Stage) -> None:
        """From MAIL on, until the reply of ``stage`` is due."""
        for now, reply in (
            (Stage.MAIL, "250 2.1.0 Ok"),
            (Stage.RCPT, "250 2.1.5 Ok"),
            (Stage.DATA, "354 Go on"),
        ):
            await self.line()
            if stage is now:
                return
            await self.say(reply)
        await self.body()

    async def accept(self, reply: str = "250 2.0.0 Ok: queued as 4VxYz") -> None:
        """The reply to the final dot, and the goodbye."""
        await self.say(reply)
        if await self.line():
            await self.say("221 2.0.0 Bye")


Script = Callable[[Peer], Awaitable[None]]


class ScriptedServer:
    """Plays a script to every connection; :attr:`peers` keeps what was heard."""

    def __init__(self, script: Script, context: ssl.SSLContext | None = None) -> None:
        self.peers: list[Peer] = []
        self.errors: list[Exception] = []
        self.port = 0
        self._script = script
        self._context = context
        self._server: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    async def start(self, host: str = "127.0.0.1") -> None:
        """Listen on a free port."""
        self._server = await asyncio.start_server(self._serve, host, 0, ssl=self._context)
        self.port = self._server.sockets[0].getsockname()[1]

    async def stop(self) -> None:
        """Close everything; raise what a script raised."""
        if self._server is not None:
            self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        if self.errors:
            raise self.errors[0]

    async def finished(self) -> None:
        """Wait until every script has come to its end."""
        await asyncio.gather(*self._tasks)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        if task is None:
            raise AssertionError("streams run their callback in a task")
        self._tasks.add(task)
        peer = Peer(reader, writer)
        self.peers.append(peer)
        try:
            await self._script(peer)
        except (ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError, ssl.SSLError):
            return
        except Exception as error:  # noqa: BLE001 - the test reports it when it stops the server
            self.errors.append(error)
        finally:
            writer.transport.abort()
