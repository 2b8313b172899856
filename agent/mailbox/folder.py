"""Watching one folder over one connection: look, take down what is there, wait, look again.

A connection that fails is thrown away and opened anew; the cursor says where to go on, so nothing
is missed and nothing is counted twice. What could not be written to the spool was not read: the
cursor stays, and the next look finds it again.
"""

import asyncio
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import structlog

from agent.backoff import Backoff
from agent.clock import NEVER, Moment, at_boot
from agent.mailbox.account import fingerprint
from agent.mailbox.bounces import MAX_BYTES
from agent.mailbox.cadence import Cadence
from agent.mailbox.cleaning import Cleaning
from agent.mailbox.take import Find, Where, take
from agent.mailbox.watch import FolderStatus, MailboxWatch, Reader
from agent.ports import FolderSession
from agent.spool.store import Cursor, Store, ends_flight
from agent.spool.writer import Operation
from probes.contract.errors import SpoolError
from probes.contract.stages import Reason
from probes.contract.token import HEADER
from probes.imap import Batch, ImapFailure

log = structlog.get_logger(__name__)

# A mail may lie in its mailbox for a moment before a check shows it: Dovecot does not look into a
# Maildir while a delivery holds its lock, 40 ms on a busy machine. So the time of
# a check that did not show it is taken to be that much earlier.
_SHOWN_AFTER_S = 0.25
# Below this, leaving and entering IDLE costs more commands than it saves.
_IDLE_WORTH_S = 0.25
# A server that refuses a password locks accounts that are tried too often.
_AFTER_REFUSAL_S = 60.0
# A session that ends sooner was no success, however well its first looks went.
_STEADY_S = 60.0
# A server that refused to push is asked again after that; until then its folder is polled.
_IDLE_AGAIN_S = 600.0
_SAY_AGAIN_S = 600.0
# With nothing in flight for so long, it is time to clean up and to go idle; sooner, the next canary
# would wait for both to end.
_REST_S = 1.0
# Of foreign mail so much may be read again after a restart.
_SAVE_EVERY = 1000


