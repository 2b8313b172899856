"""A small IMAP server for tests, well-behaved but for the commands that a test scripts otherwise.

It announces mail only with NOOP and IDLE, as strictly as RFC 3501 allows.
"""

import asyncio
import re
import socket
import ssl
import struct
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from probes.contract.config.models import ImapTls
from probes.contract.secret import Secret
from probes.imap import FolderSession, ImapTarget

PASSWORD = "open sesame"
CAPABILITIES = b"IMAP4rev1 IDLE UIDPLUS QUOTA"


@dataclass
class Mailbox:
    """What the server holds: the header of each message by UID."""

    headers: dict[int, bytes | None] = field(default_factory=dict)
    uidnext: int = 1
    changed: asyncio.Event = field(default_factory=asyncio.Event)

    def add(self, header: bytes | None = b"X-Mailcanary: 1\r\n\r\n") -> int:
        """Deliver a message; its UID."""
        uid = self.uidnext
        self.headers[uid] = header
        self.uidnext += 1
        self.changed.set()
        return uid


class Conversation:
    """One client's connection, as the server sees it."""

    def __init__(
        self, server: "ScriptedServer", reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        self.server = server
        self.reader = reader
        self.writer = writer
        self.view: list[int] = []

    async def line(self) -> bytes:
        """The client's next line, without its end; ConnectionError at the end."""
        line = await self.reader.readline()
        if not line:
            raise ConnectionError
        return line.rstrip(b"\r\n")

    async def send(self, *lines: bytes) -> None:
        """Send whole lines."""
        await self.raw(b"".join(line + b"\r\n" for line in lines))

    async def raw(self, data: bytes) -> None:
        """Send bytes as they are."""
        self.writer.write(data)
        await self.writer.drain()

    async def hang(self) -> None:
        """Say nothing more; ends when the client has hung up."""
        while await self.reader.read(4096):
            pass
        raise ConnectionError

    def reset(self) -> None:
        """Break the connection hard, with a TCP reset."""
        sock = self.writer.get_extra_info("socket")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.writer.transport.abort()
        raise ConnectionError

    async def announce(self) -> None:
        """Tell what is new in the mailbox."""
        uids = sorted(self.server.mailbox.headers)
        if uids != self.view:
            self.view = uids
            await self.send(b"* %d EXISTS" % len(uids))

    def fetch_line(self, uid: int) -> bytes:
        """The FETCH response of one message."""
        header = self.server.mailbox.headers[uid]
        value = b"NIL" if header is None else b"{%d}\r\n%s" % (len(header), header)
        return (
            b'* %d FETCH (UID %d INTERNALDATE "01-Feb-2026 03:04:05 +0100"'
            b" BODY[HEADER.FIELDS (X-MAILCANARY)] %s)" % (self.view.index(uid) + 1, uid, value)
        )

    def in_range(self, text: bytes) -> list[int]:
        """The UIDs of the view that a set of one range names."""
        if text == b"*":
            return self.view[-1:]
        first, _, last = text.partition(b":")
        return [uid for uid in self.view if int(first) <= uid <= int(last or first)]


Handler = Callable[[Conversation, bytes, bytes], Awaitable[None]]
"""Answers one command, given its tag and its arguments."""


class ScriptedServer:
    """Listens on loopback. ``script`` replaces the answer to a command (GREETING is one too)."""

    def __init__(self, *, capabilities: bytes = CAPABILITIES) -> None:
        self.capabilities = capabilities
        self.mailbox = Mailbox()
        self.script: dict[str, Handler] = {}
        self.commands: list[str] = []
        self.lines: list[bytes] = []
        self.idling = asyncio.Event()
        self.port = 0
        self._tasks: set[asyncio.Task[None]] = set()
        self._writers: set[asyncio.StreamWriter] = set()

    @asynccontextmanager
    async def running(
        self, context: ssl.SSLContext | None = None
    ) -> AsyncIterator["ScriptedServer"]:
        """Listen for the length of the block, with TLS when given a context."""
        server = await asyncio.start_server(self._accept, "127.0.0.1", 0, ssl=context)
        self.port = server.sockets[0].getsockname()[1]
        try:
            yield self
        finally:
            server.close()
            for task in self._tasks:
                task.cancel()
            await asyncio.gather(*self._tasks, return_exceptions=True)

    def target(self, **changes: object) -> ImapTarget:
        """How to reach it; small timeouts unless told otherwise."""
        values: dict[str, object] = {
            "host": "127.0.0.1",
            "port": self.port,
            "tls": ImapTls.NONE,
            "user": "canary",
            "secret": Secret(PASSWORD, "acme/imap"),
            "connect_timeout_s": 5.0,
            "command_timeout_s": 5.0,
        }
        return ImapTarget(**(values | changes))  # type: ignore[arg-type]  # a test's own keywords

    def drop_all(self) -> None:
        """Break all connections."""
        for writer in self._writers:
            writer.transport.abort()

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        self._writers.add(writer)
        conversation = Conversation(self, reader, writer)
        try:
            await self._answer(conversation, "GREETING", b"", b"")
            while True:
                line = await conversation.line()
                self.lines.append(line)
                tag, _, rest = line.partition(b" ")
                name, _, arguments = rest.partition(b" ")
                if name == b"UID":
                    name, _, arguments = arguments.partition(b" ")
                self.commands.append(name.decode())
                await self._answer(conversation, name.decode(), tag, arguments)
        except OSError:
            pass
        finally:
            self._tasks.discard(task)
            self._writers.discard(writer)
            writer.close()

    async def _answer(
        self, conversation: Conversation, name: str, tag: bytes, arguments: bytes
    ) -> None:
        handler = self.script.get(name) or _DEFAULTS[name]
        await handler(conversation, tag, arguments)


async def ok(conversation: Conversation, tag: bytes, arguments: bytes) -> None:  # noqa: ARG001 - one shape for all
    """Just the tagged OK."""
    await conversation.send(tag + b" OK done")


async def _greeting(conversation: Conversation, tag: bytes, arguments: bytes) -> None:  # noqa: ARG001 - one shape for all
    await conversation.send(b"* OK ready")


async def _capability(conversation: Conversation, tag: bytes, arguments: bytes) -> None:  # noqa: ARG001 - one shape for all
    await conversation.send(b"* CAPABILITY " + conversation.server.capabilities, tag + b" OK done")


async def _login(conversation: Conversation, tag: bytes, arguments: bytes) -> None:
    if arguments.endswith(b'"%s"' % PASSWORD.encode()):
        await conversation.send(tag + b" OK welcome")
    else:
        await conversation.send(tag + b" NO [AUTHENTICATIONFAILED] no")


async def select(conversation: Conversation, tag: bytes, arguments: bytes) -> None:  # noqa: ARG001 - one shape for all
    """SELECT as everyone answers it."""
    mailbox = conversation.server.mailbox
    conversation.view = sorted(mailbox.headers)
    await conversation.send(
        b"* FLAGS (\\Deleted)",
        b"* %d EXISTS" % len(conversation.view),
        b"* OK [UIDVALIDITY 7] valid",
        b"* OK [UIDNEXT %d] next" % mailbox.uidnext,
        tag + b" OK [READ-WRITE] selected",
    )


async def noop(conversation: Conversation, tag: bytes, arguments: bytes) -> None:  # noqa: ARG001 - one shape for all
    """NOOP: announce, then OK."""
    await conversation.announce()
    await conversation.send(tag + b" OK done")


async def fetch(conversation: Conversation, tag: bytes, arguments: bytes) -> None:
    """UID FETCH of what has been announced."""
    uids = conversation.in_range(arguments.partition(b" ")[0])
    for uid in uids:
        await conversation.send(conversation.fetch_line(uid))
    await conversation.send(tag + b" OK done")


async def _store(conversation: Conversation, tag: bytes, arguments: bytes) -> None:  # noqa: ARG001 - one shape for all
    await conversation.send(tag + b" OK done")


async def _expunge(conversation: Conversation, tag: bytes, arguments: bytes) -> None:
    for part in arguments.split(b","):
        for uid in conversation.in_range(part):
            await conversation.send(b"* %d EXPUNGE" % (conversation.view.index(uid) + 1))
            conversation.view.remove(uid)
            del conversation.server.mailbox.headers[uid]
    await conversation.send(tag + b" OK done")


async def _search(conversation: Conversation, tag: bytes, arguments: bytes) -> None:
    match = re.match(rb"UID (\S+)", arguments)
    uids = conversation.in_range(match[1]) if match else conversation.view
    await conversation.send(b"* SEARCH " + b" ".join(b"%d" % uid for uid in uids))
    await conversation.send(tag + b" OK done")


async def _idle(conversation: Conversation, tag: bytes, arguments: bytes) -> None:  # noqa: ARG001 - one shape for all
    server = conversation.server
    await conversation.send(b"+ idling")
    server.idling.set()
    done = asyncio.ensure_future(conversation.line())
    while not done.done():
        server.mailbox.changed.clear()
        await conversation.announce()
        changed = asyncio.ensure_future(server.mailbox.changed.wait())
        await asyncio.wait({done, changed}, return_when=asyncio.FIRST_COMPLETED)
        changed.cancel()
    server.lines.append(await done)
    await conversation.send(tag + b" OK done")


async def _logout(conversation: Conversation, tag: bytes, arguments: bytes) -> None:  # noqa: ARG001 - one shape for all
    await conversation.send(b"* BYE", tag + b" OK done")


_DEFAULTS: dict[str, Handler] = {
    "GREETING": _greeting,
    "CAPABILITY": _capability,
    "LOGIN": _login,
    "SELECT": select,
    "NOOP": noop,
    "FETCH": fetch,
    "STORE": _store,
    "EXPUNGE": _expunge,
    "SEARCH": _search,
    "IDLE": _idle,
    "LOGOUT": _logout,
}


@asynccontextmanager
async def opened(server: ScriptedServer, **changes: object) -> AsyncIterator[FolderSession]:
    """A session on the inbox for the length of the block."""
    session = await FolderSession.open(
        server.target(**changes), "INBOX", header_fields=("X-Mailcanary",)
    )
    try:
        yield session
    finally:
        await session.close()
