"""What happened to a canary: a pure function of the set of its events, whatever their order.

:class:`Story` folds events one at a time and forgets none of what decides; folding the same event
twice, or events in any order, gives the same story. ``docs/outcomes.md`` has the table.
"""

from collections.abc import Iterable
from enum import StrEnum

import msgspec

from probes.contract.events import (
    Arrival,
    Bounce,
    CanaryEvent,
    Expiry,
    Intent,
    Interval,
    Submission,
)
from probes.contract.stages import Reason, Result, Stage


class Outcome(StrEnum):
    """How a canary ended, or that it has not ended yet."""

    PENDING = "pending"
    DELIVERED = "delivered"
    LATE = "late"
    LOST = "lost"
    REJECTED = "rejected"
    DEFERRED = "deferred"
    UNREACHABLE = "unreachable"
    FAILED = "failed"
    BOUNCED = "bounced"
    UNSENT = "unsent"
    UNKNOWN = "unknown"


class Timing(StrEnum):
    """Whether a delivered canary kept its deadline; no delay objective counts an uncertain one."""

    IN_TIME = "in-time"
    LATE = "late"
    UNCERTAIN = "uncertain"


class Sighting(msgspec.Struct, frozen=True, order=True):
    """One copy of the canary in a mailbox: where it lay, and what is known of its delay.

    Reported again, by an agent that was killed before it noted the first report, a copy keeps the
    tightest bounds of both: the highest ``lo`` and the lowest ``hi``, in seconds.
    Ordered by delay, so that the smallest is the first copy, whatever order they were reported in;
    what the wall clock measured (``wall``) comes after what one clock did: a clock that was set
    meanwhile must not falsify the delay of a copy that is known exactly.
    """

    wall: bool
    lo: float
    hi: float
    folder: str
    uidvalidity: int
    uid: int
    junk: bool

    @property
    def place(self) -> tuple[str, int, int]:
        """What tells this copy from others."""
        return self.folder, self.uidvalidity, self.uid

    @property
    def delay(self) -> Interval:
        """The interval of the delay; of reports that exclude each other, the gap between them."""
        return Interval(min(self.lo, self.hi), max(self.lo, self.hi))


class Verdict(msgspec.Struct, frozen=True, kw_only=True):
    """The outcome with what qualifies it. ``stage`` and ``reason`` say where and why it failed."""

    outcome: Outcome
    timing: Timing | None = None
    delay: Interval | None = None
    junk: bool = False
    duplicates: int = 0
    delayed_dsn: bool = False
    stage: Stage | None = None
    reason: Reason | None = None


_ENDED_AT_RELAY = {
    Result.REJECTED: Outcome.REJECTED,
    Result.DEFERRED: Outcome.DEFERRED,
    Result.UNREACHABLE: Outcome.UNREACHABLE,
    Result.FAILED: Outcome.FAILED,
    Result.UNSENT: Outcome.UNSENT,
}
"""Submissions after which no mail is under way, unless it turns up all the same."""

_TELLS_LESS = {Result.OTHER: 1, Result.UNKNOWN: 2}
"""Of two submissions the one that tells more counts: what the attempt saw, though in a word that
this version does not know, beats "the agent was interrupted and cannot tell"."""


def timing_of(delay: Interval, deadline_s: float) -> Timing:
    """Late only if the lower bound is past the deadline, in time only if the upper is inside it."""
    if delay.lo > deadline_s:
        return Timing.LATE
    if delay.hi <= deadline_s:
        return Timing.IN_TIME
    return Timing.UNCERTAIN


