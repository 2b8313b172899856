"""Every canary is counted once, for its relay, by what became of it."""

import itertools
import random
from collections import Counter
from functools import reduce

import pytest

from agent.spool.flight import Flight, FlightState
from agent.standing.ledger import ENDS, Figures, Ledger
from agent.wall import WallLog
from probes.contract.events import (
    Arrival,
    Bounce,
    CanaryEvent,
    Expiry,
    Interval,
    Submission,
)
from probes.contract.names import Path
from probes.contract.outcome import Outcome, Story
from probes.contract.stages import Reason, Result, Stage
from tests.agent.fakes import INBOX, PATH, HandClock, S, flight

OTHER = Path("sfo", "relay-a2", INBOX)


def submission(of: Flight, result: Result = Result.ACCEPTED, **words: object) -> Submission:
    """How a flight's attempt ended."""
    fields: dict[str, object] = {
        "canary": of.canary,
        "path": of.path,
        "sent_ns": of.sent.wall_ns,
        "at_ns": of.sent.wall_ns,
        "result": result,
        "boot_id": of.sent.boot_id,
        "sent_boot_ns": of.sent.boot_ns,
    }
    return Submission(**{**fields, **words})  # type: ignore[arg-type] # checked by the struct


def arrival(of: Flight, delay_s: float = 0.5, uid: int = 1) -> Arrival:
    """A flight has come home."""
    return Arrival(
        canary=of.canary,
        path=of.path,
        path_seq=1,
        mailbox_seq=1,
        stream_epoch="e",
        sent_ns=of.sent.wall_ns,
        seen_ns=of.sent.wall_ns + round(delay_s * S),
        delay=Interval(delay_s, delay_s),
        clock="boottime",
        folder="INBOX",
        junk=False,
        uidvalidity=1,
        uid=uid,
    )


def expiry(of: Flight, *, lost: bool = True) -> Expiry:
    """The wait for a flight is over."""
    return Expiry(canary=of.canary, path=of.path, at_ns=0, lost=lost, watermark_ns=0)


def bounce(of: Flight, action: str = "failed") -> Bounce:
    """A flight was returned."""
    return Bounce(
        canary=of.canary, path=of.path, seen_ns=0, action=action, status="5.1.1",
        diagnostic=None, remote_mta=None, reporting_mta=None,
    )  # fmt: skip


class Book:
    """A ledger, the clock, and how far the mailbox was read."""

    def __init__(self, clock: HandClock) -> None:
        self.clock = clock
        self.wall = WallLog()
        self.ledger = Ledger(self.wall)
        self.ledger.follow([PATH, OTHER])
        self.mark_ns: int | None = None
        self.told: list[str] = []
        self._numbers = itertools.count(1)

    def send(self, path: Path = PATH) -> Flight:
        """Begin a canary."""
        new = flight(next(self._numbers), sent=self.clock.now(), path=path)
        self.ledger.begun(new)
        return new

    def write(self, *events: CanaryEvent) -> None:
        """Those are in the spool."""
        self.ledger.written(events)

    def look(self, relay: str = PATH.relay) -> Figures:
        """Count; gives a relay's figures."""
        for change in self.ledger.look(self.clock.now(), lambda _: self.mark_ns):
            self.told.append(f"{change.name}: {change.now and change.now.what}")
        return self.ledger.standing().relays[relay]

    def checked(self) -> None:
        """The mailbox was read to the end just now."""
        self.mark_ns = self.clock.now().boot_ns


@pytest.fixture
def book(clock: HandClock) -> Book:
    """A ledger of two relays."""
    return Book(clock)


def test_a_relay_without_canaries_has_figures_too(book: Book) -> None:
    assert book.look("relay-a2") == Figures()


@pytest.mark.parametrize("result", [Result.REJECTED, Result.ACCEPTED])
def test_what_was_under_way_to_a_mailbox_that_leaves_leaves_nothing_behind(
    book: Book, result: Result
) -> None:
    gone = [Path("sfo", relay, "acme/gone") for relay in (PATH.relay, OTHER.relay)]
    book.ledger.follow([PATH, OTHER, *gone])
    sent = [book.send(path) for path in gone * 3]
    book.ledger.follow([PATH, OTHER])
    book.look()
    for one in sent:
        book.ledger.ended(submission(one, result, stage=Stage.RCPT))
    book.look()
    if result is Result.ACCEPTED:
        book.write(*(arrival(one) for one in sent))
    book.look()
    book.look()
    assert book.ledger.standing().mailboxes == {}


def test_a_canary_is_in_flight_until_it_has_an_outcome(book: Book) -> None:
    one = book.send()
    assert (book.look().in_flight, book.look("relay-a2").in_flight) == (1, 0)
    book.ledger.ended(submission(one))
    assert book.look().in_flight == 1
    book.write(arrival(one))
    figures = book.look()
    assert (figures.in_flight, figures.outcomes) == (0, Counter({Outcome.DELIVERED: 1}))
    assert figures.last_ns == one.sent.wall_ns + S // 2
    assert figures.failures == {}
    assert figures.healthy is True


