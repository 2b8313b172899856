"""One folder over one connection: look for new mail, wait for it, read it, delete it.

A session ends at the first thing that could put its replies out of step (see
:mod:`probes.imap.commands`); open another one to go on. A tagged NO is a refusal, raised as an
ImapFailure too, after which the session goes on.
"""

import asyncio
import time
from collections.abc import Callable, Collection, Iterator, Sequence
from datetime import date
from typing import Self

from probes.contract.stages import Reason
from probes.imap.check import BATCH, Checks
from probes.imap.commands import Commands
from probes.imap.connect import MAILBOXES
from probes.imap.gather import Gathering
from probes.imap.items import FetchReply
from probes.imap.model import (
    AddressPolicy,
    Batch,
    FolderState,
    ImapFailure,
    ImapStage,
    ImapTarget,
    Message,
)
from probes.imap.replies import quota_ratio
from probes.imap.wire import folder_name, header_items, quoted, search_date, uid_set
from probes.resolver import Lookups


class FolderSession:
    """See the module. Made by :meth:`open`; one call at a time, from one event loop."""

    def __init__(
        self, target: ImapTarget, folder: str, items: str, clock: Callable[[], int]
    ) -> None:
        self._folder = folder_name(folder)
        self._items = items
        self._commands = Commands(target, clock)
        self._view = self._commands.view
        self._checks = Checks(self._commands, items, clock)

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
        await session._commands.connect(permits, lookups)
        try:
            await session._commands.select(session._folder)
        except BaseException:
            await session._commands.cut()
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
        return self._commands.dead

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
        with self._commands.turn():
            return await self._checks.fetch_from(uid)

    async def notice(self) -> None:
        """Let the server announce what has come, with a NOOP, and fetch nothing.

        So a message that can be fetched only later is known to have come now.
        """
        with self._commands.turn():
            await self._checks.notice()

    async def idle(self, timeout_s: float, wake: asyncio.Event) -> bool:
        """Wait until the server announces mail (True), or ``wake`` or the time ends it (False).

        Also True, at once, when mail was announced since the last :meth:`fetch_from` began. DONE
        has been sent and acknowledged when this returns. Keep ``timeout_s`` below the 29 minutes
        of RFC 2177.

        Raises:
            ImapFailure: as everywhere; also when the server offers no IDLE, refuses it or ends it
                by itself, after which the session goes on.
        """
        with self._commands.turn():
            if not self.has_idle:
                detail = "the server offers no IDLE"
                raise self._commands.failure(ImapStage.IDLE, Reason.PROTOCOL, detail)
            if not self._need_not_idle(wake):
                # Not every server looks, when IDLE begins, for what came since the last command.
                await self._commands.ok(ImapStage.IDLE, "NOOP")
            if not self._need_not_idle(wake):
                await self._commands.idle(wake, timeout_s)
            return self._view.news

    def _need_not_idle(self, wake: asyncio.Event) -> bool:
        return self._view.news or wake.is_set()

    async def delete(self, uids: Collection[int]) -> bool:
        """Delete the messages; False when they could only be flagged as deleted.

        Without UIDPLUS there is no way to expunge these alone, and a plain EXPUNGE would take with
        it what others have flagged: it is never sent.
        """
        commands = self._commands
        with commands.turn():
            for chosen in map(uid_set, _slices(uids)):
                await commands.ok(
                    ImapStage.STORE, "STORE", chosen, r"+FLAGS.SILENT (\Deleted)", prefix="UID"
                )
                if self.has_uidplus:
                    await commands.ok(ImapStage.EXPUNGE, "EXPUNGE", chosen, prefix="UID")
        return self.has_uidplus

    async def fetch_whole(self, uid: int, max_bytes: int) -> bytes | None:
        """The message's first ``max_bytes`` bytes; None when it is not there any more."""
        found: list[bytes] = []

        def take(reply: FetchReply) -> None:
            value = next((v for k, v in reply.items.items() if k.startswith(b"BODY[]")), None)
            if isinstance(value, bytes) and reply.number(b"UID") == uid:
                found.append(value)

        items = f"(UID BODY.PEEK[]<0.{max_bytes}>)"
        with self._commands.turn():
            await self._commands.fetch(str(uid), items, take, keep_literal=max_bytes)
        return found[0][:max_bytes] if found else None

    async def fetch_some(self, uids: Collection[int]) -> list[Message]:
        """Those of the messages that are there and hold at least one of the fields asked for."""
        found: list[Message] = []
        with self._commands.turn():
            for chosen in _slices(uids):
                gathering = Gathering(self._view, chosen[0], chosen[-1])
                await self._commands.fetch(uid_set(chosen), self._items, gathering.take)
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
        with self._commands.turn():
            return await self._commands.search(criteria)

    async def quota(self) -> float | None:
        """The used share of the fullest quota, 1.0 is full; None when none is told."""
        if not self.has_quota:
            return None
        with self._commands.turn():
            lines = await self._commands.quota(self._folder)
        return None if lines is None else quota_ratio(lines)

    async def close(self) -> None:
        """Log out, within a second; a session that is busy or dead is just cut. Never raises."""
        await self._commands.close()


def _slices(uids: Collection[int]) -> Iterator[list[int]]:
    """The UIDs, ascending and each once, as many at a time as one command takes."""
    wanted = sorted(set(uids))
    for start in range(0, len(wanted), BATCH):
        yield wanted[start : start + BATCH]
