"""The fleet as it reports itself: which agents there are, which live, how far each is behind."""

import sqlite3
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass

import msgspec
import structlog

from collector.control.schema import ControlError
from collector.control.standing import Standing, standing
from collector.control.store import ControlStore
from probes.contract.events import Heartbeat, MailboxHealth, SpoolHealth
from probes.contract.wire import Beat

log = structlog.get_logger(__name__)

_ALIVE = "collector-alive-ns"


class AgentReport(msgspec.Struct, frozen=True, kw_only=True):
    """What an agent last told of itself, by beats and, once they have come in, by heartbeats.

    ``lag_events`` are in its spool and not yet here, the oldest since ``oldest_at_ns``.
    ``clock_offset_s`` is by how much its clock is ahead of the collector's, true within half of
    ``round_trip_s``. ``schedule_lag_s`` is by how much canaries started late, at worst.
    """

    version: str
    boot_id: str
    started_ns: int
    labels: dict[str, str] = msgspec.field(default_factory=dict)
    revision: str | None = None
    in_flight: int = 0
    lag_events: int | None = None
    oldest_at_ns: int | None = None
    spool: SpoolHealth | None = None
    mailboxes: dict[str, MailboxHealth] = msgspec.field(default_factory=dict)
    clock_offset_s: float | None = None
    round_trip_s: float | None = None
    schedule_lag_s: float | None = None
    heartbeat_at_ns: int | None = None


class AgentView(msgspec.Struct, frozen=True, kw_only=True):
    """One agent as operators see it. ``seen_ns`` is when it was last heard of, by our clock;
    ``assigned`` is whether the configuration in force has it."""

    name: str
    standing: Standing
    assigned: bool
    seen_ns: int | None = None
    report: AgentReport | None = None


class AgentList(msgspec.Struct, frozen=True, kw_only=True):
    """All agents, by name."""

    agents: list[AgentView]


def with_beat(before: AgentReport | None, beat: Beat) -> AgentReport:
    """What is known of an agent after ``beat``; of the rest, what was known stays."""
    known = before or AgentReport(
        version=beat.version, boot_id=beat.boot_id, started_ns=beat.started_ns
    )
    new_clock = beat.clock_offset_s is not None
    return msgspec.structs.replace(
        known,
        version=beat.version,
        boot_id=beat.boot_id,
        started_ns=beat.started_ns,
        labels=beat.labels or known.labels,
        revision=beat.revision,
        in_flight=beat.in_flight,
        lag_events=max(0, beat.last_seq - beat.shipped_seq),
        oldest_at_ns=beat.oldest_at_ns,
        spool=beat.spool or known.spool,
        mailboxes=_newer(known.mailboxes, beat.mailboxes),
        clock_offset_s=beat.clock_offset_s if new_clock else known.clock_offset_s,
        round_trip_s=beat.round_trip_s if new_clock else known.round_trip_s,
    )


def _newer(
    known: Mapping[str, MailboxHealth], told: Mapping[str, MailboxHealth]
) -> dict[str, MailboxHealth]:
    """The mailboxes as a beat has them, with the watermarks that only events bring.

    A beat names all that the agent watches: one that it does not name, it has left.
    """
    if not told:
        return dict(known)
    newer = {}
    for name, health in told.items():
        before = known.get(name)
        newer[name] = (
            health
            if before is None
            else msgspec.structs.replace(
                health,
                watermark_ns=before.watermark_ns,
                watermark_boot_ns=before.watermark_boot_ns,
            )
        )
    return newer


def with_heartbeat(before: AgentReport | None, beat: Heartbeat) -> AgentReport:
    """What is known of an agent after a heartbeat from the log, which may be an old one.

    It tells of the past: what beats have told since is not undone by it.
    """
    last_ns = None if before is None else before.heartbeat_at_ns
    if before is not None and last_ns is not None and beat.at_ns < last_ns:
        return before
    known = before or AgentReport(
        version=beat.version,
        boot_id=beat.boot_id,
        started_ns=beat.started_ns,
        labels=beat.labels,
        in_flight=beat.in_flight,
        spool=beat.spool,
    )
    # A mailbox's watermark comes with the events alone; its state, where a beat told it, is newer.
    mailboxes = dict(known.mailboxes)
    for name, health in beat.mailboxes.items():
        state = mailboxes.get(name, health)
        mailboxes[name] = msgspec.structs.replace(
            state, watermark_ns=health.watermark_ns, watermark_boot_ns=health.watermark_boot_ns
        )
    return msgspec.structs.replace(
        known, mailboxes=mailboxes, schedule_lag_s=beat.lag_s, heartbeat_at_ns=beat.at_ns
    )


@dataclass(slots=True)
class _Agent:
    report: AgentReport
    seen_ns: int | None
    dirty: bool = True


