"""The agent's parts put together over ports: the same whole in production and in the simulation."""

import asyncio
import math
import random
from collections import Counter
from collections.abc import Callable, Coroutine, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import structlog

from agent.air import Air
from agent.assignment import Assignment
from agent.checking.checks import Checks
from agent.clock import Clock, WallGuard
from agent.events_file import EventsOut
from agent.expiry import Expirer
from agent.hand_over import flush, hand_over
from agent.health import Health
from agent.limits import Limits
from agent.mailbox.watch import MailboxWatch, Reader
from agent.outlet import Outlet
from agent.ports import Imap, Smtp
from agent.schedule import Schedule, Slots
from agent.sender import Sender
from agent.spool.flight import Flight
from agent.spool.store import Depth, Store
from agent.spool.writer import Spool
from agent.standing.ledger import Ledger, Standing
from agent.standing.telling import tell
from agent.supervision import Supervisor, every
from agent.wall import NotingClock, WallLog
from agent.watching import Cadences, Cursors, Watching, moved
from probes.contract.config.models import Mailbox, ProbeKind
from probes.contract.errors import SpoolError
from probes.contract.events import Heartbeat
from probes.contract.token import KeyRing
from probes.probing import Probe

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Ports:
    """Everything that the agent takes from outside.

    ``assign`` tells what is behind ``smtp`` and ``imap`` which assignment holds from now on. It has
    the mailboxes that are still watched besides. ``probes`` look outward from the relay.
    """

    clock: Clock
    spool: Spool
    smtp: Smtp
    imap: Imap
    rng: random.Random
    new_id: Callable[[], str]
    out: EventsOut | None = None
    rebuilt: bool = False
    assign: Callable[[Assignment], None] = field(default=lambda _: None)
    probes: Mapping[ProbeKind, Probe[Any]] = field(default_factory=dict)


def _load(
    mailboxes: Mapping[str, Mailbox], store: Store
) -> tuple[list[Flight], set[str], Cursors, bytes | None]:
    flights, cursors = store.flights(), store.cursors()
    elsewhere = store.sent_elsewhere(flights, moved(mailboxes, cursors))
    return flights, elsewhere, cursors, store.walls()


def _write_beat(beat: Heartbeat, walls: bytes, store: Store) -> None:
    store.append(beat, beat.at_ns)
    store.save_walls(walls)


def _end(waiting: asyncio.Future[None] | None) -> None:
    if waiting is not None and not waiting.done():
        waiting.set_result(None)