@pytest.mark.parametrize(
    ("result", "stage", "reason", "outcome"),
    [
        (Result.REJECTED, Stage.RCPT, Reason.REPLY_5XX, Outcome.REJECTED),
        (Result.DEFERRED, Stage.MAIL, Reason.REPLY_4XX, Outcome.DEFERRED),
        (Result.UNREACHABLE, Stage.CONNECT, Reason.TIMEOUT, Outcome.UNREACHABLE),
        (Result.FAILED, Stage.TLS, Reason.CERTIFICATE, Outcome.FAILED),
        (Result.UNSENT, None, Reason.RELAY_CAP, Outcome.UNSENT),
        (Result.OTHER, None, None, Outcome.UNKNOWN),
    ],
)
def test_where_and_why_it_failed_is_counted(
    book: Book, result: Result, stage: Stage | None, reason: Reason | None, outcome: Outcome
) -> None:
    book.ledger.ended(submission(book.send(), result, stage=stage, reason=reason))
    figures = book.look()
    assert figures.outcomes == {outcome: 1}
    assert figures.failures == {(stage or "", reason or ""): 1}


def test_a_lost_one_that_turns_up_is_counted_again_and_a_copy_is_not(book: Book) -> None:
    one = book.send()
    book.ledger.ended(submission(one))
    book.write(expiry(one))
    assert book.look().outcomes == {Outcome.LOST: 1}
    assert book.look().failures == {("transit", ""): 1}
    book.write(arrival(one, 60.0), arrival(one, 61.0, uid=2))
    assert book.look().outcomes == {Outcome.LOST: 1, Outcome.LATE: 1}


def test_a_relay_s_word_after_the_arrival_changes_nothing(book: Book) -> None:
    one = book.send()
    book.write(arrival(one))
    assert book.look().outcomes == {Outcome.DELIVERED: 1}
    book.ledger.ended(submission(one, Result.UNKNOWN, reason=Reason.TIMEOUT))
    book.write(arrival(one, uid=2), bounce(one))
    figures = book.look()
    assert (figures.outcomes, figures.in_flight) == ({Outcome.DELIVERED: 1}, 0)


def test_what_nobody_knows_is_passed_over(book: Book, clock: HandClock) -> None:
    stranger = flight(99, sent=clock.now())
    book.write(arrival(stranger), expiry(stranger), bounce(stranger))
    book.ledger.ended(submission(stranger))
    assert book.look() == Figures()


def test_what_is_told_twice_since_its_commit_failed_counts_once(
    book: Book,
) -> None:
    home, gone = book.send(), book.send()
    for one in (home, gone):
        book.ledger.ended(submission(one))
    for _ in range(2):
        book.write(arrival(home), expiry(gone))
    once = Counter({Outcome.DELIVERED: 1, Outcome.LOST: 1})
    assert book.look().outcomes == once
    book.write(arrival(home), expiry(gone))
    assert (book.look().outcomes, book.look().in_flight) == (once, 0)


def test_overdue_is_what_a_complete_check_after_the_deadline_did_not_show(
    book: Book, clock: HandClock
) -> None:
    one = book.send()
    book.ledger.ended(submission(one))
    clock.advance(60)
    assert book.look().overdue == 0, "nobody has looked"
    book.mark_ns = one.sent.boot_ns + 5 * S - 1
    assert book.look().overdue == 0, "the check began before the deadline"
    book.checked()
    assert (book.look().overdue, book.look().in_flight) == (1, 1)
    book.write(arrival(one, 60.0))
    figures = book.look()
    assert (figures.overdue, figures.in_flight, figures.outcomes) == (0, 0, {Outcome.LATE: 1})


def test_what_its_relay_never_took_is_not_overdue(book: Book, clock: HandClock) -> None:
    unsure = book.send()
    book.ledger.ended(submission(unsure, Result.UNKNOWN, reason=Reason.TIMEOUT))
    book.send()
    clock.advance(60)
    book.checked()
    assert (book.look().overdue, book.look().in_flight) == (0, 2)


def test_flights_of_before_the_start_are_awaited_on(book: Book, clock: HandClock) -> None:
    now = clock.now()
    taken = flight(1, sent=now).moved(FlightState.AWAITED)
    cut_off = flight(2, sent=now)
    for one in (taken, cut_off):
        book.ledger.resumed(one, now)
    clock.advance(6)
    book.checked()
    assert (book.look().in_flight, book.look().overdue) == (2, 1)
    book.write(expiry(taken), expiry(cut_off))
    book.ledger.ended(submission(cut_off, Result.UNKNOWN, reason=Reason.INTERRUPTED))
    assert book.look().outcomes == {Outcome.LOST: 1, Outcome.UNKNOWN: 1}
    assert book.told == [], "the agent's own end is no relay's fault"


