"""What became of the canaries, added up for each relay, from this start of the agent on.

It knows no clock: what happens is noted when it happens, and counted at the next look.
"""

import heapq
from collections import Counter, OrderedDict, deque
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field, replace

from agent.clock import Moment
from agent.spool.flight import Flight, FlightState
from agent.standing.blame import Blame, Change
from agent.standing.condition import Sign, Trouble
from agent.wall import WallLog
from probes.contract.events import Arrival, CanaryEvent, Submission
from probes.contract.names import Path
from probes.contract.outcome import Outcome, Story, Verdict
from probes.contract.stages import Reason, Result, Stage

ENDS = tuple(outcome for outcome in Outcome if outcome is not Outcome.PENDING)
"""The outcomes that are counted."""
OVERDUE = "overdue"
_ARRIVED = (Outcome.DELIVERED, Outcome.LATE)
_CERTAIN = (*_ARRIVED, Outcome.BOUNCED)
_LOST_KNOWN = 20_000
_OURS = (Reason.LOCAL, Reason.INTERRUPTED)
"""Reasons that are this agent's own: they say nothing of a relay."""
_WELL_OR_UNTRIED = (Result.ACCEPTED, Result.UNSENT, Result.OTHER)

Watermark = Callable[[str], int | None]
"""A mailbox's watermark by this boot's clock; ``None`` when it has none."""


@dataclass(slots=True)
class Figures:
    """How a relay does. ``failures`` by stage and reason, ``last_ns`` by the wall clock."""

    outcomes: Counter[Outcome] = field(default_factory=Counter)
    failures: Counter[tuple[str, str]] = field(default_factory=Counter)
    in_flight: int = 0
    overdue: int = 0
    last_ns: int | None = None
    healthy: bool | None = None


@dataclass(frozen=True, slots=True)
class Standing:
    """How relays do, and whether mail comes home to the mailboxes, as of one moment."""

    relays: dict[str, Figures] = field(default_factory=dict)
    mailboxes: dict[str, bool] = field(default_factory=dict)


@dataclass(slots=True)
class _Entry:
    """A canary that has no outcome yet. ``signed``: what it shows was taken note of."""

    path: Path
    story: Story
    overdue: bool = False
    signed: bool = False


