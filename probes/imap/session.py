"""One folder over one connection: look for new mail, wait for it, read it, delete it.

A session ends at the first thing that could put its replies out of step: no reply in time, a BAD, a
BYE, nonsense, a lost connection, a call cancelled before its reply. The connection is cut, ``dead``
says why, and every later call raises that failure at once; open another session to go on. A
tagged NO is a refusal, raised as an ImapFailure too, after which the session goes on.
"""

import asyncio
import time
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from datetime import date
from typing import Self

import aioimaplib

from probes.contract.stages import Reason
from probes.imap.collect import Collector
from probes.imap.connect import MAILBOXES, connect
from probes.imap.framing import KEEP_LITERAL
from probes.imap.gather import Gathering
from probes.imap.idling import idle_until
from probes.imap.items import FetchReply, parse_fetch
from probes.imap.login import greet, log_in, redactor
from probes.imap.model import (
    MAX_UID,
    AddressPolicy,
    Batch,
    FolderState,
    ImapFailure,
    ImapStage,
    ImapTarget,
    Message,
    ProtocolError,
)
from probes.imap.protocol import ImapProtocol, Reply, Request
from probes.imap.replies import quota_ratio, search_uids
from probes.imap.view import FolderView
from probes.imap.wire import folder_name, header_items, quoted, search_date, uid_set
from probes.resolver import Lookups

BATCH = 200
"""Messages fetched, flagged or expunged with one command."""

SPAN = 100_000
"""UIDs looked through with one SEARCH when far behind: a reply of at most about a megabyte."""

BATCH_BYTES = 2 * 1024 * 1024
"""Bytes of headers returned at a time: taking them apart must not hold up all else for long."""

CLOSE_S = 1.0
_OnFetch = Callable[[FetchReply], None]


