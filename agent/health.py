"""How well the agent does its work: one snapshot, for the heartbeat and for Prometheus alike."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field

import msgspec

from agent.air import Air
from agent.clock import Clock, Moment
from agent.mailbox.watch import MailboxWatch
from agent.spool.store import Depth
from probes.contract.events import Heartbeat, MailboxHealth, SpoolHealth


@dataclass(slots=True)
class Lag:
    """How far the agent is behind its schedule: the worst since the last beat, in seconds."""

    worst_s: float = 0.0

    def note(self, seconds: float) -> None:
        """A canary started that much after it was due."""
        self.worst_s = max(self.worst_s, seconds)

    def take(self) -> float:
        """The worst so far; begins anew."""
        worst, self.worst_s = self.worst_s, 0.0
        return worst


_ALL_UP_TO = 50
_ALL_EVERY_NS = 300 * 1_000_000_000


class Table:
    """Which mailboxes a heartbeat names; thousands of them every ten seconds would fill the spool.

    All of them at the start, every five minutes, and always where there are 50 at most; else those
    that canaries are awaited in, and those whose state, detail or having canaries has changed.
    """

    def __init__(self) -> None:
        self._told: dict[str, tuple[str, str | None, bool]] = {}
        self._all_ns: int | None = None

    def pick(self, whole: Mapping[str, MailboxHealth], now_ns: int) -> dict[str, MailboxHealth]:
        """What to write of ``whole`` at ``now_ns`` of the boot clock."""
        for name in self._told.keys() - whole.keys():
            # Should it be watched again, that will be news.
            del self._told[name]
        due = self._all_ns is None or now_ns - self._all_ns >= _ALL_EVERY_NS
        if due or len(whole) <= _ALL_UP_TO:
            return dict(whole)
        return {
            name: health
            for name, health in whole.items()
            if health.in_flight or self._told.get(name) != _gist(health)
        }

    def written(self, picked: Mapping[str, MailboxHealth], whole: int, now_ns: int) -> None:
        """Those, of a ``whole`` of so many, were written down."""
        self._told.update((name, _gist(health)) for name, health in picked.items())
        if len(picked) == whole:
            self._all_ns = now_ns


def _gist(health: MailboxHealth) -> tuple[str, str | None, bool]:
    return health.state, health.detail, health.in_flight > 0


@dataclass(slots=True)
class Health:
    """Everything that a heartbeat tells, gathered from where it is known."""

    agent: str
    version: str
    labels: Mapping[str, str]
    epoch: str
    clock: Clock
    air: Air
    watches: Mapping[str, MailboxWatch]
    counters: Counter[str]
    started: Moment
    lag: Lag = field(default_factory=Lag)
    depth: Depth = field(default_factory=lambda: Depth(0, 0, 0, 0, 0))
    spool_problem: str | None = None
    last: Heartbeat | None = None
    table: Table = field(default_factory=Table)

    def brief(self, beat: Heartbeat) -> Heartbeat:
        """The heartbeat as it is written down: with those mailboxes that need to be told."""
        picked = self.table.pick(beat.mailboxes, self.clock.now().boot_ns)
        return msgspec.structs.replace(beat, mailboxes=picked)

    def written(self, brief: Heartbeat) -> None:
        """That one is durable."""
        self.table.written(brief.mailboxes, len(self.watches), self.clock.now().boot_ns)

    def beat(self) -> Heartbeat:
        """The heartbeat of now with all mailboxes, also kept as the last one."""
        self.last = self.now(self.lag.take())
        return self.last

    def recent(self) -> Heartbeat:
        """How things stand, cheap to ask for: the mailboxes as the last beat had them.

        Thousands of them take a tenth of a second to look at, in which no canary can start.
        """
        if self.last is None:
            return self.now()
        now_ns, in_flight = self.clock.now().wall_ns, len(self.air)
        return msgspec.structs.replace(
            self.last,
            at_ns=now_ns,
            in_flight=in_flight,
            spool=self._spool(),
            labels=dict(self.labels),
        )

    def _spool(self) -> SpoolHealth:
        return SpoolHealth(
            epoch=self.epoch,
            last_seq=self.depth.last_seq,
            depth=self.depth.rows,
            bytes=self.depth.bytes,
            dropped=self.depth.dropped,
            problem=self.spool_problem,
        )

    def now(self, lag_s: float | None = None) -> Heartbeat:
        """How things stand, for whoever asks between beats: ``lag_s`` is the worst since then."""
        now = self.clock.now()
        if lag_s is None:
            lag_s = max(self.lag.worst_s, 0.0 if self.last is None else self.last.lag_s)
        return Heartbeat(
            agent=self.agent,
            at_ns=now.wall_ns,
            version=self.version,
            boot_id=now.boot_id,
            started_ns=self.started.wall_ns,
            in_flight=len(self.air),
            lag_s=lag_s,
            spool=self._spool(),
            mailboxes={
                name: watch.health(now.boot_id) for name, watch in sorted(self.watches.items())
            },
            counters=dict(sorted(self.counters.items())),
            labels=dict(self.labels),
            at_boot_ns=now.boot_ns,
        )
