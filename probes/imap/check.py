"""One check of a folder: has it news, and which messages are they? (See ``docs/probe-imap.md``.)"""

from collections.abc import Callable

from probes.imap.commands import Commands
from probes.imap.gather import Gathering
from probes.imap.model import MAX_UID, Batch, ImapStage, Message

BATCH = 200
"""Messages fetched, flagged or expunged with one command."""

SPAN = 100_000
"""UIDs looked through with one SEARCH when far behind: a reply of at most about a megabyte."""

BATCH_BYTES = 2 * 1024 * 1024
"""Bytes of headers returned at a time: taking them apart must not hold up all else for long."""


class Checks:
    """The checks of the folder that is selected; ``items`` is what is fetched of each message."""

    def __init__(self, commands: Commands, items: str, clock: Callable[[], int]) -> None:
        self._commands = commands
        self._view = commands.view
        self._items = items
        self._clock = clock
        self._looked_to = 0

    async def notice(self) -> None:
        """See :meth:`probes.imap.session.FolderSession.notice`."""
        await self._commands.ok(ImapStage.CHECK, "NOOP")

    async def fetch_from(self, uid: int) -> Batch:
        """See :meth:`probes.imap.session.FolderSession.fetch_from`."""
        view = self._view
        asked_ns = self._clock()
        await self.notice()
        if not view.news and uid == self._looked_to:
            return Batch((), uid, complete=True, asked_ns=asked_ns)
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
        return Batch(tuple(messages), next_uid, complete, asked_ns=asked_ns)

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
        view, commands = self._view, self._commands
        if view.settled < view.exists:
            exists = view.exists
            view.settle(await commands.last_uid() + 1, min(exists, view.exists))
        end = min(uid + SPAN, view.bound_uid) - 1
        if end < uid:
            return [], uid
        found = await commands.search(f"UID {uid}:{end}")
        uids = [each for each in found if uid <= each <= end]
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
        await self._commands.fetch(f"{first}:{last}", self._items, gathering.take)
        return gathering
