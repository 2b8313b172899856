"""Keeping a folder clean: what is accounted for is deleted, and now and then what nobody awaits."""

from agent.clock import WallGuard
from agent.mailbox import upkeep
from agent.mailbox.watch import FolderStatus, MailboxWatch, Reader
from agent.ports import FolderSession

_CLEAN_AT = 50
_CLEAN_AFTER_S = 1.0


class Cleaning:
    """What is to be deleted in one folder; it begins anew with every session."""

    def __init__(
        self, watch: MailboxWatch, reader: Reader, folder: str, status: FolderStatus
    ) -> None:
        self.server = upkeep.ServerClock()
        self._watch = watch
        self._reader = reader
        self._folder = folder
        self._status = status
        self._uidvalidity = 0
        self._garbage: list[int] = []
        self._inherited: list[int] = []
        self._upkeep_ns = 0
        self._swept_to = 0
        self._wall = WallGuard()

    def begin(self, uidvalidity: int, inherited: list[int]) -> None:
        """A session was opened; ``inherited`` are the UIDs that earlier ones left to be deleted."""
        self._uidvalidity = uidvalidity
        self._garbage, self._inherited = [], inherited
        self._count()

    def found(self, uid: int) -> None:
        """That mail is accounted for."""
        self._garbage.append(uid)
        self._count()

    def is_due(self) -> bool:
        """Whether to clean up now, canaries in flight or not: there is much, or all are old."""
        age = self._watch.air.youngest_age_s(self._reader.clock.now())
        calm = age is not None and age >= _CLEAN_AFTER_S
        return calm or self._status.garbage >= _CLEAN_AT

    async def clean(self, session: FolderSession) -> None:
        """Delete what is accounted for.

        Raises:
            ImapFailure: as the session's commands.
            SpoolError: it was deleted, and that could not be written down.
        """
        if self._inherited:
            await self._look_again(session)
        if not self._garbage:
            return
        gone, self._garbage = self._garbage, []
        await session.delete(gone)
        self._spend(2)
        await self._forget(gone)
        self._count()

    async def keep_up(self, session: FolderSession) -> None:
        """Once in a while, when nothing young is in flight: the quota, and old canaries.

        Raises:
            ImapFailure: as the session's commands.
        """
        now = self._reader.clock.now()
        believed_ns = self._wall.believed_ns(now)
        age = self._watch.air.youngest_age_s(now)
        if now.boot_ns < self._upkeep_ns or (age is not None and age < _CLEAN_AFTER_S):
            return
        first = self._upkeep_ns == 0
        wait_s = upkeep.FIRST_AFTER_S if first else upkeep.EVERY_S
        self._upkeep_ns = now.boot_ns + round(wait_s * 1e9)
        self._status.quota_used = await session.quota()
        if first or believed_ns is None:
            return
        swept = await upkeep.sweep(
            session,
            self._reader.ring,
            now_ns=self.server.at_most_ns(believed_ns, now.boot_ns),
            remember_s=self._reader.remember_s,
            after=self._swept_to,
        )
        self._reader.counters["orphans_removed"] += swept.removed
        self._swept_to = swept.after
        if swept.after:
            self._upkeep_ns = now.boot_ns + round(upkeep.MORE_AFTER_S * 1e9)

    async def _look_again(self, session: FolderSession) -> None:
        """Of what an earlier session left to be deleted, keep only what is ours beyond doubt."""
        uids = self._inherited
        messages = await session.fetch_some(uids)
        self._spend(1)
        mine = upkeep.ours(
            messages,
            self._reader.ring,
            agent=self._reader.agent,
            mailbox=self._watch.name,
            takes_bounces=self._watch.takes_bounces,
        )
        await self._forget(sorted(set(uids).difference(mine)))
        # Those that are not there any more were deleted, and the reply was lost.
        self._reader.counters["cleanup_foreign"] += len(messages) - len(mine)
        self._inherited, self._garbage = [], [*self._garbage, *mine]
        self._count()

    async def _forget(self, gone: list[int]) -> None:
        name, folder, validity = self._watch.name, self._folder, self._uidvalidity
        await self._reader.spool.run(lambda store: store.cleaned(name, folder, validity, gone))

    def _spend(self, commands: int) -> None:
        self._watch.budget.take(self._reader.clock.now().boot_ns / 1e9, commands)

    def _count(self) -> None:
        self._status.garbage = len(self._garbage) + len(self._inherited)
