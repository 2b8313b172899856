"""One canary's way out: its intent made durable, one attempt, and the attempt's end recorded."""

import asyncio
import random
from collections import Counter
from collections.abc import Callable, Collection, Coroutine, Iterable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any, TypeVar

import structlog

from agent.air import Air
from agent.assignment import Assignment
from agent.backoff import Backoff
from agent.caps import Caps, Home, Load, held_back
from agent.clock import Clock, Moment
from agent.departure import Departure
from agent.mailbox.watch import MailboxWatch
from agent.ports import Smtp
from agent.schedule import STALE_AFTER_S, Slot
from agent.spool.flight import Flight, FlightState
from agent.spool.store import Store
from agent.spool.writer import CanWait, Operation, Spool
from agent.standing.ledger import Ledger
from probes.contract.errors import SpoolError
from probes.contract.events import Submission
from probes.contract.message import Addresses, build_message, envid
from probes.contract.stages import Reason, Result, Stage
from probes.contract.token import Key
from probes.smtp import Mail, SendReport

T = TypeVar("T")
log = structlog.get_logger(__name__)

_STILL_AWAITED = (Result.ACCEPTED, Result.UNKNOWN)


def _stale(late_s: float) -> SendReport:
    """What to report of a canary whose time had passed when its intent was on the disk."""
    return SendReport(
        result=Result.UNSENT,
        reason=Reason.STALE,
        detail=f"its intent was on the disk only {late_s:.1f} s after it was due",
    )


def _own_fault(error: Exception, *, dotted: bool) -> SendReport:
    """What to report of an attempt that ended in a fault of our own: no relay is blamed for it."""
    return SendReport(
        result=Result.UNKNOWN if dotted else Result.UNSENT,
        stage=Stage.ACCEPT if dotted else None,
        reason=Reason.LOCAL,
        detail=f"{type(error).__name__} inside the agent",
    )


def _interrupted(flight: Flight, now_ns: int) -> Submission:
    """What to tell of an attempt that the end of a former run cut off."""
    return Submission(
        canary=flight.canary,
        path=flight.path,
        sent_ns=flight.sent.wall_ns,
        at_ns=now_ns,
        result=Result.UNKNOWN,
        reason=Reason.INTERRUPTED,
        detail="the agent stopped while this canary was on its way out",
        boot_id=flight.sent.boot_id,
        sent_boot_ns=flight.sent.boot_ns,
    )


def _held(flight: Flight, reason: Reason, detail: str) -> Submission:
    """What to tell of a canary that was held back."""
    return Submission(
        canary=flight.canary,
        path=flight.path,
        sent_ns=flight.sent.wall_ns,
        at_ns=flight.sent.wall_ns,
        result=Result.UNSENT,
        reason=reason,
        detail=detail,
        boot_id=flight.sent.boot_id,
        sent_boot_ns=flight.sent.boot_ns,
    )


