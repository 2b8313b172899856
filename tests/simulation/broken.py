"""Agents that are broken on purpose: each must be caught, or the simulation proves nothing."""

import asyncio
from collections.abc import Callable, Sequence
from typing import Any

import pytest

from agent.assignment import Assignment
from agent.clock import Elapsed, Moment
from agent.events_file import EventsFile
from agent.mailbox import arrivals, take
from agent.mailbox.cleaning import Cleaning
from agent.mailbox.folder import FolderWatch
from agent.mailbox.take import Find
from agent.mailbox.watch import MailboxWatch
from agent.schedule import Schedule, Slot
from agent.sender import Sender
from agent.spool.flight import Flight
from agent.spool.store import Cursor, Record, Store
from probes.contract.token import Judgement
from tests.simulation.scenario import Scenario

Break = Callable[[pytest.MonkeyPatch], None]


def resends(patch: pytest.MonkeyPatch) -> None:
    """Tries a canary again."""
    attempt = Sender._attempt

    async def twice(self: Sender, flight: Flight, by: Assignment) -> None:
        await attempt(self, flight, by)
        await attempt(self, flight, by)

    patch.setattr(Sender, "_attempt", twice)


def reads_on_before_writing(patch: pytest.MonkeyPatch) -> None:
    """Moves the cursor on, then writes down what was found."""
    write = FolderWatch._write

    async def hasty(self: FolderWatch, session: Any, cursor: Cursor, finds: list[Find]) -> None:
        self._cursor = cursor
        await write(self, session, cursor, finds)

    patch.setattr(FolderWatch, "_write", hasty)


def ignores_watermarks(patch: pytest.MonkeyPatch) -> None:
    """Calls lost what is old, whether anybody looked or not."""

    def now(self: MailboxWatch, boot_id: str) -> Moment:  # noqa: ARG001 - the method's signature
        return Moment(1 << 62, 1 << 62, boot_id)

    patch.setattr(MailboxWatch, "watermark", now)


def forgets_its_flights(patch: pytest.MonkeyPatch) -> None:
    """Starts as if nothing had been in the air."""
    patch.setattr(Store, "flights", lambda _: [])


def hides_interruptions(patch: pytest.MonkeyPatch) -> None:
    """Does not say which attempts were cut off."""

    async def silent(self: Sender, flights: Sequence[Flight]) -> None:
        pass

    patch.setattr(Sender, "tell_interrupted", silent)


def exports_again(patch: pytest.MonkeyPatch) -> None:
    """Does not look where the events file ends."""
    patch.setattr(EventsFile, "resume", lambda _, __: 0)


def ships_before_it_is_safe(patch: pytest.MonkeyPatch) -> None:
    """Lets the spool forget what it has only just read."""
    read = Store.read_after

    def forgetful(self: Store, seq: int, limit: int) -> list[Record]:
        records = read(self, seq, limit)
        if records:
            self.mark_shipped(records[-1].seq)
        return records

    patch.setattr(Store, "read_after", forgetful)


def measures_by_the_wall_clock(patch: pytest.MonkeyPatch) -> None:
    """Takes delays off a clock that can be set."""

    def by_wall(start: Moment, end: Moment, *, wall_error_s: float) -> Elapsed:  # noqa: ARG001 - as above
        return Elapsed((end.wall_ns - start.wall_ns) / 1e9, "boottime", 0.0)

    patch.setattr(arrivals, "elapsed", by_wall)


def _taken_for_genuine(patch: pytest.MonkeyPatch, mistaken: Judgement) -> None:
    judge = arrivals.read_token

    def credulous(*args: Any, **kwargs: Any) -> Any:
        found = judge(*args, **kwargs)
        if found is not None and found[0] is mistaken:
            return Judgement.GENUINE, found[1]
        return found

    patch.setattr(take, "read_token", credulous)


def believes_forgeries(patch: pytest.MonkeyPatch) -> None:
    """Does not mind a wrong signature."""
    _taken_for_genuine(patch, Judgement.FORGED)