class Agent:
    """One running agent."""

    def __init__(
        self,
        assignment: Assignment,
        ring: KeyRing,
        ports: Ports,
        version: str,
        limits: Limits | None = None,
        slots: Slots | None = None,
    ) -> None:
        self._assignment = self._told = assignment
        self._ports = ports
        self._limits = limits or Limits()
        self._schedule = slots
        self._counters: Counter[str] = Counter()
        self._watches: dict[str, MailboxWatch] = {}
        self._wall = WallGuard()
        self._sending: asyncio.Task[None] | None = None
        self._flying: set[asyncio.Task[None]] = set()
        self._resting: asyncio.Future[None] | None = None
        self._wall_log = WallLog()
        self._air = Air(self._wall_log)
        self._clock = NotingClock(ports.clock, self._wall_log)
        self._ledger = Ledger(self._wall_log)
        self._ledger.follow([plan.path for plan in assignment.paths])
        self._reader = self._make_reader(ring)
        self._sender = self._make_sender(ring)
        self._expirer = Expirer(
            self._air,
            self._watches,
            clock=self._clock,
            spool=ports.spool,
            counters=self._counters,
            remember_s=assignment.remember_s,
            guard=self._wall,
            hear=self._ledger.written,
        )
        self.health = Health(
            agent=assignment.agent,
            version=version,
            labels=assignment.labels,
            epoch=ports.spool.epoch,
            clock=self._clock,
            air=self._air,
            watches=self._watches,
            counters=self._counters,
            started=self._clock.now(),
        )
        self._supervisor = Supervisor(self.health)
        cadences = Cadences(self._limits.inbox, self._limits.junk)
        self._watching = Watching(self._watches, self._reader, self._supervisor, cadences)
        self._checks = self._make_checks()
        self._outlet = None if ports.out is None else Outlet(ports.spool, ports.out)

    def _make_reader(self, ring: KeyRing) -> Reader:
        return Reader(
            agent=self._assignment.agent,
            helo=self._assignment.helo,
            ring=ring,
            clock=self._clock,
            spool=self._ports.spool,
            imap=self._ports.imap,
            air=self._air,
            relays=self._assignment.relays,
            counters=self._counters,
            rng=self._ports.rng,
            remember_s=self._assignment.remember_s,
            wall_error_s=self._limits.wall_error_s,
            rebuilt=self._ports.rebuilt,
            wall=self._wall_log,
            hear=self._ledger.written,
        )

    def _make_sender(self, ring: KeyRing) -> Sender:
        return Sender(
            self._assignment,
            ring.current,
            clock=self._clock,
            spool=self._ports.spool,
            smtp=self._ports.smtp,
            air=self._air,
            ledger=self._ledger,
            watches=self._watches,
            counters=self._counters,
            rng=self._ports.rng,
            new_id=self._ports.new_id,
            caps=self._limits.caps_for(self._assignment.routes),
        )

    def _make_checks(self) -> Checks:
        return Checks(
            self._assignment.checks,
            self._ports.probes,
            clock=self._clock,
            spool=self._ports.spool,
            supervisor=self._supervisor,
            counters=self._counters,
            rng=self._ports.rng,
        )

    @property
    def garbage(self) -> int:
        """How many mails are accounted for and still have to be deleted from their mailboxes."""
        return self._watching.garbage

    def standing(self) -> Standing:
        """How relays and mailboxes do."""
        return self._ledger.standing()

    def stop_sending(self) -> None:
        """Send no more canaries; those in the air are still awaited."""
        if self._sending is not None:
            self._sending.cancel()

    def reassign(self, assignment: Assignment) -> None:
        """Work by another assignment from now on; to be called in the agent's loop.

        What the two have in common goes on undisturbed: a path keeps the slot that it waits for, a
        mailbox its connections. Canaries under way end as they began; a mailbox that is left is
        watched until nothing is awaited in it. An agent with slots of its own keeps those.

        Raises:
            AssignmentError: it is another agent's, or has paths without their relay or mailbox.

        Whatever is raised, the assignment before stays wholly in force.
        """
        assignment.check_for(self._assignment.agent)
        caps = self._limits.caps_for(assignment.routes)
        schedule = self._schedule
        if schedule is not None:
            schedule = schedule.replaced(assignment.paths, self._clock.now().wall_ns)
        watched = {name: watch.config for name, watch in self._watches.items()}
        told = replace(assignment, mailboxes={**watched, **assignment.mailboxes})
        try:
            self._ports.assign(told)
        except BaseException:
            self._ports.assign(self._told)
            raise
        self._told, self._assignment, self._schedule = told, assignment, schedule
        self._sender.assign(assignment, caps)
        self._expirer.assign(assignment.remember_s)
        self._ledger.follow([plan.path for plan in assignment.paths])
        self.health.labels = assignment.labels
        reader = self._reader
        reader.helo, reader.relays = assignment.helo, assignment.relays
        reader.remember_s = assignment.remember_s
        self._watching.follow(assignment.mailboxes, assignment.bounces)
        self._checks.follow(assignment.checks)
        _end(self._resting)

    # --- life -------------------------------------------------------------------------------

    async def run(self, stop: asyncio.Event) -> None:
        """Work until ``stop`` is set, then end what is on its way out, for ``grace_s`` at most.

        Raises:
            SpoolError: the spool could not be read at the start, or was damaged while open; or
                nobody takes the events any more.
        """
        load = partial(_load, self._assignment.mailboxes)
        flights, elsewhere, cursors, walls = await self._ports.spool.run(load)
        if walls is not None:
            self._wall_log.resume(walls, self._clock.now())
        interrupted = self._sender.take_up(flights, elsewhere)
        self._watching.begin(self._assignment.mailboxes, self._assignment.bounces, cursors)
        works = [asyncio.create_task(work) for work in self._works()]
        works.append(asyncio.create_task(self._sender.tell_interrupted(interrupted)))
        sending = self._sending = asyncio.create_task(self._supervisor.keep(self._send, "schedule"))
        log.info(
            "agent started",
            agent=self._assignment.agent,
            paths=len(self._assignment.paths),
            in_the_air=len(self._air),
        )
        try:
            await self._until(stop)
        finally:
            sending.cancel()
            await self._land()
            await self._watching.stop()
            for task in (*works, sending):
                task.cancel()
            await asyncio.gather(*works, sending, return_exceptions=True)
            if self._outlet is not None:
                await flush(self._outlet)

    async def _until(self, stop: asyncio.Event) -> None:
        """Wait until the agent is told to stop, or must.

        Raises:
            SpoolError: the spool is damaged, or nobody takes its events: only a restart may help.
        """
        stopping = asyncio.create_task(stop.wait())
        over = asyncio.create_task(self._supervisor.over.wait())
        try:
            await asyncio.wait((stopping, over), return_when=asyncio.FIRST_COMPLETED)
        finally:
            stopping.cancel()
            over.cancel()
        if self._supervisor.why is not None and not stop.is_set():
            raise self._supervisor.why

    def _works(self) -> list[Coroutine[Any, Any, None]]:
        keep, beat_s = self._supervisor.keep, self._limits.heartbeat_s
        works = [
            keep(every(1.0, self._expirer.lost), "expiry"),
            keep(every(60.0, self._expirer.given_up), "giving up"),
            keep(every(1.0, self._sweep), "mailboxes"),
            keep(every(1.0, self._look), "relays"),
            keep(every(beat_s, self._beat), "heartbeat"),
            keep(self._keep_walls, "wall clock"),
            keep(self._checks.run, "checks"),
        ]
        if self._outlet is not None:
            works.append(keep(partial(hand_over, self._outlet), "events"))
        return works

    # --- works ------------------------------------------------------------------------------

    async def _send(self) -> None:
        if self._schedule is None:
            self._schedule = Schedule(self._assignment.paths, self._clock.now().wall_ns)
        while True:
            now_ns, schedule = self._clock.now().wall_ns, self._schedule
            for slot in schedule.due(now_ns):
                self.health.lag.note((now_ns - slot.due_ns) / 1e9)
                task = asyncio.create_task(self._sender.fly(slot))
                self._flying.add(task)
                task.add_done_callback(self._landed)
            next_ns = schedule.next_ns()
            # At most a second, so that a wall clock that was set is followed at once.
            wait_s = 1.0 if next_ns is None else (next_ns - now_ns) / 1e9
            # Whole milliseconds, rounded up: event loops round timers, and one that wakes too early
            # comes round again and again until the time has come.
            await self._rest(min(1.0, max(0.0, math.ceil(wait_s * 1e3) / 1e3)))

    async def _rest(self, seconds: float) -> None:
        """Wait for that long, or until there is a new assignment."""
        loop = asyncio.get_running_loop()
        resting = self._resting = loop.create_future()
        timer = loop.call_later(seconds, _end, resting)
        try:
            await resting
        finally:
            timer.cancel()

    def _landed(self, task: asyncio.Task[None]) -> None:
        self._flying.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            log.error("a canary's task failed inside the agent", exc_info=error)

    async def _land(self) -> None:
        """Wait for the canaries on their way out; the next start tells of those cut off here."""
        if self._flying:
            await asyncio.wait(self._flying, timeout=self._limits.grace_s)
        for task in self._flying:
            task.cancel()
        await asyncio.gather(*self._flying, return_exceptions=True)

    async def _sweep(self) -> None:
        self._watching.sweep(self._sender.bound)

    async def _look(self) -> None:
        now = self._clock.now()

        def mark_ns(mailbox: str) -> int | None:
            watch = self._watches.get(mailbox)
            mark = None if watch is None else watch.watermark(now.boot_id)
            return None if mark is None else mark.boot_ns

        tell(self._ledger.look(now, mark_ns), self._ledger)

    async def _beat(self) -> None:
        problem, self.health.spool_problem = self.health.spool_problem, None
        beat = self.health.brief(self.health.beat())
        try:
            await self._trim()
            # A full disk lets everything pass but a write, so only a write shows that it is over.
            await self._ports.spool.run(partial(_write_beat, beat, self._wall_log.dump()))
        except SpoolError as error:
            self.health.spool_problem = problem
            self._supervisor.spool_failed(error)
            # Prometheus is told all the same: it needs no spool.
            self.health.beat()
            return
        self.health.written(beat)

    async def _keep_walls(self) -> None:
        """Write a step of the wall clock down at once: a kill must not make delays wrong."""
        while True:
            await self._wall_log.stepped()
            walls = self._wall_log.dump()
            await self._ports.spool.run(partial(Store.save_walls, dumped=walls))

    async def _trim(self) -> None:
        """Keep the spool within its bounds, and see how deep it is."""
        limits = self._limits
        believed_ns = self._wall.believed_ns(self._clock.now())
        oldest_ns = 0 if believed_ns is None else believed_ns - round(limits.spool_age_s * 1e9)

        def trim(store: Store) -> tuple[int, Depth]:
            dropped = store.trim(max_bytes=limits.spool_bytes, min_at_ns=oldest_ns)
            return dropped, store.depth()

        dropped, self.health.depth = await self._ports.spool.run(trim)
        if dropped:
            log.error(
                "EVENTS DROPPED: the spool is past its bounds and nothing takes its events away",
                dropped=dropped,
                spool_bytes=limits.spool_bytes,
                spool_age_s=limits.spool_age_s,
            )
