"""Mailboxes with IMAP and IDLE: pymap's in-memory backend behind listeners of the lab's own."""

import asyncio
import re
from argparse import Namespace
from base64 import b64decode
from collections.abc import Sequence
from contextlib import AsyncExitStack, closing
from datetime import UTC, datetime
from typing import Any

from lab.board import Board
from lab.extras import LabError, missing_extra
from lab.faults import ImapDown, ImapHung
from lab.listener import Listener, Mode
from lab.specs import MailboxSpec

try:
    from proxyprotocol.sock import SocketInfoLocal
    from pymap.backend.dict import Config, Identity, Login
    from pymap.concurrent import Subsystem
    from pymap.context import connection_exit
    from pymap.exceptions import InvalidAuth
    from pymap.imap import IMAPConnection
    from pymap.imap.state import ConnectionState
    from pymap.parsing.message import AppendMessage
    from pymap.user import UserMetadata
    from pysasl import SASLAuth
    from pysasl.creds.external import ExternalCredentials, ExternalVerificationRequired
    from pysasl.creds.server import ServerCredentials
    from pysasl.exception import AuthenticationError
    from pysasl.hashing import Cleartext
    from pysasl.mechanism import ChallengeResponse, ServerChallenge
except ImportError as error:
    raise missing_extra("pymap") from error


_INITIAL_RESPONSE = re.compile(rb"(\S+ AUTHENTICATE \S+) (\S+)\r?\n", re.IGNORECASE)


class _LabConfig(Config):
    """pymap's settings, without its thread pool, its slow hashes and its DNS look-ups."""

    @property
    def greeting(self) -> bytes:
        return b"IMAP4rev1 mailcanary lab ready"

    @property
    def initial_capability(self) -> Sequence[bytes]:
        return [*super().initial_capability, b"SASL-IR"]

    @property
    def tls_auth(self) -> SASLAuth:
        return SASLAuth.named([b"PLAIN", b"LOGIN", b"XOAUTH2"])


class _LabLogin(Login):
    """Takes a password, or for XOAUTH2 the same secret as an access token."""

    async def authenticate(self, credentials: ServerCredentials) -> Identity:
        if not isinstance(credentials, ExternalCredentials):
            return await super().authenticate(credentials)
        user = self.users_dict.get(credentials.authzid)
        try:
            credentials.verify(user)
        except ExternalVerificationRequired as required:
            if user is not None and required.token and user.password == required.token:
                return Identity(user.name, self, None, frozenset())
        raise InvalidAuth


class _LabConnection(IMAPConnection):
    """Takes the initial response of SASL-IR (RFC 4959), which XOAUTH2 clients send unasked."""

    _initial: bytes | None = None

    async def readline(self) -> memoryview:
        line = await super().readline()
        found = _INITIAL_RESPONSE.fullmatch(line)
        if found is None:
            return line
        self._initial = found[2]
        return memoryview(found[1] + b"\r\n")

    async def authenticate(
        self, state: ConnectionState, mech_name: bytes
    ) -> ServerCredentials | None:
        initial, self._initial = self._initial, None
        mechanism = state.auth.get_server(mech_name)
        if initial is None or mechanism is None:
            return await super().authenticate(state, mech_name)
        try:
            response = b"" if initial == b"=" else b64decode(initial, validate=True)
            credentials, _final = mechanism.server_attempt([ChallengeResponse(b"", response)])
        except (ValueError, ServerChallenge) as problem:
            raise AuthenticationError("Invalid initial response.") from problem
        return credentials


class MailStore:
    """The accounts of one estate; each is reached through the listener of its own mailbox."""

    def __init__(self) -> None:
        args = Namespace(passlib_cfg=None, proxy_protocol=None, debug=False)
        self.config = _LabConfig(
            args,
            host=None,
            port=0,
            demo_data=False,
            demo_user="",
            demo_password="",
            tls_enabled=False,
            hash_context=Cleartext(),
            cpu_subsystem=Subsystem.for_asyncio(),
            invalid_user_sleep=0.0,
        )
        self.login = _LabLogin(self.config)

    async def add(self, user: str, password: str, folders: list[str]) -> None:
        """Add an account with these folders; INBOX is always there."""
        metadata = UserMetadata(self.config, user, password=password)
        await Identity(user, self.login, None, frozenset()).set(metadata)
        async with self._identity(user).new_session() as session:
            for folder in folders:
                if folder.upper() != "INBOX":
                    await session.create_mailbox(folder)

    async def append(self, user: str, folder: str, content: bytes, when: datetime) -> int:
        """Append a message; returns its UID. INTERNALDATE is ``when``, whole seconds."""
        async with self._identity(user).new_session() as session:
            appended, _selected = await session.append_messages(
                folder, [AppendMessage(content, when)]
            )
        return int(next(iter(appended.uids)))

    async def contents(self, user: str, folder: str) -> dict[int, bytes]:
        """The messages of a folder by UID."""
        async with self._identity(user).new_session() as session:
            mailbox = await session.mailbox_set.get_mailbox(folder)
            return {
                message.uid: bytes(message._content or b"")  # noqa: SLF001 - pymap's way is IMAP
                async for message in mailbox.messages()
            }

    def _identity(self, user: str) -> Identity:
        return Identity(user, self.login, None, frozenset())


