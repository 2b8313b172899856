"""The outcome is a function of the set of a canary's events; docs/outcomes.md tells it right."""

import itertools
import math
import re
from collections.abc import Sequence
from pathlib import Path as FilePath

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from probes.contract.events import (
    Arrival,
    Bounce,
    CanaryEvent,
    Expiry,
    Intent,
    Interval,
    Submission,
)
from probes.contract.names import Path
from probes.contract.outcome import Outcome, Story, Timing, Verdict, tell, timing_of
from probes.contract.stages import Reason, Result, Stage

DOCS = FilePath(__file__).parents[3] / "docs" / "outcomes.md"
CANARY = "5f2b7c1d9e8a40b3a6d4c2f10b9e7d35"
PATH = Path("sfo", "relay-a1", "acme/inbox")
DEADLINE_S = 60.0
SEEN = re.compile(r"seen ([0-9.]+)-([0-9.]+) s(?: copy (\d))?( in junk)?")


def intent(deadline_s: float = DEADLINE_S) -> Intent:
    return Intent(
        canary=CANARY,
        path=PATH,
        path_seq=1,
        mailbox_seq=1,
        stream_epoch="e1",
        due_ns=0,
        at_ns=0,
        deadline_s=deadline_s,
        loss_after_s=1800.0,
    )


def submission(
    result: Result, stage: Stage | None = None, reason: Reason | None = None
) -> Submission:
    return Submission(
        canary=CANARY, path=PATH, sent_ns=0, at_ns=1, result=result, stage=stage, reason=reason
    )


def arrival(lo: float, hi: float, *, copy: int = 1, junk: bool = False) -> Arrival:
    return Arrival(
        canary=CANARY,
        path=PATH,
        path_seq=1,
        mailbox_seq=1,
        stream_epoch="e1",
        sent_ns=0,
        seen_ns=round(hi * 1e9),
        delay=Interval(lo, hi),
        clock="boottime",
        folder="Junk" if junk else "INBOX",
        junk=junk,
        uidvalidity=7,
        uid=100 + copy,
    )


def expiry(*, lost: bool) -> Expiry:
    return Expiry(canary=CANARY, path=PATH, at_ns=2, lost=lost, watermark_ns=2 if lost else None)


def bounce(action: str) -> Bounce:
    return Bounce(
        canary=CANARY,
        path=PATH,
        seen_ns=2,
        action=action,
        status="5.1.1",
        diagnostic=None,
        remote_mta=None,
        reporting_mta=None,
    )


def event_of(text: str) -> CanaryEvent:
    """The event that one item of the table's first column stands for."""
    if seen := SEEN.fullmatch(text):
        lo, hi, copy, junk = seen.groups()
        return arrival(float(lo), float(hi), copy=int(copy or 1), junk=bool(junk))
    word, *rest = text.split(" ")
    if word == "intent":
        return intent(float(rest[0])) if rest else intent()
    if word == "expiry":
        return expiry(lost={"lost": True, "unknown": False}[rest[0]])
    if word == "DSN":
        return bounce(rest[0])
    stage, reason = rest or ("-", "-")
    return submission(
        Result(word),
        None if stage == "-" else Stage(stage),
        None if reason == "-" else Reason(reason),
    )


def events_of(text: str) -> list[CanaryEvent]:
    return [] if text == "-" else [event_of(item) for item in text.split(", ")]


def verdict_of(cells: Sequence[str]) -> Verdict:
    """The verdict that the table's other columns stand for."""
    outcome, timing, delay, stage, reason, attributes = cells
    said = [] if attributes == "-" else attributes.split(", ")
    counts = [int(item.split(" ")[1]) for item in said if item.startswith("duplicates ")]
    bounds = re.fullmatch(r"([0-9.]+)-([0-9.]+) s", delay)
    assert {re.sub(r" \d$", "", item) for item in said} <= {"junk", "duplicates", "delayed DSN"}
    return Verdict(
        outcome=Outcome(outcome),
        timing=None if timing == "-" else Timing(timing),
        delay=Interval(float(bounds[1]), float(bounds[2])) if bounds else None,
        junk="junk" in said,
        duplicates=sum(counts),
        delayed_dsn="delayed DSN" in said,
        stage=None if stage == "-" else Stage(stage),
        reason=None if reason == "-" else Reason(reason),
    )


def rows() -> list[list[str]]:
    examples = DOCS.read_text(encoding="utf-8").split("## Examples")[1].split("\n## ")[0]
    table = re.findall(r"^\| (.*) \|$", examples, flags=re.MULTILINE)
    return [row.split(" | ") for row in table[2:]]