def takes_replays(patch: pytest.MonkeyPatch) -> None:
    """Does not mind which mailbox a canary was sent to."""
    _taken_for_genuine(patch, Judgement.REPLAYED)


def deletes_everything(patch: pytest.MonkeyPatch) -> None:
    """Tidies away other people's mail."""
    record = FolderWatch._record

    async def greedy(self: FolderWatch, session: Any, batch: Any) -> None:
        await record(self, session, batch)
        for message in batch.messages:
            self._cleaning.found(message.uid)

    patch.setattr(FolderWatch, "_record", greedy)


def never_deletes(patch: pytest.MonkeyPatch) -> None:
    """Leaves its canaries where they are."""

    async def idle(self: Cleaning, session: Any) -> None:
        pass

    patch.setattr(Cleaning, "clean", idle)


def ignores_second_copies(patch: pytest.MonkeyPatch) -> None:
    """Counts no duplicates."""
    find = take._arrivals

    def first_only(
        watch: Any, reader: Any, where: Any, candidates: Any, flights: Any, *when: Any
    ) -> Any:
        known = [item for item in candidates if item.token.canary in flights]
        return find(watch, reader, where, known, flights, *when)

    patch.setattr(take, "_arrivals", first_only)


def sends_one_after_the_other(patch: pytest.MonkeyPatch) -> None:
    """Lets a relay that hangs delay the others."""
    fly, locks = Sender.fly, dict[Sender, asyncio.Lock]()

    async def queued(self: Sender, slot: Slot) -> None:
        async with locks.setdefault(self, asyncio.Lock()):
            await fly(self, slot)

    patch.setattr(Sender, "fly", queued)


def waits_for_the_clock(patch: pytest.MonkeyPatch) -> None:
    """Is silent until a wall clock that was set back has caught up."""
    due = Schedule.due

    def patient(self: Schedule, now_ns: int) -> list[Slot]:
        self._now_ns = now_ns
        return due(self, now_ns)

    patch.setattr(Schedule, "due", patient)


def begins_at_the_end(patch: pytest.MonkeyPatch) -> None:
    """Never looks for what lay in a folder before it was opened."""

    async def end(self: FolderWatch, session: Any) -> int:  # noqa: ARG001 - the method's signature
        return int(session.state.uidnext)

    patch.setattr(FolderWatch, "_begin", end)


def throws_bounces_away(patch: pytest.MonkeyPatch) -> None:
    """Reads no delivery status notification."""
    patch.setattr(take, "may_be_bounce", lambda _: False)


def reuses_numbers(patch: pytest.MonkeyPatch) -> None:
    """Numbers a path's canaries by their number in the mailbox."""
    number = Store._next

    def one(self: Store, first: str, second: str) -> tuple[int, int]:
        _, in_mailbox = number(self, first, second)
        return in_mailbox, in_mailbox

    patch.setattr(Store, "_next", one)


BROKEN: dict[str, Break] = {
    each.__name__: each
    for each in (
        resends, reads_on_before_writing, ignores_watermarks, forgets_its_flights,
        hides_interruptions, exports_again, ships_before_it_is_safe, measures_by_the_wall_clock,
        believes_forgeries, takes_replays, deletes_everything, never_deletes,
        ignores_second_copies, sends_one_after_the_other, waits_for_the_clock, begins_at_the_end,
        throws_bounces_away, reuses_numbers,
    )
}  # fmt: skip

WHERE: dict[str, Callable[[Scenario], bool]] = {
    "reads_on_before_writing": lambda scenario: "disk-full" in scenario.whats,
    "exports_again": lambda scenario: scenario.exports,
    "ships_before_it_is_safe": lambda scenario: scenario.exports,
    "measures_by_the_wall_clock": lambda scenario: bool(scenario.steps),
    "waits_for_the_clock": lambda scenario: any(step < -5.0 for _, step in scenario.steps),
}
"""Which schedules can show a fault at all, for faults that show in few of them."""