class Ledger:
    """The canaries without an outcome, the figures of their relays, and who is to blame.

    ``wall`` knows how long boots have run: a canary is overdue when its deadline has passed for
    certain.
    """

    def __init__(self, wall: WallLog | None = None) -> None:
        self._wall = WallLog() if wall is None else wall
        self._relays: dict[str, Figures] = {}
        self._wanted: set[str] = set()
        self._mailboxes: set[str] = set()
        self._entries: dict[str, _Entry] = {}
        self._lost: OrderedDict[str, str] = OrderedDict()
        self._dues: dict[str, list[tuple[int, str]]] = {}
        self._news: deque[Submission | Sequence[CanaryEvent]] = deque()
        self._blame = Blame()
        self._leaving = False

    def follow(self, paths: Collection[Path]) -> None:
        """Tell of the relays of those paths, and of others until nothing of theirs is awaited."""
        self._wanted = {path.relay for path in paths}
        self._mailboxes = {path.mailbox for path in paths}
        for relay in self._wanted:
            self._relays.setdefault(relay, Figures())
        self._leaving = True

    # --- what happens -----------------------------------------------------------------------

    def resumed(self, flight: Flight, now: Moment) -> None:
        """A flight of before the start is awaited again."""
        self.begun(flight)
        if flight.state is FlightState.AWAITED:
            # Accepted, or unknown: which of them is not kept.
            story = Story(deadline_s=flight.deadline_s, result=Result.ACCEPTED)
            self._entries[flight.canary].story = story
            self._due(flight.canary, flight.sent, now)

    def begun(self, flight: Flight) -> None:
        """A canary's intent is durable."""
        relay = flight.path.relay
        self._leaving = self._leaving or relay not in self._wanted
        figures = self._relays.get(relay)
        if figures is None:
            figures = self._relays[relay] = Figures()
        figures.in_flight += 1
        self._entries[flight.canary] = _Entry(flight.path, Story(deadline_s=flight.deadline_s))

    def ended(self, event: Submission) -> None:
        """A canary's attempt has ended."""
        self._news.append(event)

    def written(self, events: Sequence[CanaryEvent]) -> None:
        """Those are going into the spool; may be called from any thread.

        Again, when their commit failed: what is told twice counts once.
        """
        self._news.append(events)

    # --- what it amounts to -----------------------------------------------------------------

    def look(self, now: Moment, watermark: Watermark) -> list[Change]:
        """Count what has happened since, and what is overdue by now; gives what has changed."""
        changes: list[Change] = []
        while self._news:
            news = self._news.popleft()
            if isinstance(news, Submission):
                changes += self._submitted(news, now)
                continue
            for event in news:
                changes += self._fold(event, now)
        changes += self._overdue(now, watermark)
        self._forget()
        return changes

    def standing(self) -> Standing:
        """How all relays do; of those that have gone only while canaries are awaited."""
        conditions, boxes = self._blame.relays, self._blame.mailboxes
        return Standing(
            {
                name: replace(
                    figures,
                    outcomes=figures.outcomes.copy(),
                    failures=figures.failures.copy(),
                    healthy=conditions[name].healthy if name in conditions else None,
                )
                for name, figures in sorted(self._relays.items())
            },
            {name: box.healthy for name, box in sorted(boxes.items()) if box.healthy is not None},
        )

    def overdue(self, relay: str) -> int:
        """How many canaries of the relay are overdue."""
        figures = self._relays.get(relay)
        return 0 if figures is None else figures.overdue

    # --- one canary -------------------------------------------------------------------------

    def _submitted(self, event: Submission, now: Moment) -> list[Change]:
        changes = self._fold(event, now)
        if event.result is Result.ACCEPTED and event.canary in self._entries:
            sent = Moment(event.sent_ns, event.sent_boot_ns or 0, event.boot_id or "")
            self._due(event.canary, sent, now)
        return changes

    def _fold(self, event: CanaryEvent, now: Moment) -> list[Change]:
        entry = self._entries.get(event.canary)
        if entry is None:
            self._after_all(event)
            return []
        story = entry.story = entry.story.fold(event)
        if isinstance(event, Submission) and _taken(event, story):
            return []
        verdict = story.verdict()
        if isinstance(event, Arrival):
            self._seen(entry.path.relay, event)
        # A wait may be over before the relay's reply, which says what it was that was lost.
        replied = story.result is not None or verdict.outcome in _CERTAIN
        if replied and verdict.outcome is not Outcome.PENDING:
            self._settle(event.canary, entry, verdict)
        shown = _shown(event, verdict)
        return [] if shown is None else self._sign(entry, shown[0], now)

    def _settle(self, canary: str, entry: _Entry, verdict: Verdict) -> None:
        del self._entries[canary]
        relay, figures = entry.path.relay, self._relays[entry.path.relay]
        figures.in_flight -= 1
        figures.overdue -= entry.overdue
        figures.outcomes[verdict.outcome] += 1
        if verdict.outcome not in _ARRIVED:
            figures.failures[verdict.stage or "", verdict.reason or ""] += 1
        if verdict.outcome is Outcome.LOST:
            self._lost[canary] = relay
            if len(self._lost) > _LOST_KNOWN:
                self._lost.popitem(last=False)

    def _after_all(self, event: CanaryEvent) -> None:
        """A canary that has ended: a lost one that turns up is late, what else is told is not."""
        relay = self._lost.pop(event.canary, None) if isinstance(event, Arrival) else None
        if relay in self._relays and isinstance(event, Arrival):
            self._relays[relay].outcomes[Outcome.LATE] += 1
            self._seen(relay, event)

    def _seen(self, relay: str, event: Arrival) -> None:
        figures = self._relays[relay]
        figures.last_ns = max(figures.last_ns or 0, event.seen_ns)

    def _sign(self, entry: _Entry, sign: Sign, now: Moment) -> list[Change]:
        """Take note of what the canary shows: of each the first counts."""
        if entry.signed:
            return []
        entry.signed = True
        # To a mailbox that has left, under way when it did: what it shows must not stay for ever.
        self._leaving = self._leaving or entry.path.mailbox not in self._mailboxes
        return self._blame.take(entry.path.relay, entry.path.mailbox, sign, now.boot_ns)

    # --- deadlines --------------------------------------------------------------------------

    def _due(self, canary: str, sent: Moment, now: Moment) -> None:
        entry = self._entries[canary]
        self._leaving = self._leaving or entry.path.mailbox not in self._mailboxes
        left_s = (entry.story.deadline_s or 0.0) - self._wall.ran_s(sent, now)
        due = (now.boot_ns + round(left_s * 1e9), canary)
        heapq.heappush(self._dues.setdefault(entry.path.mailbox, []), due)

    def _overdue(self, now: Moment, watermark: Watermark) -> list[Change]:
        """Those past their deadline by a complete check of their mailbox, begun after that."""
        changes: list[Change] = []
        for mailbox, dues in self._dues.items():
            mark = watermark(mailbox)
            while mark is not None and dues and dues[0][0] <= mark:
                entry = self._entries.get(heapq.heappop(dues)[1])
                if entry is not None and not entry.overdue:
                    entry.overdue = True
                    self._relays[entry.path.relay].overdue += 1
                    changes += self._sign(entry, Trouble(OVERDUE, Stage.TRANSIT), now)
        return changes

    def _forget(self) -> None:
        """Tell no more of what has gone, once nothing of it is awaited."""
        if not self._leaving:
            return
        for name in self._relays.keys() - self._wanted:
            if not self._relays[name].in_flight:
                del self._relays[name]
        for mailbox in self._dues.keys() - self._mailboxes:
            if not any(canary in self._entries for _, canary in self._dues[mailbox]):
                del self._dues[mailbox]
        self._blame.keep(set(self._relays), self._mailboxes | self._dues.keys())
        self._leaving = bool(
            self._relays.keys() - self._wanted or self._dues.keys() - self._mailboxes
        )


def _taken(event: Submission, story: Story) -> bool:
    """Whether a relay has taken the canary and that is all that is known; of most it is at first.

    That ends nothing and shows nothing, without a verdict being worked out.
    """
    accepted = event.result is Result.ACCEPTED and story.result is Result.ACCEPTED
    ends = story.sightings or story.lost or story.given_up or story.failed_dsn
    return accepted and not ends


def _shown(event: CanaryEvent, verdict: Verdict) -> tuple[Sign] | None:
    """What the event shows of the canary's relay; ``None`` when it shows nothing."""
    if isinstance(event, Submission):
        if event.result in _WELL_OR_UNTRIED or event.reason in _OURS:
            return None
        return (Trouble(event.result, event.stage or "", event.reason or ""),)
    if isinstance(event, Arrival):
        late = verdict.outcome is Outcome.LATE
        return (Trouble(Outcome.LATE, Stage.TRANSIT) if late else None,)
    if verdict.outcome in (Outcome.BOUNCED, Outcome.LOST):
        return (Trouble(verdict.outcome, Stage.TRANSIT),)
    return None