class Sender:
    """Sends the canaries of an assignment."""

    def __init__(
        self,
        assignment: Assignment,
        key: Key,
        *,
        clock: Clock,
        spool: Spool,
        smtp: Smtp,
        air: Air,
        ledger: Ledger,
        watches: Mapping[str, MailboxWatch],
        counters: Counter[str],
        rng: random.Random,
        new_id: Callable[[], str],
        caps: Caps,
    ) -> None:
        self._assignment = assignment
        self._key = key
        self._clock = clock
        self._spool = spool
        self._smtp = smtp
        self._air = air
        self._ledger = ledger
        self._watches = watches
        self._counters = counters
        self._rng = rng
        self._new_id = new_id
        self._caps = caps
        self._load = Load()
        self._spool_failing = False
        self.bound: Counter[str] = Counter()
        """How many canaries on their way out may come home to, or be returned to, a mailbox."""

    def assign(self, assignment: Assignment, caps: Caps) -> None:
        """Send by that from the next canary on; one that is under way goes on as it began."""
        self._assignment, self._caps = assignment, caps

    @property
    def sending(self) -> int:
        """How many canaries are on their way out."""
        return self._load.sending

    # --- after a restart --------------------------------------------------------------------

    def take_up(self, flights: Iterable[Flight], elsewhere: Collection[str] = ()) -> list[Flight]:
        """Await the flights of before, and send none of them again.

        Those in ``elsewhere`` were sent to where their mailbox was before. Gives those whose
        attempt was interrupted: they may or may not have reached their relay, and some have arrived
        since.
        """
        now = self._clock.now()
        interrupted = []
        for flight in flights:
            if flight.awaited:
                terms = self._assignment.terms(flight.path)
                terms = replace(terms, moved=flight.canary in elsewhere)
                self._air.expect(flight, now, dot=None, terms=terms)
                self._ledger.resumed(flight, now)
            if flight.untold:
                interrupted.append(flight)
        return interrupted

    async def tell_interrupted(self, flights: Sequence[Flight]) -> None:
        """Write down that those attempts were interrupted; returns when that is on the disk."""
        if not flights:
            return
        now_ns = self._clock.now().wall_ns
        told = [(flight, _interrupted(flight, now_ns)) for flight in flights]

        def end(store: Store) -> None:
            for flight, event in told:
                store.end_submission(event, flight.sent, FlightState.AWAITED)

        self._counters[f"submissions_{Result.UNKNOWN}"] += len(flights)
        for _, event in told:
            self._ledger.ended(event)
        await self._persist(end)

    # --- one canary -------------------------------------------------------------------------

    def fly(self, slot: Slot) -> Coroutine[Any, Any, None]:
        """Send one canary, or say why not; ends when its attempt's end is on the disk.

        The assignment is that of the call.
        """
        return self._fly(slot, self._assignment)

    async def _fly(self, slot: Slot, work: Assignment) -> None:
        relay, began = slot.plan.path.relay, self._clock.now()
        if slot.stale:
            detail = "its time had passed when the agent came to it"
            await self._hold(slot, work, Reason.STALE, detail)
            return
        home = self._home(slot.plan.path.mailbox, began)
        held = held_back(self._caps, self._load, home, relay)
        if held is not None:
            await self._hold(slot, work, *held)
            return
        homes = [name for name in (slot.plan.path.mailbox, work.bounces) if name is not None]
        self._load.sending += 1
        self._load.per_relay[relay] += 1
        for name in homes:
            self.bound[name] += 1
        try:
            flight = await self._intent(slot, work)
            if flight is None:
                return
            late_s = (began.wall_ns - slot.due_ns) / 1e9 + self._since(began)
            if late_s > STALE_AFTER_S:
                await self._end(flight, self._clock.now(), _stale(late_s))
            else:
                await self._attempt(flight, work)
        finally:
            self._load.sending -= 1
            self._load.per_relay[relay] -= 1
            for name in homes:
                self.bound[name] -= 1

    def _home(self, mailbox: str, now: Moment) -> Home:
        watch = self._watches.get(mailbox)
        unread_s = 0.0 if watch is None else watch.unread_s(now)
        return Home(len(self._air), len(self._air.mailbox(mailbox)), unread_s)

    def _since(self, began: Moment) -> float:
        # By the boot clock: the wall clock may be set meanwhile.
        return (self._clock.now().boot_ns - began.boot_ns) / 1e9

    def _draft(self, slot: Slot) -> Flight:
        return Flight(
            canary=self._new_id(),
            path=slot.plan.path,
            due_ns=slot.due_ns,
            sent=self._clock.now(),
            deadline_s=slot.plan.deadline_s,
            loss_after_s=slot.plan.loss_after_s,
        )

    async def _intent(self, slot: Slot, work: Assignment) -> Flight | None:
        """The flight, its intent durable; ``None``, with a count, when the spool takes none."""
        draft, revision = self._draft(slot), work.revision
        flight = await self._try(lambda store: store.begin_flight(draft, revision))
        if flight is not None:
            self._ledger.begun(flight)
        return flight

    async def _hold(self, slot: Slot, work: Assignment, reason: Reason, detail: str) -> None:
        draft, revision = self._draft(slot), work.revision

        def write(store: Store) -> tuple[Flight, Submission]:
            flight = store.begin_flight(draft, revision)
            event = _held(flight, reason, detail)
            store.end_submission(event, flight.sent, FlightState.CLOSED)
            return flight, event

        if (held := await self._try(write)) is not None:
            flight, event = held
            self._counters[f"submissions_{Result.UNSENT}"] += 1
            self._ledger.begun(flight)
            self._ledger.ended(event)

    async def _try(self, operation: Operation[T]) -> T | None:
        try:
            result = await self._spool.run(operation)
        except SpoolError as error:
            # Without a durable intent there is no canary: the schedule's gap is what remains of it.
            self._counters["intents_refused"] += 1
            if not self._spool_failing:
                log.error(  # noqa: TRY400 - a full disk is no bug of ours: no traceback
                    "no canary is sent while the spool cannot be written", error=str(error)
                )
            self._spool_failing = True
            return None
        if self._spool_failing:
            log.info("the spool can be written again")
            self._spool_failing = False
        return result

    async def _attempt(self, flight: Flight, work: Assignment) -> None:
        relay = work.relays[flight.path.relay]
        # How the agent calls itself is a matter of the attempt, not of the canary.
        terms, helo = work.terms(flight.path), self._assignment.helo or work.helo
        if terms.helo != helo:
            terms = replace(terms, helo=helo)
        compose = partial(self._mail, work)
        departure = Departure(flight, self._clock, self._air, compose, terms)
        try:
            report = await self._smtp.send(relay, departure.mail, departure.dot_sent)
        except Exception as error:
            log.exception("a submission failed inside the agent", canary=flight.canary)
            report = _own_fault(error, dotted=departure.dotted)
        await self._end(flight, departure.sent, report)

    def _mail(self, work: Assignment, flight: Flight) -> Mail:
        mailbox = work.mailboxes[flight.path.mailbox]
        addresses = Addresses(work.address, mailbox.address)
        return Mail(
            sender=addresses.sender,
            recipient=addresses.recipient,
            content=build_message(flight.token, self._key, addresses),
            envid=envid(flight.canary),
        )

    async def _end(self, flight: Flight, sent: Moment, report: SendReport) -> None:
        event = Submission(
            canary=flight.canary,
            path=flight.path,
            sent_ns=sent.wall_ns,
            at_ns=self._clock.now().wall_ns,
            result=report.result,
            **report.seen(),
            queue_id=report.queue_id,
            dsn=report.dsn,
            boot_id=sent.boot_id,
            sent_boot_ns=sent.boot_ns,
        )
        awaited = report.result in _STILL_AWAITED
        state = FlightState.AWAITED if awaited else FlightState.CLOSED
        if not awaited:
            self._air.forget(flight)
        self._counters[f"submissions_{report.result}"] += 1
        self._ledger.ended(event)
        await self._persist(CanWait(lambda store: store.end_submission(event, sent, state)))

    async def _persist(self, operation: Operation[None]) -> None:
        """Write a fact that has happened: until the spool takes it, it is tried again."""
        backoff = Backoff(self._rng)
        while True:
            try:
                await self._spool.run(operation)
            except SpoolError:
                await asyncio.sleep(backoff.next_s())
            else:
                return
