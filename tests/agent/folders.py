"""An IMAP server that stands in for the agent's: folders, connections to them, their failures."""

import asyncio
from collections.abc import Callable, Collection
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime
from functools import partial

from agent.clock import Clock
from agent.ports import FolderSession
from probes.imap import Batch, FolderState, ImapFailure, Message


def _day(mail: Message) -> date | None:
    if mail.internaldate_ns is None:
        return None
    return datetime.fromtimestamp(mail.internaldate_ns / 1e9, tz=UTC).date()


def _under(mail: Message, uid: int) -> Message:
    return replace(mail, uid=uid)


@dataclass
class FakeFolder:
    """A folder of an IMAP server, and how the server behaves."""

    clock: Clock
    uidvalidity: int = 7
    uidnext: int = 1
    has_idle: bool = True
    uidplus: bool = True
    mails: dict[int, Message] = field(default_factory=dict)
    whole: dict[int, bytes] = field(default_factory=dict)
    deleted: list[int] = field(default_factory=list)
    searches: list[tuple[str, date]] = field(default_factory=list)
    opens: list[int] = field(default_factory=list)
    fetches: int = 0
    idles: int = 0
    notices: int = 0
    quota: float | None = None
    refuses: ImapFailure | None = None
    dies: ImapFailure | None = None
    refuses_idle: ImapFailure | None = None
    stirred: asyncio.Event = field(default_factory=asyncio.Event)
    closed: int = 0

    def deliver(self, make: Callable[[int], Message], whole: bytes = b"") -> int:
        """A mail comes; its UID."""
        uid = self.uidnext
        self.uidnext += 1
        self.mails[uid] = make(uid)
        self.whole[uid] = whole
        self.stirred.set()
        return uid

    def renumber(self, uidvalidity: int, first: int = 1) -> None:
        """The server makes the folder anew: the same mails under other UIDs."""
        mails = sorted(self.mails.items())
        self.uidvalidity, self.uidnext = uidvalidity, first
        self.mails = {}
        for _, mail in mails:
            self.deliver(partial(_under, mail))


class FakeSession:
    """A connection to a :class:`FakeFolder`; dies when the folder's ``dies`` says so."""

    def __init__(self, folder: FakeFolder, batch: int) -> None:
        self._folder = folder
        self._batch = batch
        self._there: dict[int, int] = {}

    @property
    def state(self) -> FolderState:
        """The folder as it is."""
        folder = self._folder
        return FolderState(folder.uidvalidity, folder.uidnext, len(folder.mails))

    @property
    def has_idle(self) -> bool:
        """As the folder is made."""
        return self._folder.has_idle

    @property
    def dead(self) -> ImapFailure | None:
        """As the folder is made."""
        return self._folder.dies

    def _alive(self) -> None:
        if self._folder.dies is not None:
            raise self._folder.dies

    async def fetch_from(self, uid: int) -> Batch:
        """One check; takes a millisecond."""
        folder = self._folder
        folder.fetches += 1
        folder.stirred.clear()
        asked_ns = folder.clock.now().boot_ns
        found = [mail for at, mail in sorted(folder.mails.items()) if at >= uid]
        chosen = tuple(found[: self._batch])
        complete = len(chosen) == len(found)
        next_uid = folder.uidnext if complete else chosen[-1].uid + 1
        await asyncio.sleep(0.001)
        self._alive()
        self._note()
        shown = tuple(replace(mail, there_ns=self._there[mail.uid]) for mail in chosen)
        return Batch(shown, max(uid, next_uid), complete, asked_ns)

    async def notice(self) -> None:
        """Note when the mails that are there were there; takes a millisecond."""
        await asyncio.sleep(0.001)
        self._alive()
        self._folder.notices += 1
        self._note()

    def _note(self) -> None:
        for uid in self._folder.mails:
            self._there.setdefault(uid, self._folder.clock.now().boot_ns)

    async def idle(self, timeout_s: float, wake: asyncio.Event) -> bool:
        """Wait for news, the wake or the time."""
        folder = self._folder
        folder.idles += 1
        if folder.refuses_idle is not None:
            await asyncio.sleep(0.01)
            raise folder.refuses_idle
        waits = [asyncio.ensure_future(event.wait()) for event in (folder.stirred, wake)]
        try:
            await asyncio.wait(waits, timeout=timeout_s, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for wait in waits:
                wait.cancel()
        self._alive()
        return folder.stirred.is_set()

    async def delete(self, uids: Collection[int]) -> bool:
        """Delete mails, or only flag them."""
        self._alive()
        self._folder.deleted += sorted(uids)
        if self._folder.uidplus:
            for uid in uids:
                self._folder.mails.pop(uid, None)
        return self._folder.uidplus

    async def fetch_whole(self, uid: int, max_bytes: int) -> bytes | None:
        """The beginning of a mail."""
        self._alive()
        body = self._folder.whole.get(uid)
        return None if body is None else body[:max_bytes]

    async def search_header(self, field: str, since: date, before: date | None = None) -> list[int]:
        """The mails that have the field; those with no date of their own are of every day."""
        self._alive()
        self._folder.searches.append((field, since))
        name = field.lower().encode() + b":"
        return [
            uid
            for uid, mail in sorted(self._folder.mails.items())
            if any(line.lower().startswith(name) for line in mail.header.split(b"\r\n"))
            and (before is None or _day(mail) is None or since <= (_day(mail) or since) < before)
        ]

    async def fetch_some(self, uids: Collection[int]) -> list[Message]:
        """Those mails."""
        self._alive()
        return [mail for uid, mail in sorted(self._folder.mails.items()) if uid in uids]

    async def quota(self) -> float | None:
        """As the folder is made."""
        self._alive()
        return self._folder.quota

    async def close(self) -> None:
        """End it."""
        self._folder.closed += 1


class FakeImap:
    """The server of all folders; ``refuses`` of a folder makes its connections fail."""

    def __init__(self, folders: dict[tuple[str, str], FakeFolder], *, batch: int = 200) -> None:
        self.folders = folders
        self._batch = batch

    async def open(self, mailbox: str, folder: str) -> FolderSession:
        """Connect to a folder."""
        of = self.folders[mailbox, folder]
        of.opens.append(of.clock.now().boot_ns)
        await asyncio.sleep(0.001)
        if of.refuses is not None:
            raise of.refuses
        return FakeSession(of, self._batch)
