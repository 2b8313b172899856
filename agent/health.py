"""How well the agent does its work: one snapshot, for the heartbeat and for Prometheus alike."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field

from agent.air import Air
from agent.clock import Clock, Moment
from agent.mailbox.watch import MailboxWatch
from agent.spool.store import Depth
from probes.contract.events import Heartbeat, SpoolHealth


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

    def beat(self) -> Heartbeat:
        """The heartbeat of now, also kept as the last one."""
        now = self.clock.now()
        self.last = Heartbeat(
            agent=self.agent,
            at_ns=now.wall_ns,
            version=self.version,
            boot_id=now.boot_id,
            started_ns=self.started.wall_ns,
            in_flight=len(self.air),
            lag_s=self.lag.take(),
            spool=SpoolHealth(
                epoch=self.epoch,
                last_seq=self.depth.last_seq,
                depth=self.depth.rows,
                bytes=self.depth.bytes,
                dropped=self.depth.dropped,
                problem=self.spool_problem,
            ),
            mailboxes={
                name: watch.health(now.boot_id) for name, watch in sorted(self.watches.items())
            },
            counters=dict(sorted(self.counters.items())),
            labels=dict(self.labels),
        )
        return self.last
