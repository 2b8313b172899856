"""Mailboxes that fail to order: the agent's ``Imap`` port in the simulated world."""

import asyncio
from collections.abc import Collection
from datetime import UTC, date, datetime

from agent.mailbox.arrivals import HEADER_FIELDS
from agent.ports import FolderSession
from probes.contract.stages import Reason, Stage
from probes.imap import Batch, FolderState, ImapFailure, ImapStage, Message
from tests.simulation.clock import EPOCH_NS, NS, VirtualClock
from tests.simulation.life import Life
from tests.simulation.world import Folder, Mail, World

_HANG_S = 10.0
_WANTED = tuple(f"{name.lower()}:".encode() for name in HEADER_FIELDS)


def header_of(raw: bytes) -> bytes:
    """The lines of the fields that are fetched, as BODY[HEADER.FIELDS] gives them."""
    wanted, taking = [], False
    for line in raw.partition(b"\r\n\r\n")[0].split(b"\r\n"):
        if line[:1] not in b" \t":
            taking = line.lower().startswith(_WANTED)
        if taking:
            wanted.append(line + b"\r\n")
    return b"".join(wanted)


class SimImap:
    """One life's way to the mailboxes."""

    def __init__(self, world: World, life: Life, clock: VirtualClock) -> None:
        self._world = world
        self._life = life
        self._clock = clock

    async def open(self, mailbox: str, folder: str) -> FolderSession:
        """Connect, log in, select."""
        world = self._world
        self._life.must_pass("open")
        await asyncio.sleep(world.rng.uniform(0.01, 0.3))
        down = world.spell(mailbox, "imap-down", "imap-hang", "imap-login", "imap-flaky")
        if down is not None and down.what == "imap-login":
            raise ImapFailure(Stage.AUTH, Reason.CREDENTIALS, "refused")
        if down is not None and down.what == "imap-hang":
            await asyncio.sleep(_HANG_S)
            raise ImapFailure(Stage.BANNER, Reason.TIMEOUT, "no greeting")
        if down is not None:
            raise ImapFailure(Stage.CONNECT, Reason.REFUSED, "refused")
        return SimSession(world, self._life, self._clock, mailbox, folder)