class AgentRegistry:
    """All agents that were ever heard of or are assigned anything. For one event loop.

    ``beat_s`` is how often agents are told to beat. Nothing is written when one does: what is known
    goes to the control file with :meth:`flush`, every half minute or so.
    """

    def __init__(
        self,
        store: ControlStore,
        beat_s: float,
        clock_ns: Callable[[], int] = time.time_ns,
    ) -> None:
        self.beat_s = beat_s
        self._store = store
        self._clock_ns = clock_ns
        self._started_ns = clock_ns()
        self._stopped_ns: int | None = None
        self._agents: dict[str, _Agent] = {}
        self._assigned: set[str] = set()
        self._told: dict[str, Standing] = {}

    async def load(self) -> None:
        """Read what was known when the collector last ran; to be called once, first.

        Raises:
            ControlError: it cannot be read.
        """

        def read(connection: sqlite3.Connection) -> tuple[list[tuple[str, int, bytes]], int | None]:
            rows = connection.execute("SELECT name, seen_ns, body FROM agents").fetchall()
            mark = connection.execute("SELECT value FROM marks WHERE key = ?", (_ALIVE,)).fetchone()
            return rows, None if mark is None else int(mark[0])

        rows, self._stopped_ns = await self._store.read(read)
        for name, seen_ns, body in rows:
            try:
                report = msgspec.json.decode(body, type=AgentReport)
            except msgspec.MsgspecError:
                log.warning("what was kept of an agent cannot be read", agent=name)
                continue
            self._agents[name] = _Agent(report, seen_ns, dirty=False)

    def assign(self, names: Iterable[str]) -> None:
        """The agents of the configuration in force; those that never came are shown as such."""
        self._assigned = set(names)

    def beat(self, name: str, beat: Beat) -> None:
        """An agent beats, now."""
        agent = self._agents.get(name)
        report = with_beat(None if agent is None else agent.report, beat)
        self._agents[name] = _Agent(report, self._clock_ns())

    def heartbeat(self, beat: Heartbeat) -> None:
        """A heartbeat came in with an agent's events. It is no sign of life: it may be old."""
        agent = self._agents.get(beat.agent)
        report = with_heartbeat(None if agent is None else agent.report, beat)
        self._agents[beat.agent] = _Agent(report, None if agent is None else agent.seen_ns)

    def heard(self, name: str) -> None:
        """An agent sent something, now: a batch of events, say."""
        agent = self._agents.get(name)
        if agent is not None:
            agent.seen_ns, agent.dirty = self._clock_ns(), True

    def one(self, name: str) -> AgentView | None:
        """An agent; ``None`` when it was never heard of and is assigned nothing."""
        agent = self._agents.get(name)
        if agent is None and name not in self._assigned:
            return None
        seen_ns = None if agent is None else agent.seen_ns
        return AgentView(
            name=name,
            standing=self._standing(seen_ns),
            assigned=name in self._assigned,
            seen_ns=seen_ns,
            report=None if agent is None else agent.report,
        )

    def all(self) -> list[AgentView]:
        """All agents, by name."""
        return list(self._views())

    def changes(self) -> list[tuple[str, Standing, Standing]]:
        """Which agents stand otherwise than when this was last asked: name, before, now.

        Each is logged, too. The first time that an agent is asked about is no change.
        """
        changed = []
        for view in self._views():
            before = self._told.get(view.name)
            self._told[view.name] = view.standing
            if before is not None and before is not view.standing:
                changed.append((view.name, before, view.standing))
                level = log.warning if view.standing is Standing.DOWN else log.info
                level("an agent stands otherwise", agent=view.name, was=before, now=view.standing)
        return changed

    async def flush(self) -> None:
        """Write down what has changed since, and that the collector runs.

        Raises:
            ControlError: it could not be written; it will be with the next one.
        """
        now_ns = self._clock_ns()
        dirty = [(name, agent) for name, agent in self._agents.items() if agent.dirty]
        rows = [(name, agent.seen_ns, msgspec.json.encode(agent.report)) for name, agent in dirty]

        def write(connection: sqlite3.Connection) -> None:
            connection.executemany("INSERT OR REPLACE INTO agents VALUES (?, ?, ?)", rows)
            connection.execute("INSERT OR REPLACE INTO marks VALUES (?, ?)", (_ALIVE, now_ns))

        for _, agent in dirty:
            agent.dirty = False
        try:
            await self._store.run(write)
        except ControlError:
            for _, agent in dirty:
                agent.dirty = True
            raise

    def _standing(self, seen_ns: int | None) -> Standing:
        return standing(seen_ns, self._clock_ns(), self.beat_s, self._started_ns, self._stopped_ns)

    def _views(self) -> Iterator[AgentView]:
        for name in sorted(self._agents.keys() | self._assigned):
            view = self.one(name)
            if view is not None:
                yield view