class FolderSession:
    """See the module. Made by :meth:`open`; one call at a time, from one event loop."""

    def __init__(
        self, target: ImapTarget, folder: str, items: str, clock: Callable[[], int]
    ) -> None:
        self._target = target
        self._folder = folder_name(folder)
        self._items = items
        self._clock = clock
        self._view = FolderView(clock)
        self._stirred = asyncio.Event()
        self._redact = redactor(target)
        self._on_fetch: _OnFetch | None = None
        self._collector = Collector()
        self._busy = False
        self._looked_to = 0
        self._protocol: ImapProtocol

    @classmethod
    async def open(
        cls,
        target: ImapTarget,
        folder: str,
        *,
        header_fields: Sequence[str],
        permits: AddressPolicy | None = None,
        clock: Callable[[], int] = time.monotonic_ns,
        lookups: Lookups = MAILBOXES,
    ) -> Self:
        """Connect, log in and select ``folder`` (a name in Unicode) for reading and deleting.

        ``header_fields`` are fetched of each message; ``permits`` must agree to an address before
        it is connected to; ``clock`` (nanoseconds) stamps the batches; ``lookups`` finds
        the host's addresses.

        Raises:
            ImapFailure: which step failed, and why.
            ValueError: for a header field that is no name, or a folder with a line break.
        """
        items = header_items(header_fields)
        if not folder.isprintable() or not folder:
            raise ValueError(f"folder {folder!r}: allowed is printable text")
        session = cls(target, folder, items, clock)
        session._protocol = await connect(target, permits, session._make_protocol, lookups)
        try:
            await greet(session._protocol, session._view, target.command_timeout_s)
            await log_in(session._protocol, session._view, target)
            await session._select()
        except BaseException:
            await session._cut()
            raise
        return session

    # What is known.

    @property
    def state(self) -> FolderState:
        """The folder as far as the server has told."""
        view = self._view
        return FolderState(view.uidvalidity or 0, view.uidnext or 1, view.exists)

    @property
    def dead(self) -> ImapFailure | None:
        """Why the session has ended; None while it has not."""
        return self._protocol.failure

    @property
    def capabilities(self) -> frozenset[str]:
        """What the server offers after the login, in upper case."""
        return self._view.capabilities

    @property
    def has_idle(self) -> bool:
        """Whether the server pushes (RFC 2177)."""
        return "IDLE" in self._view.capabilities

    @property
    def has_uidplus(self) -> bool:
        """Whether single messages can be expunged (RFC 4315)."""
        return "UIDPLUS" in self._view.capabilities

    @property
    def has_quota(self) -> bool:
        """Whether the server tells the quota (RFC 9208)."""
        return any(name.partition("=")[0] == "QUOTA" for name in self._view.capabilities)

    # What can be done.

    async def fetch_from(self, uid: int) -> Batch:
        """Check the folder for messages with UIDs from ``uid`` on: see :class:`Batch`.

        A NOOP makes the server look for new mail (RFC 3501 section 6.1.2); a FETCH alone shows only
        what has been announced before. The FETCH follows only when there is something to fetch, so
        a check that finds nothing is one short command, however full the folder is. A call
        fetches at most about ``BATCH`` messages, and returns about ``BATCH_BYTES``.

        Mail that is announced while the fetch runs came after the check began: it does not make the
        batch incomplete, and the next call or :meth:`idle` will not wait for it.

        Raises:
            ImapFailure: nothing of this call counts, and the cursor stays where it was.
        """
        with self._turn():
            view = self._view
            asked_ns = self._clock()
            await self._ok(ImapStage.CHECK, "NOOP")
            if not view.news and uid == self._looked_to:
                return Batch((), uid, complete=True, asked_ns=asked_ns, seen_ns=view.news_ns)
            view.news = False
            try:
                if view.at_most(uid) > BATCH:
                    messages, next_uid = await self._catch_up(uid)
                    complete = False
                else:
                    messages, next_uid, complete = await self._catch_last(uid)
            except BaseException:
                # What was announced has not been seen by the caller.
                view.news = True
                raise
            return Batch(
                tuple(messages), next_uid, complete, asked_ns=asked_ns, seen_ns=view.news_ns
            )

    async def idle(self, timeout_s: float, wake: asyncio.Event) -> bool:
        """Wait until the server announces mail (True), or ``wake`` or the time ends it (False).

        Also True, at once, when mail was announced since the last :meth:`fetch_from` began. DONE
        has been sent and acknowledged when this returns. Keep ``timeout_s`` below the 29 minutes
        of RFC 2177.

        Raises:
            ImapFailure: as everywhere; also when the server offers no IDLE, refuses it or ends it
                by itself, after which the session goes on.
        """
        with self._turn():
            if not self.has_idle:
                detail = "the server offers no IDLE"
                raise self._protocol.fail(ImapStage.IDLE, Reason.PROTOCOL, detail)
            if self._need_not_idle(wake):
                return self._view.news
            # Not every server looks, when IDLE begins, for what has come since the last command.
            await self._ok(ImapStage.IDLE, "NOOP")
            if self._need_not_idle(wake):
                return self._view.news
            self._stirred.clear()
            limit_s = self._target.command_timeout_s
            await idle_until(self._protocol, self._stirred, wake, timeout_s, limit_s)
            return self._view.news

    async def delete(self, uids: Collection[int]) -> bool:
        """Delete the messages; False when they could only be flagged as deleted.

        Without UIDPLUS there is no way to expunge these alone, and a plain EXPUNGE would take with
        it what others have flagged: it is never sent.
        """
        wanted = sorted(set(uids))
        with self._turn():
            for start in range(0, len(wanted), BATCH):
                chosen = uid_set(wanted[start : start + BATCH])
                await self._ok(
                    ImapStage.STORE, "STORE", chosen, r"+FLAGS.SILENT (\Deleted)", prefix="UID"
                )
                if self.has_uidplus:
                    await self._ok(ImapStage.EXPUNGE, "EXPUNGE", chosen, prefix="UID")
        return self.has_uidplus

    async def fetch_whole(self, uid: int, max_bytes: int) -> bytes | None:
        """The message's first ``max_bytes`` bytes; None when it is not there any more."""
        found: list[bytes] = []

        def take(reply: FetchReply) -> None:
            value = next((v for k, v in reply.items.items() if k.startswith(b"BODY[]")), None)
            if isinstance(value, bytes) and reply.number(b"UID") == uid:
                found.append(value)

        items = f"(UID BODY.PEEK[]<0.{max_bytes}>)"
        with self._turn():
            self._protocol.framer.keep_literal = max_bytes
            try:
                await self._fetch(str(uid), items, take)
            finally:
                self._protocol.framer.keep_literal = KEEP_LITERAL
        return found[0][:max_bytes] if found else None

    async def fetch_some(self, uids: Collection[int]) -> list[Message]:
        """Those of the messages that are there and hold at least one of the fields asked for."""
        wanted = sorted(set(uids))
        found: list[Message] = []
        with self._turn():
            for start in range(0, len(wanted), BATCH):
                chosen = wanted[start : start + BATCH]
                gathering = Gathering(self._view, chosen[0], chosen[-1])
                await self._fetch(uid_set(chosen), self._items, gathering.take)
                found += gathering.messages
        return found

    async def search_header(self, field: str, since: date, before: date | None = None) -> list[int]:
        """The UIDs of the messages that have this header field and came in that time, ascending.

        ``since`` is the first day, ``before`` the day after the last. The server compares dates of
        its own time zone: go a day further. It may take the server long; it is no part of a check.
        """
        header_items([field])
        until = "" if before is None else f" BEFORE {search_date(before)}"
        criteria = f'SINCE {search_date(since)}{until} HEADER {quoted(field)} ""'
        with self._turn():
            return await self._search(criteria)

    async def quota(self) -> float | None:
        """The used share of the fullest quota, 1.0 is full; None when none is told."""
        if not self.has_quota:
            return None
        with self._turn():
            with self._collector.of(b"QUOTA") as lines:
                reply = await self._run(ImapStage.QUOTA, "GETQUOTAROOT", self._folder)
            return quota_ratio(lines) if reply.status == "OK" else None

    async def close(self) -> None:
        """Log out, within a second; a session that is busy or dead is just cut. Never raises."""
        protocol = self._protocol
        try:
            if protocol.failure is None and not self._busy:
                request = Request("LOGOUT", protocol.new_tag())
                await protocol.run(ImapStage.LOGOUT, request, CLOSE_S)
        except ImapFailure:
            pass
        finally:
            await self._cut()

    # How it is done.

    def _make_protocol(self) -> ImapProtocol:
        return ImapProtocol(untagged=self._untagged, on_dead=self._stirred.set, redact=self._redact)

    @contextmanager
    def _turn(self) -> Iterator[None]:
        if self._busy:
            raise RuntimeError("a session does one thing at a time")
        self._protocol.check_alive()
        self._busy = True
        try:
            yield
        finally:
            self._busy = False

    def _untagged(self, parts: Sequence[bytes]) -> None:
        kind = self._view.take(parts)
        if kind == b"FETCH":
            if self._on_fetch is not None:
                self._on_fetch(parse_fetch(parts))
        elif kind == b"EXISTS":
            self._stirred.set()
        else:
            self._collector.take(kind, parts)

    async def _run(
        self, step: ImapStage, name: str, *arguments: str, prefix: str | None = None
    ) -> Reply:
        protocol = self._protocol
        request = Request(name, protocol.new_tag(), *arguments, prefix=prefix)
        return await protocol.run(step, request, self._target.command_timeout_s)

    async def _ok(
        self, step: ImapStage, name: str, *arguments: str, prefix: str | None = None
    ) -> bytes:
        reply = await self._run(step, name, *arguments, prefix=prefix)
        if reply.status != "OK":
            detail = f"the server answered NO: {self._protocol.said(reply.text)}"
            raise self._protocol.fail(step, Reason.REFUSED, detail)
        return reply.text

    async def _select(self) -> None:
        view = self._view
        await self._ok(ImapStage.SELECT, "SELECT", self._folder)
        self._protocol.state = aioimaplib.SELECTED
        if view.uidvalidity is None:
            detail = "the server keeps no UIDs for this folder (no UIDVALIDITY)"
            raise self._protocol.fail(ImapStage.SELECT, Reason.PROTOCOL, detail)
        if view.uidnext is None:
            exists = view.exists
            view.settle(await self._last_uid() + 1 if exists else 1, exists)
        else:
            view.settle(view.uidnext, view.exists)
        # The caller begins with a check in any case, and idling must not end for old mail.
        view.news = False

    async def _cut(self) -> None:
        """Drop the connection and wait until the transport is closed, as it is at once."""
        self._protocol.die(Reason.CLOSED, "the session was closed")
        await asyncio.wait({self._protocol.gone}, timeout=CLOSE_S)

    def _need_not_idle(self, wake: asyncio.Event) -> bool:
        return self._view.news or wake.is_set()

    async def _fetch(self, uids: str, items: str, on_fetch: _OnFetch) -> None:
        self._on_fetch = on_fetch
        try:
            await self._ok(ImapStage.FETCH, "FETCH", uids, items, prefix="UID")
        finally:
            self._on_fetch = None

    async def _search(self, criteria: str) -> list[int]:
        with self._collector.of(b"SEARCH") as lines:
            await self._ok(ImapStage.SEARCH, "SEARCH", criteria, prefix="UID")
        try:
            return search_uids(lines)
        except ProtocolError as error:
            self._protocol.step = ImapStage.SEARCH
            self._protocol.die(Reason.PROTOCOL, f"the server sent {error}")
            raise self._protocol.fail(ImapStage.SEARCH, Reason.PROTOCOL, str(error)) from None

    async def _last_uid(self) -> int:
        last = 0

        def take(reply: FetchReply) -> None:
            nonlocal last
            last = max(last, reply.number(b"UID") or 0)

        await self._fetch("*", "(UID)", take)
        if not last:
            detail = "the server does not tell the last message's UID"
            raise self._protocol.fail(ImapStage.FETCH, Reason.PROTOCOL, detail)
        return last

    async def _catch_last(self, uid: int) -> tuple[list[Message], int, bool]:
        """What is left when no more than a batch can be; and whether it is all there was to fetch.

        It is, when the server showed every message that it had announced before. If it did not, as
        happens when one was expunged meanwhile, it is asked once more.
        """
        view = self._view
        exists = view.exists
        announced = exists - view.settled if uid <= view.bound_uid else 0
        gathering = await self._gather(uid, MAX_UID)
        messages, next_uid = gathering.first(BATCH_BYTES)
        if next_uid < gathering.next_uid:
            view.news = True
            return messages, next_uid, False
        # An EXPUNGE that came with the reply has made the count smaller already.
        view.settle(next_uid, min(max(exists, gathering.reached), view.exists))
        self._looked_to = next_uid
        if gathering.count < announced:
            view.news = True
            return messages, next_uid, False
        return messages, next_uid, True

    async def _catch_up(self, uid: int) -> tuple[list[Message], int]:
        """The next batch when far behind: ask for the UIDs first, since they may lie far apart."""
        view = self._view
        if view.settled < view.exists:
            exists = view.exists
            view.settle(await self._last_uid() + 1, min(exists, view.exists))
        end = min(uid + SPAN, view.bound_uid) - 1
        if end < uid:
            return [], uid
        uids = [found for found in await self._search(f"UID {uid}:{end}") if uid <= found <= end]
        chosen = uids[:BATCH]
        if not chosen:
            return [], end + 1
        gathering = await self._gather(chosen[0], chosen[-1])
        messages, next_uid = gathering.first(BATCH_BYTES)
        if next_uid < gathering.next_uid:
            return messages, next_uid
        return messages, chosen[-1] + 1 if len(uids) > BATCH else end + 1

    async def _gather(self, first: int, last: int) -> Gathering:
        gathering = Gathering(self._view, first, last)
        await self._fetch(f"{first}:{last}", self._items, gathering.take)
        return gathering