ROWS = rows()
EVERY_ROW = pytest.mark.parametrize("row", ROWS, ids=[row[0] for row in ROWS])


@EVERY_ROW
def test_documented_example(row: list[str]) -> None:
    assert tell(events_of(row[0])).verdict() == verdict_of(row[1:])


@EVERY_ROW
def test_all_permutations_tell_the_same_story(row: list[str]) -> None:
    events = events_of(row[0])
    story = tell(events)
    for order in itertools.permutations(events):
        assert tell(order) == story


@EVERY_ROW
def test_all_selections_with_repetition_tell_the_story_of_their_set(row: list[str]) -> None:
    events = events_of(row[0])
    for length in range(1, min(len(events), 4) + 2):
        for choice in itertools.product(range(len(events)), repeat=length):
            assert tell(events[i] for i in choice) == tell(events[i] for i in sorted({*choice}))


def test_the_examples_show_every_outcome_timing_result_and_attribute() -> None:
    verdicts = [verdict_of(row[1:]) for row in ROWS]
    assert {verdict.outcome for verdict in verdicts} == set(Outcome)
    assert {verdict.timing for verdict in verdicts} == {None, *Timing}
    assert {
        event.result for row in ROWS for event in events_of(row[0]) if isinstance(event, Submission)
    } == set(Result)
    assert any(v.junk for v in verdicts)
    assert any(v.duplicates > 1 for v in verdicts)
    assert any(v.delayed_dsn for v in verdicts)


def test_every_outcome_and_timing_is_described() -> None:
    text = DOCS.read_text(encoding="utf-8")
    first_cells = re.findall(r"^\| `([a-z-]+)` \|", text.split("## Attributes")[0], re.MULTILINE)
    assert first_cells == [*Outcome, *Timing]


@pytest.mark.parametrize(
    ("lo", "hi", "timing"),
    [
        (0.0, 0.0, Timing.IN_TIME),
        (0.0, 60.0, Timing.IN_TIME),
        (60.0, 60.0, Timing.IN_TIME),
        (0.0, math.nextafter(60.0, 61.0), Timing.UNCERTAIN),
        (60.0, math.nextafter(60.0, 61.0), Timing.UNCERTAIN),
        (math.nextafter(60.0, 0.0), 61.0, Timing.UNCERTAIN),
        (math.nextafter(60.0, 61.0), 61.0, Timing.LATE),
        (61.0, 61.0, Timing.LATE),
        (-0.5, -0.1, Timing.IN_TIME),
    ],
)
def test_timing_at_its_bounds(lo: float, hi: float, timing: Timing) -> None:
    assert timing_of(Interval(lo, hi), 60.0) is timing
    verdict = tell([intent(60.0), arrival(lo, hi)]).verdict()
    assert verdict.timing is timing
    assert (verdict.outcome is Outcome.LATE) == (timing is Timing.LATE)


INSTANTS = st.sampled_from([0.0, 0.5, 59.0, 60.0, 61.0, 100.0, 2000.0])
# Which folder is the junk folder may be configured anew between two reports of one copy.
ARRIVALS = st.builds(
    lambda ends, copy, junk, renamed: msgspec.structs.replace(
        arrival(min(ends), max(ends), copy=copy, junk=junk), junk=junk != renamed
    ),
    st.tuples(INSTANTS, INSTANTS),
    st.integers(1, 2),
    st.booleans(),
    st.booleans(),
)
SUBMISSIONS = st.builds(
    submission,
    st.sampled_from(list(Result)),
    st.none() | st.sampled_from(list(Stage)),
    st.none() | st.sampled_from(list(Reason)),
)
EVENTS: st.SearchStrategy[CanaryEvent] = st.one_of(
    st.sampled_from([30.0, 60.0]).map(intent),
    SUBMISSIONS,
    ARRIVALS,
    st.booleans().map(lambda lost: expiry(lost=lost)),
    st.sampled_from(["failed", "delayed", "delivered", "relayed", "expanded"]).map(bounce),
)
EVENT_SETS = st.lists(EVENTS, max_size=9)


@given(EVENT_SETS, st.data())
def test_order_and_repetition_never_matter(events: list[CanaryEvent], data: st.DataObject) -> None:
    again = data.draw(st.lists(st.sampled_from(events), max_size=6)) if events else []
    shuffled = data.draw(st.permutations(events + again))
    assert tell(shuffled) == tell(events)


@given(EVENT_SETS)
def test_folding_a_known_event_changes_nothing(events: list[CanaryEvent]) -> None:
    story = tell(events)
    assert all(story.fold(event) == story for event in events)


