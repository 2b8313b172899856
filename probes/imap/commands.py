"""The commands of one connection, one at a time, and what their replies have told.

A connection ends at the first thing that could put its replies out of step: no reply in time, a
BAD, a BYE, nonsense, a loss, a call cancelled before its reply. It is cut, :attr:`Commands.dead`
says why, and every later command raises that failure at once.
"""

import asyncio
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import aioimaplib

from probes.contract.stages import Reason
from probes.imap.collect import Collector
from probes.imap.connect import connect
from probes.imap.idling import idle_until
from probes.imap.items import FetchReply, parse_fetch
from probes.imap.login import greet, log_in, redactor
from probes.imap.model import (
    AddressPolicy,
    ImapFailure,
    ImapStage,
    ImapTarget,
    ProtocolError,
)
from probes.imap.protocol import ImapProtocol, Reply, Request
from probes.imap.replies import search_uids
from probes.imap.view import FolderView
from probes.resolver import Lookups

CLOSE_S = 1.0
"""Seconds that a server has to say goodbye."""

_OnFetch = Callable[[FetchReply], None]


class Commands:
    """See the module. Connected by :meth:`connect`; ``clock`` (nanoseconds) stamps what is told."""

    def __init__(self, target: ImapTarget, clock: Callable[[], int]) -> None:
        self.view = FolderView(clock)
        self._target = target
        self._stirred = asyncio.Event()
        self._redact = redactor(target)
        self._on_fetch: _OnFetch | None = None
        self._collector = Collector()
        self._busy = False
        self._protocol: ImapProtocol

    async def connect(self, permits: AddressPolicy | None, lookups: Lookups) -> None:
        """Connect and log in.

        Raises:
            ImapFailure: which step failed, and why; nothing is left open.
        """
        target = self._target
        self._protocol = await connect(target, permits, self._make_protocol, lookups)
        try:
            await greet(self._protocol, self.view, target.command_timeout_s)
            await log_in(self._protocol, self.view, target)
        except BaseException:
            await self.cut()
            raise

    @property
    def dead(self) -> ImapFailure | None:
        """Why the connection has ended; None while it has not."""
        return self._protocol.failure

    @contextmanager
    def turn(self) -> Iterator[None]:
        """For the commands that belong together; nobody else's come between.

        Raises:
            ImapFailure: the connection has ended.
            RuntimeError: somebody has the turn.
        """
        if self._busy:
            raise RuntimeError("a session does one thing at a time")
        self._protocol.check_alive()
        self._busy = True
        try:
            yield
        finally:
            self._busy = False

    async def run(
        self, step: ImapStage, name: str, *arguments: str, prefix: str | None = None
    ) -> Reply:
        """Send a command and wait for its reply, OK or NO.

        Raises:
            ImapFailure: the connection has ended.
        """
        protocol = self._protocol
        request = Request(name, protocol.new_tag(), *arguments, prefix=prefix)
        return await protocol.run(step, request, self._target.command_timeout_s)

    async def ok(
        self, step: ImapStage, name: str, *arguments: str, prefix: str | None = None
    ) -> bytes:
        """The text of the command's OK.

        Raises:
            ImapFailure: as :meth:`run`; also for a NO, after which the connection goes on.
        """
        reply = await self.run(step, name, *arguments, prefix=prefix)
        if reply.status != "OK":
            detail = f"the server answered NO: {self._protocol.said(reply.text)}"
            raise self.failure(step, Reason.REFUSED, detail)
        return reply.text

    def failure(self, step: ImapStage, reason: Reason, detail: str) -> ImapFailure:
        """A failure to raise that leaves the connection as it is."""
        return self._protocol.fail(step, reason, detail)

    async def select(self, folder: str) -> None:
        """Select the folder, whose name is as it is sent.

        Raises:
            ImapFailure: as :meth:`ok`; also when its messages have no lasting UIDs.
        """
        view = self.view
        await self.ok(ImapStage.SELECT, "SELECT", folder)
        self._protocol.state = aioimaplib.SELECTED
        if view.uidvalidity is None:
            detail = "the server keeps no UIDs for this folder (no UIDVALIDITY)"
            raise self.failure(ImapStage.SELECT, Reason.PROTOCOL, detail)
        if view.uidnext is None:
            exists = view.exists
            view.settle(await self.last_uid() + 1 if exists else 1, exists)
        else:
            view.settle(view.uidnext, view.exists)
        # The caller begins with a check in any case, and idling must not end for old mail.
        view.news = False

    async def fetch(
        self, uids: str, items: str, on_fetch: _OnFetch, *, keep_literal: int | None = None
    ) -> None:
        """Fetch by UID; each FETCH response that comes meanwhile goes to ``on_fetch``.

        ``keep_literal``: so many bytes of each literal, where that is not the usual.
        """
        framer = self._protocol.framer
        usual = framer.keep_literal
        self._on_fetch = on_fetch
        framer.keep_literal = usual if keep_literal is None else keep_literal
        try:
            await self.ok(ImapStage.FETCH, "FETCH", uids, items, prefix="UID")
        finally:
            self._on_fetch = None
            framer.keep_literal = usual

    async def search(self, criteria: str) -> list[int]:
        """The UIDs that the criteria find, ascending."""
        with self._collector.of(b"SEARCH") as lines:
            await self.ok(ImapStage.SEARCH, "SEARCH", criteria, prefix="UID")
        try:
            return search_uids(lines)
        except ProtocolError as error:
            self._protocol.step = ImapStage.SEARCH
            self._protocol.die(Reason.PROTOCOL, f"the server sent {error}")
            raise self.failure(ImapStage.SEARCH, Reason.PROTOCOL, str(error)) from None

    async def last_uid(self) -> int:
        """The UID of the folder's last message; it must hold one."""
        last = 0

        def take(reply: FetchReply) -> None:
            nonlocal last
            last = max(last, reply.number(b"UID") or 0)

        await self.fetch("*", "(UID)", take)
        if not last:
            detail = "the server does not tell the last message's UID"
            raise self.failure(ImapStage.FETCH, Reason.PROTOCOL, detail)
        return last

    async def quota(self, folder: str) -> list[bytes] | None:
        """The ``* QUOTA`` lines for the folder; None when the server answers NO."""
        with self._collector.of(b"QUOTA") as lines:
            reply = await self.run(ImapStage.QUOTA, "GETQUOTAROOT", folder)
        return lines if reply.status == "OK" else None

    async def idle(self, wake: asyncio.Event, timeout_s: float) -> None:
        """Idle until mail is announced, ``wake`` is set, or the time is over."""
        self._stirred.clear()
        limit_s = self._target.command_timeout_s
        await idle_until(self._protocol, self._stirred, wake, timeout_s, limit_s)

    async def close(self) -> None:
        """Log out, within a second; a busy or dead connection is just cut. Never raises."""
        protocol = self._protocol
        try:
            if protocol.failure is None and not self._busy:
                request = Request("LOGOUT", protocol.new_tag())
                await protocol.run(ImapStage.LOGOUT, request, CLOSE_S)
        except ImapFailure:
            pass
        finally:
            await self.cut()

    async def cut(self) -> None:
        """Drop the connection and wait until the transport is closed, as it is at once."""
        self._protocol.die(Reason.CLOSED, "the session was closed")
        await asyncio.wait({self._protocol.gone}, timeout=CLOSE_S)

    def _make_protocol(self) -> ImapProtocol:
        return ImapProtocol(untagged=self._untagged, on_dead=self._stirred.set, redact=self._redact)

    def _untagged(self, parts: Sequence[bytes]) -> None:
        kind = self.view.take(parts)
        if kind == b"FETCH":
            if self._on_fetch is not None:
                self._on_fetch(parse_fetch(parts))
        elif kind == b"EXISTS":
            self._stirred.set()
        else:
            self._collector.take(kind, parts)
