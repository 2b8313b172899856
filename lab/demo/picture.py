"""What the agent's events say of each relay so far: the figures that the demo shows and sums up.

Pure: it knows no clock and no screen. ``now_ns`` and the heartbeats' watermarks are passed in.
"""

from collections import deque
from dataclasses import dataclass, field

from probes.contract.events import Arrival, Bounce, Event, Expiry, Heartbeat, Intent, Submission
from probes.contract.events import Unknown as UnknownEvent
from probes.contract.metrics.missing import Standing
from probes.contract.metrics.overtaking import Overtaking, crossing, new_mailbox
from probes.contract.outcome import Outcome, Story, Verdict

SEEN_AT = 2
"""So many overdue canaries in a row make a relay hit: one alone may be chance."""


@dataclass(slots=True)
class Canary:
    """One canary of the demo."""

    relay: str
    mailbox: str
    due_by_ns: int
    story: Story = field(default_factory=Story)
    submission: Submission | None = None


@dataclass(slots=True)
class RelayPicture:
    """One relay's figures. Delays in seconds, the newest last."""

    name: str
    delays: deque[float] = field(default_factory=lambda: deque(maxlen=24))
    awaited: dict[str, Canary] = field(default_factory=dict)
    overdue: int = 0
    hit: bool = False
    late: int = 0
    lost: int = 0
    reordered: int = 0

    @property
    def state(self) -> str:
        """``hit`` while several canaries are overdue, ``waiting`` while one is, else ``ok``."""
        return "hit" if self.hit else ("waiting" if self.overdue else "ok")


class Picture:
    """The whole fleet as measured."""

    def __init__(self, relays: list[str]) -> None:
        self.relays = {name: RelayPicture(name) for name in relays}
        self.canaries: dict[str, Canary] = {}
        self.watermarks: dict[str, int] = {}
        self.first_seen_ns: dict[str, int] = {}
        self._orders: dict[str, Overtaking] = {}
        self._waiting: dict[str, list[Arrival]] = {}

    # --- events in --------------------------------------------------------------------------

    def take(self, event: Event | UnknownEvent) -> None:
        """Add one event."""
        if isinstance(event, Heartbeat):
            for name, health in event.mailboxes.items():
                if health.watermark_ns is not None:
                    self.watermarks[name] = health.watermark_ns
        elif isinstance(event, Intent):
            self._begin(event)
        elif isinstance(event, Submission | Arrival | Expiry | Bounce):
            self._continue(event)

    def _begin(self, event: Intent) -> None:
        due_by_ns = event.at_ns + round(event.deadline_s * 1e9)
        canary = Canary(event.path.relay, event.path.mailbox, due_by_ns)
        canary.story = canary.story.fold(event)
        self.canaries[event.canary] = canary
        self.relays[canary.relay].awaited[event.canary] = canary

    def _continue(self, event: Submission | Arrival | Expiry | Bounce) -> None:
        canary = self.canaries.get(event.canary)
        if canary is None:
            return
        relay = self.relays[canary.relay]
        canary.story = canary.story.fold(event)
        if isinstance(event, Submission):
            canary.submission = event
            for arrival in self._waiting.pop(event.canary, []):
                self._cross(relay, arrival, canary)
        elif isinstance(event, Arrival):
            relay.delays.append(event.delay.hi)
            if canary.submission is None:
                self._waiting.setdefault(event.canary, []).append(event)
            else:
                self._cross(relay, event, canary)
        if canary.story.verdict().outcome is not Outcome.PENDING:
            relay.awaited.pop(event.canary, None)

    def _cross(self, relay: RelayPicture, arrival: Arrival, canary: Canary) -> None:
        order = self._orders.setdefault(arrival.path.mailbox, new_mailbox())
        overtaken = order.fold(crossing(canary.submission, arrival))
        relay.reordered += overtaken.standing is Standing.REORDERED

    # --- judging ----------------------------------------------------------------------------

    def judge(self, now_ns: int) -> list[str]:
        """Count again; gives the relays that are newly seen to be hit.

        A canary is overdue once a complete check of its mailbox, begun after its deadline, did not
        show it: a report that is late is no late mail.
        """
        verdicts = [(canary.relay, canary.story.verdict()) for canary in self.canaries.values()]
        news = []
        for name, relay in self.relays.items():
            relay.late = sum(r == name and v.outcome is Outcome.LATE for r, v in verdicts)
            relay.lost = sum(r == name and v.outcome is Outcome.LOST for r, v in verdicts)
            relay.overdue = sum(
                self.watermarks.get(canary.mailbox, 0) > canary.due_by_ns
                for canary in relay.awaited.values()
            )
            relay.hit = relay.overdue >= SEEN_AT
            if relay.hit and name not in self.first_seen_ns:
                self.first_seen_ns[name] = now_ns
                news.append(name)
        return news

    def verdicts(self) -> list[Verdict]:
        """The verdict on every canary so far."""
        return [canary.story.verdict() for canary in self.canaries.values()]

    @property
    def pending(self) -> int:
        """How many canaries have no outcome yet."""
        return sum(len(relay.awaited) for relay in self.relays.values())