@given(EVENT_SETS, EVENT_SETS)
def test_a_story_may_rest_on_disk_in_between(
    before: list[CanaryEvent], after: list[CanaryEvent]
) -> None:
    rested = msgspec.json.decode(msgspec.json.encode(tell(before)), type=Story)
    for event in after:
        rested = rested.fold(event)
    assert rested == tell(before + after)


@given(EVENT_SETS)
def test_the_verdict_is_of_one_piece(events: list[CanaryEvent]) -> None:
    verdict = tell(events).verdict()
    arrivals = [event for event in events if isinstance(event, Arrival)]
    seen = verdict.outcome in (Outcome.DELIVERED, Outcome.LATE)
    assert seen == bool(arrivals)
    assert (verdict.delay is not None) == seen
    assert seen or (verdict.timing is None and not verdict.junk and verdict.duplicates == 0)
    assert not seen or (verdict.stage is None and verdict.reason is None)
    assert (verdict.outcome is Outcome.LATE) == (verdict.timing is Timing.LATE)
    places = {(event.folder, event.uidvalidity, event.uid) for event in arrivals}
    assert verdict.duplicates == max(len(places) - 1, 0)
    if verdict.delay is not None:
        assert verdict.delay.lo <= verdict.delay.hi
        assert {verdict.delay.lo, verdict.delay.hi} <= {
            bound for event in arrivals for bound in (event.delay.lo, event.delay.hi)
        }


@given(st.floats(0, 100), st.lists(st.tuples(st.floats(0, 100), st.floats(0, 100)), min_size=1))
def test_true_bounds_of_one_copy_bound_its_delay_however_often_reported(
    truth: float, widths: list[tuple[float, float]]
) -> None:
    reports = [Interval(truth - below, truth + above) for below, above in widths]
    delay = tell(arrival(report.lo, report.hi) for report in reports).verdict().delay
    assert delay is not None
    assert delay.lo <= truth <= delay.hi
    assert delay == Interval(max(r.lo for r in reports), min(r.hi for r in reports))


@given(st.lists(st.tuples(*[st.floats(0, 100)] * 3), min_size=1, max_size=5))
def test_true_bounds_of_all_copies_bound_the_delay_of_the_first(
    copies: list[tuple[float, ...]],
) -> None:
    events = [
        arrival(truth - below, truth + above, copy=number)
        for number, (truth, below, above) in enumerate(copies)
    ]
    delay = tell(events).verdict().delay
    assert delay is not None
    assert delay.lo <= min(truth for truth, _, _ in copies) <= delay.hi


@given(EVENT_SETS)
def test_lost_is_claimed_only_of_accepted_mail_after_a_complete_check(
    events: list[CanaryEvent],
) -> None:
    if tell(events).verdict().outcome is Outcome.LOST:
        assert any(isinstance(event, Expiry) and event.lost for event in events)
        assert any(
            isinstance(event, Submission) and event.result is Result.ACCEPTED for event in events
        )


@given(EVENT_SETS, ARRIVALS)
def test_a_lost_canary_that_turns_up_is_late(events: list[CanaryEvent], found: Arrival) -> None:
    lost = [*events, expiry(lost=True)]
    assert tell([*lost, found]).verdict().outcome is Outcome.LATE


def test_telling_takes_any_iterable_and_nothing_is_pending() -> None:
    assert tell(iter([])).verdict() == Verdict(outcome=Outcome.PENDING)
    assert tell(iter([intent()])) == Story(deadline_s=60.0)


def by_wall(found: Arrival) -> Arrival:
    return msgspec.structs.replace(found, clock="wall")


def test_a_copy_that_the_wall_clock_measured_moves_no_delay_that_is_known_exactly() -> None:
    exact = arrival(70, 71)
    # The clock was set back: by it, a second copy came before the canary was sent.
    for wrong in (by_wall(arrival(0, 1, copy=2)), by_wall(arrival(0, 1))):
        told: list[CanaryEvent] = [intent(60), exact, wrong, wrong]
        for events in itertools.permutations(told):
            verdict = tell(events).verdict()
            assert verdict.delay == Interval(70, 71)
            assert verdict.outcome is Outcome.LATE
            assert verdict.duplicates == (wrong.uid != exact.uid)


def test_without_a_better_one_the_wall_clock_tells() -> None:
    events: list[CanaryEvent] = [
        intent(60),
        by_wall(arrival(10, 20)),
        by_wall(arrival(12, 19)),
    ]
    assert {tell(order).verdict().delay for order in itertools.permutations(events)} == {
        Interval(12, 19)
    }