def test_after_a_reboot_nothing_is_overdue_for_a_wrong_clock(book: Book, clock: HandClock) -> None:
    sent = clock.now()
    book.wall.note(sent)
    clock.reboot()
    clock.step(86_400.0)
    book.wall.note(clock.now())
    book.ledger.resumed(flight(1, sent=sent).moved(FlightState.AWAITED), clock.now())
    clock.advance(3.9)
    book.checked()
    assert book.look().overdue == 0
    clock.advance(0.2)
    book.checked()
    assert book.look().overdue == 1


def test_a_trouble_is_told_when_it_begins_and_when_it_ends(book: Book, clock: HandClock) -> None:
    for _ in range(3):
        book.ledger.ended(submission(book.send()))
        book.write(arrival(book.send(OTHER)))
    clock.advance(6)
    book.checked()
    assert book.look().healthy is False
    assert book.ledger.overdue(PATH.relay) == 3
    assert book.told == ["relay-a1: overdue"]
    for _ in range(5):
        book.write(arrival(book.send()))
    assert book.look().healthy is True
    assert book.told == ["relay-a1: overdue", "relay-a1: None"]
    assert book.ledger.overdue(PATH.relay) == 3, "what is stuck is stuck"


def test_late_mail_is_no_second_trouble_and_no_sign_of_health(book: Book, clock: HandClock) -> None:
    stuck = [book.send() for _ in range(3)]
    for one in stuck:
        book.ledger.ended(submission(one))
    clock.advance(60)
    book.checked()
    book.look()
    book.write(*[arrival(one, 60.0) for one in stuck], *[arrival(one, 60.0, 2) for one in stuck])
    assert book.look().healthy is False
    assert book.told == ["relay-a1: overdue"]


def test_a_relay_that_left_is_told_of_until_nothing_of_it_is_awaited(book: Book) -> None:
    one = book.send()
    book.ledger.follow([OTHER])
    assert book.look().in_flight == 1
    book.ledger.ended(submission(one, Result.UNSENT, reason=Reason.STALE))
    book.ledger.look(book.clock.now(), lambda _: None)
    assert set(book.ledger.standing().relays) == {"relay-a2"}


def test_a_mailbox_that_takes_nothing_is_told_of(book: Book, clock: HandClock) -> None:
    for _ in range(5):
        for path in (PATH, OTHER):
            book.ledger.ended(submission(book.send(path)))
    clock.advance(6)
    book.checked()
    book.look()
    assert book.told == [f"{INBOX}: overdue"]
    assert book.ledger.standing().mailboxes == {INBOX: False}


def courses(of: Flight) -> list[list[CanaryEvent]]:
    """What may become of a canary, whatever comes first."""
    accepted = submission(of)
    cut_off = submission(of, Result.UNKNOWN, stage=Stage.ACCEPT, reason=Reason.TIMEOUT)
    home, late, lost = arrival(of), arrival(of, 6.0), expiry(of)
    ends = [Result.REJECTED, Result.DEFERRED, Result.UNREACHABLE, Result.FAILED, Result.UNSENT]
    return [
        *([submission(of, result, reason=Reason.OTHER)] for result in (*ends, Result.OTHER)),
        *([told, *rest] for told in (accepted, cut_off) for rest in ([], [home], [late], [lost])),
        [accepted, bounce(of)],
        [accepted, bounce(of, "delayed")],
        [accepted, expiry(of, lost=False)],
    ]


@pytest.mark.parametrize("seed", range(20))
def test_every_canary_is_in_flight_or_has_the_contract_s_outcome(seed: int) -> None:
    """Whatever comes, in whatever order: the same as the outcomes by the contract."""
    rng = random.Random(seed)  # noqa: S311 - a random sequence that repeats
    book = Book(HandClock())
    stories, happening = [], list[CanaryEvent]()
    for _ in range(60):
        course = rng.choice(courses(book.send(rng.choice((PATH, OTHER)))))
        stories.append(reduce(Story.fold, course, Story(deadline_s=5.0)))
        happening += course
    rng.shuffle(happening)
    for event in happening:
        if isinstance(event, Submission):
            book.ledger.ended(event)
        else:
            book.write(event)
        book.clock.advance(rng.random())
        book.checked()
        book.look()
    standing = book.ledger.standing().relays
    counted = Counter[Outcome]()
    for figures in standing.values():
        counted += figures.outcomes
    told = Counter(story.verdict().outcome for story in stories)
    pending = told.pop(Outcome.PENDING, 0)
    assert counted == told
    assert set(counted) <= set(ENDS)
    assert sum(figures.in_flight for figures in standing.values()) == pending
    assert sum(figures.overdue for figures in standing.values()) <= pending


def test_the_lost_ones_that_are_remembered_are_bounded(
    book: Book, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("agent.standing.ledger._LOST_KNOWN", 2)
    lost = [book.send() for _ in range(3)]
    for one in lost:
        book.ledger.ended(submission(one))
        book.write(expiry(one))
    book.look()
    book.write(*[arrival(one, 60.0) for one in lost])
    assert book.look().outcomes[Outcome.LATE] == 2
