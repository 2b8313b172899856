"""Which mailboxes are watched: the assignment's, and those where canaries of before are awaited.

A mailbox that an assignment leaves as it was keeps its connections and all that is known of it.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import structlog

from agent.mailbox.account import fingerprint
from agent.mailbox.cadence import INBOX, JUNK, Budget, Cadence
from agent.mailbox.folder import FolderWatch
from agent.mailbox.watch import FolderStatus, MailboxWatch, Reader, places
from agent.spool.store import Cursor, Store
from agent.supervision import Supervisor
from probes.contract.config.models import Mailbox

log = structlog.get_logger(__name__)

Cursors = Mapping[tuple[str, str], Cursor]

_ASKED_AT_ONCE = 500
# A canary that was due when its mailbox left the assignment has begun by then.
_LEAST_NS = 1_000_000_000


@dataclass(frozen=True, slots=True)
class Cadences:
    """How often inboxes and junk folders are looked into."""

    inbox: Cadence = INBOX
    junk: Cadence = JUNK


def moved(mailboxes: Mapping[str, Mailbox], known: Cursors) -> set[str]:
    """The mailboxes that are others now than when a former run read them.

    Their account is another in a folder that is still read, or the inbox is another folder.
    """
    return {
        name
        for name, config in mailboxes.items()
        if any(
            (cursor := known.get((name, folder))) is not None
            and cursor.account != fingerprint(config.imap)
            for folder, _ in places(config)
        )
        or ((name, config.folders.inbox) not in known and any(name == other for other, _ in known))
    }


class Watching:
    """The watches over an agent's mailboxes; ``watches`` names exactly those that are watched."""

    def __init__(
        self,
        watches: dict[str, MailboxWatch],
        reader: Reader,
        supervisor: Supervisor,
        cadences: Cadences,
    ) -> None:
        self.watches = watches
        self._reader = reader
        self._supervisor = supervisor
        self._cadences = cadences
        self._tasks: dict[str, list[asyncio.Task[None]]] = {}
        self._left: dict[str, int] = {}
        self._bounces: str | None = None
        self._bounced: set[str] = set()
        self._begun = False

    @property
    def garbage(self) -> int:
        """How many mails are accounted for and still have to be deleted from their mailboxes."""
        return sum(map(_garbage, self.watches.values()))

    def begin(self, mailboxes: Mapping[str, Mailbox], bounces: str | None, known: Cursors) -> None:
        """Watch those mailboxes, each folder from where it is known to have been read."""
        self._begun, self._bounces = True, bounces
        for name, config in mailboxes.items():
            watch = self._make(name, config)
            keep = self._supervisor.keep
            self._tasks[name] = [
                asyncio.create_task(keep(work, "folder")) for work in self._works(watch, known)
            ]

    def follow(self, mailboxes: Mapping[str, Mailbox], bounces: str | None) -> None:
        """Watch those mailboxes from now on.

        One that is not among them is watched until :meth:`sweep` finds that nothing is awaited in
        it. Before :meth:`begin` there is nothing to do.
        """
        if not self._begun:
            return
        if self._bounces is not None and self._bounces != bounces:
            self._bounced.add(self._bounces)
        self._bounces = bounces
        now_ns = self._reader.clock.now().boot_ns
        for name in self.watches.keys() - mailboxes.keys():
            self._left.setdefault(name, now_ns)
        for name, config in mailboxes.items():
            self._left.pop(name, None)
            watch = self.watches.get(name)
            if watch is None or (watch.config.imap, watch.config.folders) != (
                config.imap,
                config.folders,
            ):
                self._begin_anew(name, config)
            else:
                watch.config = config
        if bounces is not None and bounces in self.watches:
            self._bounced.discard(bounces)
            self.watches[bounces].takes_bounces = True

    def sweep(self, bound: Mapping[str, int]) -> None:
        """End the watches that nothing is awaited of; ``bound``: canaries on their way out."""
        for name in sorted(self._bounced):
            if not self._returning(name, bound):
                self._bounced.discard(name)
                if name in self.watches:
                    self.watches[name].takes_bounces = False
        for name in sorted(self._left):
            if self._is_over(name, bound):
                self._end(name)
        for name in [name for name in self._tasks if name not in self.watches]:
            if all(task.done() for task in self._tasks[name]):
                del self._tasks[name]

    async def stop(self) -> None:
        """End all watches."""
        tasks = [task for tasks in self._tasks.values() for task in tasks]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    # --- ends -------------------------------------------------------------------------------

    def _returning(self, name: str, bound: Mapping[str, int]) -> bool:
        return self._reader.air.returning(name) > 0 or bound.get(name, 0) > 0

    def _is_over(self, name: str, bound: Mapping[str, int]) -> bool:
        watch = self.watches[name]
        waited_ns = self._reader.clock.now().boot_ns - self._left[name]
        if waited_ns < _LEAST_NS or len(watch.air) or bound.get(name, 0) > 0:
            return False
        if name in self._bounced:
            return False
        # What cannot be deleted in all that time is left to the upkeep of others.
        return not _garbage(watch) or waited_ns > self._reader.remember_s * 1e9

    def _end(self, name: str) -> None:
        for task in self._tasks[name]:
            task.cancel()
        del self.watches[name], self._left[name]
        self._reader.air.leave(name)
        log.info("mailbox: nothing is awaited in it any more", mailbox=name)

    # --- beginnings -------------------------------------------------------------------------

    def _make(self, name: str, config: Mailbox) -> MailboxWatch:
        watch = self.watches[name] = MailboxWatch(
            name=name,
            config=config,
            air=self._reader.air.mailbox(name),
            budget=Budget(config.imap.max_commands_per_minute),
            takes_bounces=name == self._bounces or name in self._bounced,
            began=self._reader.clock.now(),
            # All of them from the first moment on: a watermark is that of every folder.
            folders={folder: FolderStatus() for folder, _ in places(config)},
        )
        return watch

    def _begin_anew(self, name: str, config: Mailbox) -> None:
        before = self._tasks.get(name, [])
        for task in before:
            task.cancel()
        self._reader.air.mailbox(name).deafen()
        watch = self._make(name, config)
        work = self._supervisor.keep(partial(self._take_over, watch, before), "mailbox")
        self._tasks[name] = [*before, asyncio.create_task(work)]

    async def _take_over(self, watch: MailboxWatch, before: Sequence[asyncio.Task[None]]) -> None:
        """Watch a mailbox once those that watched it before have ended.

        Raises:
            SpoolError: the spool could not be asked; to be tried again.
        """
        if before:
            await asyncio.wait(before)
            await self._settle(watch)
        known = await self._reader.spool.run(partial(_known, watch))
        works = self._works(watch, known)
        await asyncio.gather(*(self._supervisor.keep(work, "folder") for work in works))

    async def _settle(self, watch: MailboxWatch) -> None:
        """Await no canary whose arrival or return the watch before wrote down with its last breath.

        What was handed over to the spool is written although nobody hears of it.
        """
        air = self._reader.air
        boxes = list(air.mailboxes().values()) if watch.takes_bounces else [watch.air]
        for box in boxes:
            for canaries in _parts(box.canaries(), _ASKED_AT_ONCE):
                known = await self._reader.spool.run(partial(_flying, canaries=canaries))
                for canary in canaries:
                    if canary not in known:
                        box.forget(canary)

    def _works(self, watch: MailboxWatch, known: Cursors) -> list[Callable[[], Awaitable[None]]]:
        """How to watch each folder of a mailbox."""
        works: list[Callable[[], Awaitable[None]]] = []
        for folder, junk in places(watch.config):
            one = FolderWatch(
                watch,
                self._reader,
                folder,
                junk=junk,
                cadence=self._cadences.junk if junk else self._cadences.inbox,
                cursor=known.get((watch.name, folder)),
            )
            works.append(partial(_read, one, watch.folders[folder]))
        return works


def _known(watch: MailboxWatch, store: Store) -> Cursors:
    """The mailbox's cursors; what they tell of where it was before is kept: they will not be."""
    known = store.cursors(watch.name)
    if moved({watch.name: watch.config}, known):
        store.sent_elsewhere(store.flights(), {watch.name})
    return known


async def _read(folder: FolderWatch, status: FolderStatus) -> None:
    """Watch a folder; a fault of our own is its state until it is read again."""
    try:
        await folder.run()
    except Exception as error:
        status.state, status.detail = "fault", f"{type(error).__name__} inside the agent"
        raise


def _garbage(watch: MailboxWatch) -> int:
    return sum(status.garbage for status in watch.folders.values())


def _parts(canaries: list[str], size: int) -> Iterator[list[str]]:
    return (canaries[at : at + size] for at in range(0, len(canaries), size))


def _flying(store: Store, canaries: Sequence[str]) -> set[str]:
    return set(store.find_flights(canaries))