class FolderWatch:
    """The watch over one folder of a mailbox."""

    def __init__(
        self,
        watch: MailboxWatch,
        reader: Reader,
        folder: str,
        *,
        junk: bool,
        cadence: Cadence,
        cursor: Cursor | None,
    ) -> None:
        self._watch = watch
        self._reader = reader
        self._folder = folder
        self._junk = junk
        self._cadence = cadence
        self._cursor = cursor
        self._account = fingerprint(watch.config.imap)
        self._status = watch.folders.setdefault(folder, FolderStatus())
        mine = cursor is not None and cursor.account == self._account
        self._status.checked = cursor.checked if cursor is not None and mine else None
        self._wake = asyncio.Event()
        self._cleaning = Cleaning(watch, reader, folder, self._status)
        self._known_only_below = 0
        self._uncounted = ""
        self._saved_uid = 0
        self._looked_ns = 0
        self._idle_from_ns = 0
        self._said: tuple[str, ...] = ()
        self._said_ns = 0
        self._backoff = Backoff(reader.rng)
        watch.air.on_expect(self._wake.set)

    async def run(self) -> None:
        """Watch until cancelled."""
        while True:
            least_s = 0.0
            try:
                await self._session()
            except ImapFailure as failure:
                self._say("down", str(failure), failure.stage, failure.reason)
                if failure.reason is Reason.CREDENTIALS:
                    least_s = _AFTER_REFUSAL_S
            except SpoolError as error:
                self._say("spool", str(error))
            await asyncio.sleep(self._backoff.next_s(at_least_s=least_s))

    def _say(self, state: str, detail: str | None, *kind: str) -> None:
        """Record the folder's state; log it when it changes, not at every try.

        The detail has the server's words in it, which may differ with every try: that alone is
        worth a line now and then only.
        """
        status, now_ns = self._status, self._now_ns()
        changed = (state, *kind) != self._said
        new_words = detail != status.detail and now_ns - self._said_ns >= _SAY_AGAIN_S * 1e9
        status.state, status.detail = state, detail
        if not changed and not new_words:
            return
        self._said, self._said_ns = (state, *kind), now_ns
        level = log.info if state == "ok" else log.warning
        level("folder", mailbox=self._watch.name, folder=self._folder, state=state, detail=detail)

    async def _session(self) -> None:
        session = await self._reader.imap.open(self._watch.name, self._folder)
        opened_ns = self._now_ns()
        try:
            await self._resume(session)
            while True:
                await self._check(session)
                self._say("ok", None)
                if self._cleaning.is_due():
                    await self._cleaning.clean(session)
                await self._cleaning.keep_up(session)
                await self._pause(session)
        finally:
            if self._now_ns() - opened_ns >= _STEADY_S * 1e9:
                self._backoff.reset()
            await session.close()

    # --- where to go on ---------------------------------------------------------------------

    async def _resume(self, session: FolderSession) -> None:
        """Find the UID to go on from: the cursor's, or, where there is none, a new one."""
        state, cursor = session.state, self._cursor
        place = (self._account, state.uidvalidity)
        if cursor is not None and (cursor.account, cursor.uidvalidity) == place:
            next_uid = min(cursor.next_uid, state.uidnext)
            here = Cursor(state.uidvalidity, next_uid, cursor.checked, self._account)
        else:
            here = Cursor(state.uidvalidity, await self._begin(session), NEVER, self._account)
            # What lay in a folder whose UIDs were renumbered was counted under its old UIDs, and
            # what lay in a folder that is new here is none of ours, unless it is still awaited.
            # An account that was moved to another server is like a renumbered one.
            # Only a spool that was made anew has lost what it had counted.
            lost_count = cursor is None and self._reader.rebuilt
            self._known_only_below = 0 if lost_count else state.uidnext
            self._uncounted = self._reader.spool.epoch if cursor is None else ""
            self._status.checked = None
        self._cursor = here
        name, folder = self._watch.name, self._folder
        # Kept from the first moment on: what comes while the agent is down is found then.
        left = await self._reader.spool.run(lambda s: s.take_up(name, folder, here))
        self._cleaning.begin(state.uidvalidity, left)
        self._saved_uid = here.next_uid

    async def _begin(self, session: FolderSession) -> int:
        """The UID to begin at in a folder that was made anew, or is new here.

        That is UIDNEXT where no canary has flown yet: no mail that is there can be about one.
        """
        uidnext = session.state.uidnext
        if self._cursor is None and not self._reader.rebuilt:
            # Bounces are about the canaries of all mailboxes.
            mailbox = None if self._watch.takes_bounces else self._watch.name
            flown = await self._reader.spool.run(lambda store: store.has_flown(mailbox))
            if not flown:
                return uidnext
        return await self._search(session)

    async def _search(self, session: FolderSession) -> int:
        """The lowest UID at which a canary that is in the air may lie; one bounded search."""
        uidnext = session.state.uidnext
        oldest = (
            self._reader.air.oldest() if self._watch.takes_bounces else self._watch.air.oldest()
        )
        since_ns = self._reader.clock.now().wall_ns if oldest is None else oldest.sent.wall_ns
        # SINCE goes by the server's day, which may be tomorrow's or yesterday's here.
        since = datetime.fromtimestamp(since_ns / 1e9, tz=UTC).date() - timedelta(days=1)
        found = await session.search_header(HEADER, since)
        if self._watch.takes_bounces:
            # A bounce has the canary's header inside; on top it says that nobody wrote it.
            found += await session.search_header("Auto-Submitted", since)
        return min([*found, uidnext])

    # --- looking ----------------------------------------------------------------------------

    async def _check(self, session: FolderSession) -> None:
        """One complete check: fetch until nothing is left, write down what was found."""
        while True:
            await self._may_send()
            self._looked_ns = self._now_ns()
            batch = await session.fetch_from(self._at().next_uid)
            if batch.messages:
                # Finding some took a command more than looking.
                self._watch.budget.take(self._now_ns() / 1e9)
            await self._record(session, batch)
            self._status.backlog = max(0, session.state.uidnext - batch.next_uid)
            if batch.complete:
                return

    def _at(self) -> Cursor:
        if self._cursor is None:
            raise RuntimeError("a folder is looked into before it was opened")
        return self._cursor

    async def _may_send(self) -> None:
        """Wait until the mailbox's command budget allows another command."""
        wait_s = self._watch.budget.take(self._now_ns() / 1e9)
        if wait_s > 0:
            await asyncio.sleep(wait_s)

    async def _record(self, session: FolderSession, batch: Batch) -> None:
        """Write down what a batch holds, and only then move on."""
        now = self._reader.clock.now()
        before = self._status.checked
        checked = at_boot(now, batch.asked_ns) if batch.complete else before
        cursor = replace(self._at(), next_uid=batch.next_uid, checked=checked or NEVER)
        if batch.messages:
            self._cleaning.server.note(batch.messages)
            where = Where(
                self._folder,
                self._junk,
                cursor.uidvalidity,
                self._known_only_below,
                self._uncounted,
            )

            async def fetch(uid: int) -> bytes | None:
                return await session.fetch_whole(uid, MAX_BYTES)

            finds, counts = await take(
                self._watch, self._reader, where, batch.messages, _sure(before), fetch
            )
            if finds or cursor.next_uid - self._saved_uid >= _SAVE_EVERY:
                await self._write(session, cursor, finds)
            self._reader.counters.update(counts)
        self._cursor = cursor
        self._status.checked = checked

    async def _write(self, session: FolderSession, cursor: Cursor, finds: list[Find]) -> None:
        name, folder, hear = self._watch.name, self._folder, self._reader.hear
        events = [event for _, event in finds if event is not None]

        def write(store: Store) -> None:
            store.record_check(name, folder, cursor, finds)
            hear(events)

        await self._watchfully(session, write)
        self._saved_uid = cursor.next_uid
        for uid, event in finds:
            self._cleaning.found(uid)
            if event is not None and ends_flight(event):
                self._reader.air.mailbox(event.path.mailbox).forget(event.canary)

    async def _watchfully(self, session: FolderSession, operation: Operation[None]) -> None:
        """Have it done in the spool, and the server announce meanwhile what comes.

        A disk may take long, and what comes meanwhile is fetched and written down only afterwards;
        but its delay is measured to its announcement.

        Raises:
            SpoolError: nothing of it was written.
        """
        writing = asyncio.ensure_future(self._reader.spool.run(operation))
        try:
            # What ails the connection, the next check says; what is written counts all the same.
            with suppress(ImapFailure):
                await self._notice_until(session, writing)
            await writing
        except asyncio.CancelledError:
            writing.cancel()
            raise

    async def _notice_until(self, session: FolderSession, end: asyncio.Future[None]) -> None:
        while not await _done_within(end, self._left_s(session)):
            wait_s = self._watch.budget.take(self._now_ns() / 1e9)
            if not await _done_within(end, wait_s):
                self._looked_ns = self._now_ns()
                await session.notice()

    # --- between checks ---------------------------------------------------------------------

    async def _pause(self, session: FolderSession) -> None:
        """Wait until the next check is due: its time has come, or the server has news.

        The time counts from the beginning of the last look: neither what that took, nor canaries
        that start faster than the folder is checked, put the next one off.
        """
        rested = False
        while True:
            self._wake.clear()
            age = self._watch.air.youngest_age_s(self._reader.clock.now())
            left_s = self._left_s(session)
            if left_s <= 0:
                return
            if age is None and not rested:
                rested = not await self._woken(min(left_s, _REST_S))
                if rested:
                    await self._cleaning.clean(session)
            elif await self._wait(session, left_s):
                return

    def _left_s(self, session: FolderSession) -> float:
        """Seconds until it is time for another look; not above 0 when it is."""
        now = self._reader.clock.now()
        age = self._watch.air.youngest_age_s(now)
        due_s = self._cadence.wait_s(age, has_idle=self._may_idle(session))
        return due_s - (now.boot_ns - self._looked_ns) / 1e9

    def _now_ns(self) -> int:
        return self._reader.clock.now().boot_ns

    async def _wait(self, session: FolderSession, left_s: float) -> bool:
        """Wait for at most ``left_s``; whether it is time to look now."""
        if left_s <= self._cadence.floor_s:
            await asyncio.sleep(left_s)
            return True
        if left_s < _IDLE_WORTH_S or not self._may_idle(session):
            return not await self._woken(left_s)
        self._watch.budget.take(self._now_ns() / 1e9, 2)
        try:
            pushed = await session.idle(left_s, self._wake)
        except ImapFailure:
            if session.dead is not None:
                raise
            # A login for every refusal would be a storm of them; the session goes on without.
            self._reader.counters["idle_refused"] += 1
            self._idle_from_ns = self._now_ns() + round(_IDLE_AGAIN_S * 1e9)
            return True
        return pushed or not self._wake.is_set()

    def _may_idle(self, session: FolderSession) -> bool:
        """Whether the server pushes, as far as it has kept its word."""
        return session.has_idle and self._now_ns() >= self._idle_from_ns

    async def _woken(self, seconds: float) -> bool:
        """Wait for at most ``seconds``; whether a canary has begun to be awaited meanwhile."""
        try:
            async with asyncio.timeout(seconds):
                await self._wake.wait()
        except TimeoutError:
            return False
        return True


async def _done_within(task: asyncio.Future[None], seconds: float) -> bool:
    """Whether the task has ended, or does within the time."""
    return bool((await asyncio.wait({task}, timeout=seconds))[0])


def _sure(check: Moment | None) -> Moment | None:
    """Until when a mail that the check did not show had surely not come."""
    if check is None:
        return None
    before_ns = round(_SHOWN_AFTER_S * 1e9)
    return Moment(check.wall_ns - before_ns, check.boot_ns - before_ns, check.boot_id)