class _GatedReader:
    """A stream reader that gives nothing while the gate is shut."""

    def __init__(self, reader: asyncio.StreamReader, gate: asyncio.Event) -> None:
        self._reader = reader
        self._gate = gate

    async def readline(self) -> bytes:
        line = await self._reader.readline()
        await self._gate.wait()
        return line

    async def readexactly(self, count: int) -> bytes:
        octets = await self._reader.readexactly(count)
        await self._gate.wait()
        return octets


class _GatedWriter:
    """A stream writer that keeps everything to itself while the gate is shut."""

    def __init__(self, writer: asyncio.StreamWriter, gate: asyncio.Event) -> None:
        self._writer = writer
        self._gate = gate
        self._kept: list[bytes] = []

    def write(self, octets: bytes) -> None:
        self._kept.append(bytes(octets))

    async def drain(self) -> None:
        await self._gate.wait()
        kept, self._kept = self._kept, []
        self._writer.write(b"".join(kept))
        await self._writer.drain()

    def close(self) -> None:
        self._writer.close()


class Mailbox:
    """One mailbox: where it is, how to log in, and what is in it."""

    def __init__(self, spec: MailboxSpec, host: str, store: MailStore, board: Board) -> None:
        self.spec = spec
        self.name = spec.name
        self.address = spec.address
        self.user = spec.user
        self.password = spec.password
        self._store = store
        self._board = board
        self._gate = asyncio.Event()
        self._gate.set()
        self._listener = Listener(host, self._protocol, tls=spec.tls_context)

    @property
    def host(self) -> str:
        """The address of the IMAP server."""
        return self._listener.host

    @property
    def port(self) -> int:
        """The port of the IMAP server."""
        return self._listener.port

    async def start(self) -> None:
        """Add the account and listen."""
        await self._store.add(self.user, self.password, [self.spec.inbox, self.spec.junk])
        self._listener.start()

    async def close(self) -> None:
        """Stop listening and end every connection."""
        self._gate.set()
        await self._listener.close()

    def refresh(self) -> None:
        """Look at the fault board again."""
        down = self._board.find(ImapDown, mailbox=self.name) is not None
        hung = self._board.find(ImapHung, mailbox=self.name) is not None
        self._listener.set_mode(Mode.CLOSED if down else Mode.HUNG if hung else Mode.OPEN)
        if hung and not down:
            self._gate.clear()
        else:
            self._gate.set()
        if down:
            self._listener.cut()

    async def append(self, content: bytes, folder: str = "", when: datetime | None = None) -> int:
        """Put a message into a folder (the inbox by default); returns its UID.

        ``when`` becomes INTERNALDATE, in whole seconds; it is now by default.

        Raises:
            LabError: when the mailbox has no such folder.
        """
        target = folder or self.spec.inbox
        if target not in (self.spec.inbox, self.spec.junk, "INBOX"):
            raise LabError(f"mailbox {self.name} has no folder {target}")
        return await self._store.append(self.user, target, content, when or datetime.now(UTC))

    async def contents(self, folder: str = "") -> dict[int, bytes]:
        """The messages of a folder (the inbox by default) by UID, as they were delivered."""
        return await self._store.contents(self.user, folder or self.spec.inbox)

    def _protocol(self, listener: Listener) -> asyncio.BaseProtocol:
        loop = asyncio.get_running_loop()

        def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            listener.opened(writer.transport, loop.create_task(self._serve(reader, writer)))

        return asyncio.StreamReaderProtocol(asyncio.StreamReader(loop=loop), connected, loop=loop)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._store.config.apply_context()
        gated_reader: Any = _GatedReader(reader, self._gate)
        gated_writer: Any = _GatedWriter(writer, self._gate)
        connection = _LabConnection(
            self._store.config.commands,
            self._store.config,
            gated_reader,
            gated_writer,
            SocketInfoLocal(writer),
        )
        state = ConnectionState(self._store.login, self._store.config)
        async with AsyncExitStack() as stack:
            connection_exit.set(stack)
            stack.enter_context(closing(connection))
            await connection.run(state)