class SimSession:
    """One connection with one folder selected."""

    def __init__(self, world: World, life: Life, clock: VirtualClock, box: str, name: str) -> None:
        self._world = world
        self._life = life
        self._clock = clock
        self._box = box
        self._folder: Folder = world.folders[(box, name)]
        self._validity = self._folder.uidvalidity
        self._told = self._folder.uidnext
        self._news = False
        self._stirred = asyncio.Event()
        self._dead: ImapFailure | None = None
        self._batch = world.rng.choice((2, 5, 200))
        self._there: dict[int, int] = {}
        self._folder.listeners.append(self._on_mail)

    @property
    def state(self) -> FolderState:
        """The folder as far as it was told."""
        return FolderState(self._validity, self._told, len(self._folder.mails))

    @property
    def has_idle(self) -> bool:
        """Whether this world's servers push."""
        return self._world.scenario.has_idle

    @property
    def dead(self) -> ImapFailure | None:
        """What ended the session."""
        return self._dead

    async def fetch_from(self, uid: int) -> Batch:
        """Up to a batch's worth of mails from ``uid`` on."""
        asked_ns = self._clock.now().boot_ns
        await self._command(ImapStage.CHECK)
        self._news = False
        self._stirred.clear()
        uids = sorted(u for u in self._folder.mails if u >= uid)
        chosen = uids[: self._batch]
        mails = [(u, self._folder.mails[u]) for u in chosen]
        complete = len(chosen) == len(uids)
        self._told = max(self._told, self._folder.uidnext)
        self._note()
        if mails:
            await self._command(ImapStage.FETCH)
        self._life.must_pass("fetched")
        messages = tuple(
            m for u, mail in mails if (m := _message(u, mail, self._there[u])) is not None
        )
        next_uid = chosen[-1] + 1 if chosen else uid
        return Batch(messages, next_uid, complete, asked_ns=asked_ns)

    async def notice(self) -> None:
        """Note when the mails that are there had come."""
        await self._command(ImapStage.CHECK)
        self._note()

    def _note(self) -> None:
        for uid in self._folder.mails:
            self._there.setdefault(uid, self._clock.now().boot_ns)

    async def idle(self, timeout_s: float, wake: asyncio.Event) -> bool:
        """Wait for mail, for ``wake``, or for the time to pass."""
        self._check()
        if self._news or wake.is_set():
            return self._news
        waits = [asyncio.ensure_future(event.wait()) for event in (self._stirred, wake)]
        try:
            await asyncio.wait(waits, timeout=timeout_s, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for wait in waits:
                wait.cancel()
        await self._command(ImapStage.IDLE)
        return self._news

    async def delete(self, uids: Collection[int]) -> bool:
        """Delete those mails; the reply may be lost after they are gone."""
        await self._command(ImapStage.STORE)
        for uid in uids:
            self._folder.expunge(uid)
        self._life.must_pass("deleted")
        await self._command(ImapStage.EXPUNGE)
        return True

    async def fetch_whole(self, uid: int, max_bytes: int) -> bytes | None:
        """The whole mail."""
        await self._command(ImapStage.FETCH)
        mail = self._folder.mails.get(uid)
        return None if mail is None else mail.raw[:max_bytes]

    async def fetch_some(self, uids: Collection[int]) -> list[Message]:
        """Those of the mails that hold a field of ours."""
        await self._command(ImapStage.FETCH)
        self._note()
        there = [
            (uid, self._folder.mails[uid]) for uid in sorted(uids) if uid in self._folder.mails
        ]
        return [
            m for uid, mail in there if (m := _message(uid, mail, self._there[uid])) is not None
        ]

    async def search_header(self, field: str, since: date, before: date | None = None) -> list[int]:
        """UIDs of the mails with that field, since that day by the server's clock."""
        await self._command(ImapStage.SEARCH)
        name = b"\r\n" + field.lower().encode() + b":"
        return [
            uid
            for uid, mail in sorted(self._folder.mails.items())
            if name in b"\r\n" + mail.raw.lower() and since <= _day(mail) < (before or date.max)
        ]

    async def quota(self) -> float | None:
        """This world's servers tell none."""
        await self._command(ImapStage.QUOTA)
        return None

    async def close(self) -> None:
        """End the connection."""
        if self._on_mail in self._folder.listeners:
            self._folder.listeners.remove(self._on_mail)

    def _on_mail(self) -> None:
        """The server announces new mail, sooner or later, or, when deaf, at the next command."""
        self._news = True
        if self._world.spell(self._box, "deaf") is None:
            self._world.later(self._world.rng.uniform(0.0, 0.5), self._stirred.set)

    def _check(self) -> None:
        if not self._life.alive:
            raise asyncio.CancelledError
        if self._validity != self._folder.uidvalidity:
            self._dead = ImapFailure(ImapStage.BETWEEN, Reason.PROTOCOL, "UIDVALIDITY changed")
        if self._world.spell(self._box, "imap-down") is not None:
            self._dead = ImapFailure(ImapStage.BETWEEN, Reason.CLOSED, "connection lost")
        if self._dead is not None:
            dead = self._dead
            raise ImapFailure(dead.stage, dead.reason, dead.detail)

    async def _command(self, step: ImapStage) -> None:
        """One command's time and luck; a session that failed once stays dead."""
        self._check()
        await asyncio.sleep(self._world.rng.uniform(0.002, 0.06))
        trouble = self._world.spell(self._box, "imap-hang", "imap-flaky")
        if trouble is not None:
            reason = Reason.CLOSED
            if trouble.what == "imap-hang":
                reason = Reason.TIMEOUT
                await asyncio.sleep(_HANG_S)
            self._dead = ImapFailure(step, reason, "lost")
        self._check()


def _message(uid: int, mail: Mail, there_ns: int) -> Message | None:
    header = header_of(mail.raw)
    if not header:
        return None
    return Message(uid, EPOCH_NS + int(mail.at_s) * NS, header, there_ns)


def _day(mail: Mail) -> date:
    return datetime.fromtimestamp(EPOCH_NS / NS + mail.at_s, tz=UTC).date()