class Story(msgspec.Struct, frozen=True, kw_only=True):
    """What is known of one canary so far; JSON-able, so that a rollup can keep it."""

    deadline_s: float | None = None
    result: Result | None = None
    stage: Stage | None = None
    reason: Reason | None = None
    sightings: tuple[Sighting, ...] = ()
    lost: bool = False
    given_up: bool = False
    failed_dsn: bool = False
    delayed_dsn: bool = False

    def fold(self, event: CanaryEvent) -> "Story":
        """The story with ``event`` added; the same story when it adds nothing.

        Contradicting events of one kind (two submissions, two deadlines: not from our agents) are
        settled by an order on their content, so that even then the order of arrival says nothing.
        """
        match event:
            case Intent(deadline_s=deadline):
                known = self.deadline_s
                return self._with(deadline_s=deadline if known is None else min(known, deadline))
            case Submission():
                return self._with_submission(event)
            case Arrival():
                return self._with_sighting(event)
            case Expiry(lost=lost):
                return self._with(lost=self.lost or lost, given_up=self.given_up or not lost)
            case Bounce(action="failed"):
                return self._with(failed_dsn=True)
            case Bounce(action="delayed"):
                return self._with(delayed_dsn=True)
            case Bounce():
                return self

    def _with(self, **changes: object) -> "Story":
        return msgspec.structs.replace(self, **changes)

    def _with_submission(self, event: Submission) -> "Story":
        mine = (self.result or "", self.stage or "", self.reason or "")
        theirs = (event.result, event.stage or "", event.reason or "")
        if self.result is None or (_TELLS_LESS.get(self.result, 0), mine) > (
            _TELLS_LESS.get(event.result, 0),
            theirs,
        ):
            return self._with(result=event.result, stage=event.stage, reason=event.reason)
        return self

    def _with_sighting(self, event: Arrival) -> "Story":
        d = event.delay
        wall = event.clock != "boottime"
        new = Sighting(wall, d.lo, d.hi, event.folder, event.uidvalidity, event.uid, event.junk)
        by_place = {copy.place: copy for copy in self.sightings}
        if old := by_place.get(new.place):
            new = _same_copy(old, new)
        by_place[new.place] = new
        return self._with(sightings=tuple(sorted(by_place.values())))

    def verdict(self) -> Verdict:
        """The outcome as far as the events folded so far tell."""
        if self.sightings:
            return self._verdict_of_arrival(self.sightings[0])
        outcome, stage, reason = self._absent()
        return Verdict(outcome=outcome, stage=stage, reason=reason, delayed_dsn=self.delayed_dsn)

    def _absent(self) -> tuple[Outcome, Stage | None, Reason | None]:
        """What is said of a canary that no mailbox has shown."""
        if self.failed_dsn:
            return Outcome.BOUNCED, Stage.TRANSIT, None
        if self.result in _ENDED_AT_RELAY:
            return _ENDED_AT_RELAY[self.result], self.stage, self.reason
        if self.result is Result.OTHER:
            # Whether a mail is under way is what this version cannot read; nothing may follow.
            return Outcome.UNKNOWN, self.stage, self.reason
        accepted = self.result is Result.ACCEPTED
        if not (self.lost or self.given_up):
            return Outcome.PENDING, Stage.TRANSIT if accepted else None, None
        if accepted and self.lost:
            return Outcome.LOST, Stage.TRANSIT, None
        # Accepted, but its mailbox never came back; or the final reply was lost, so nobody can say
        # whether there was a mail to lose.
        return Outcome.UNKNOWN, self.stage, self.reason

    def _verdict_of_arrival(self, first: Sighting) -> Verdict:
        # With several copies the delay is that of the first, and any copy seen bounds it above.
        delays = [copy.delay for copy in self.sightings if copy.wall == first.wall]
        delay = Interval(min(d.lo for d in delays), min(d.hi for d in delays))
        timing = None if self.deadline_s is None else timing_of(delay, self.deadline_s)
        # A canary that was called lost and turns up is late by definition: the wait was over.
        late = self.lost or timing is Timing.LATE
        return Verdict(
            outcome=Outcome.LATE if late else Outcome.DELIVERED,
            timing=Timing.LATE if late else timing,
            delay=delay,
            junk=first.junk,
            duplicates=len(self.sightings) - 1,
            delayed_dsn=self.delayed_dsn,
        )


def _same_copy(one: Sighting, other: Sighting) -> Sighting:
    """Two reports of one copy as one: the better clock's bounds, of equal clocks the tightest."""
    junk = one.junk and other.junk
    if one.wall != other.wall:
        return msgspec.structs.replace(min(one, other), junk=junk)
    lo, hi = max(one.lo, other.lo), min(one.hi, other.hi)
    return msgspec.structs.replace(one, lo=lo, hi=hi, junk=junk)


def tell(events: Iterable[CanaryEvent]) -> Story:
    """The story of one canary's events, in whatever order and however often each was delivered."""
    story = Story()
    for event in events:
        story = story.fold(event)
    return story
