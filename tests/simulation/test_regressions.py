"""Schedules written out: where an agent of before went wrong, and what chance seldom draws."""

from collections import Counter
from dataclasses import replace
from pathlib import Path

from probes.contract.events import Arrival, Submission
from probes.contract.outcome import Outcome, tell
from probes.contract.stages import Reason
from tests.simulation.estate import REMEMBER_S
from tests.simulation.invariants import judge
from tests.simulation.run import play
from tests.simulation.scenario import BASE, RELAYS, LifePlan, Spell


def test_canaries_in_the_air_are_known_when_the_clock_is_set_past_remembering(
    tmp_path: Path,
) -> None:
    """They looked like replays of old canaries, and were called lost."""
    spells = (Spell("slow", "relay-a", 0.0, 60.0),)
    record = play(replace(BASE, spells=spells, steps=((30.0, 3600.0),)), tmp_path)
    assert judge(record) == []


def test_a_bounce_ends_the_wait_in_the_mailbox_that_the_canary_was_sent_to(tmp_path: Path) -> None:
    """It ended in the bounce mailbox, where nobody waited, and the canary was lost as well."""
    spells = (Spell("dsn", "relay-a", 0.0, 60.0),)
    assert judge(play(replace(BASE, spells=spells, loss_after_s=120.0), tmp_path)) == []


def test_bounces_are_found_in_a_mailbox_that_opens_for_the_first_time_later(tmp_path: Path) -> None:
    """Nothing is awaited in a bounce mailbox, so its reader began behind what lay there."""
    lives = (LifePlan(30.0, "stop", 0.1), LifePlan(60.0, "stop", 0.1))
    spells = (
        Spell("imap-login", "monitor/bounces", 0.0, 29.0),
        Spell("dsn", "relay-a", 0.0, 60.0),
    )
    assert judge(play(replace(BASE, lives=lives, spells=spells), tmp_path)) == []


def test_every_copy_is_counted_in_a_mailbox_that_opens_for_the_first_time_later(
    tmp_path: Path,
) -> None:
    """A copy after the first was taken for one that was counted long ago."""
    spells = (
        Spell("imap-login", "acme/inbox", 0.0, 40.0),
        Spell("dup", "relay-a", 0.0, 60.0),
    )
    for seed in range(4):
        (tmp_path / str(seed)).mkdir()
        record = play(replace(BASE, seed=seed, spells=spells), tmp_path / str(seed))
        assert judge(record) == []


def test_a_mailbox_that_never_comes_back_leaves_its_canaries_unknown(tmp_path: Path) -> None:
    """Nobody looked, so nobody may call them lost; not before they are forgotten, either."""
    spells = (Spell("imap-down", "acme/inbox", 30.0, 1e9),)
    record = play(replace(BASE, spells=spells, tail_s=REMEMBER_S + 120.0), tmp_path)
    told: Counter[Outcome] = Counter()
    for canary, events in record.by_canary().items():
        truth = record.truth(canary)
        assert truth is not None
        outcome = tell(event for _, event in events).verdict().outcome
        if truth.mailbox == "acme/inbox" and truth.sent_s > 30.0:
            told[outcome] += 1
        elif truth.mailbox != "acme/inbox":
            assert outcome is not Outcome.UNKNOWN
    assert set(told) <= {Outcome.UNKNOWN, Outcome.BOUNCED}
    assert told[Outcome.UNKNOWN] > 5


def test_a_canary_that_overtook_its_relays_reply_has_a_submission_after_a_kill(
    tmp_path: Path,
) -> None:
    """Its flight was forgotten with its arrival, and nothing was left to be told."""
    lives = (LifePlan(25.0, "kill", 5.0), LifePlan(60.0, "stop", 0.1))
    spells = tuple(Spell("accept-hang", relay, 0.0, 60.0) for relay in RELAYS)
    record = play(replace(BASE, lives=lives, spells=spells), tmp_path)
    assert judge(record) == []
    overtaken = [
        tell(event for _, event in events).verdict().outcome
        for events in record.by_canary().values()
        for _, event in events
        if isinstance(event, Submission) and event.reason is Reason.INTERRUPTED
    ]
    assert Outcome.DELIVERED in overtaken


def test_second_copies_are_measured_truly_across_a_clock_that_is_set(tmp_path: Path) -> None:
    """Their flight is forgotten with the first, and the wall clock was taken at its word."""
    spells = tuple(Spell("dup", relay, 0.0, 60.0) for relay in RELAYS)
    lives = (LifePlan(21.0, "kill", 5.0), LifePlan(60.0, "stop", 0.1))
    # One of the steps is made while the agent is down.
    steps = ((10.0, -90.0), (23.0, 300.0), (40.0, -7.0))
    record = play(replace(BASE, spells=spells, lives=lives, steps=steps), tmp_path)
    assert judge(record) == []
    by_wall = [
        event.delay
        for events in record.by_canary().values()
        for _, event in events
        if isinstance(event, Arrival) and event.clock == "wall"
    ]
    assert len(by_wall) > 20
    assert max(delay.hi for delay in by_wall) > 90.0, "some lie across a step"
    assert min(delay.hi for delay in by_wall) < 30.0, "and some do not"


def test_an_agent_that_looks_as_often_as_in_production_measures_closely(tmp_path: Path) -> None:
    """Intervals as wide as the cadence makes them, around the true delays."""
    record = play(replace(BASE, default_limits=True, has_junk=False), tmp_path)
    assert judge(record) == []
    widths = [
        event.delay.hi - event.delay.lo
        for events in record.by_canary().values()
        for _, event in events
        if isinstance(event, Arrival) and event.delay.hi < 5.0
    ]
    # A check costs up to 120 ms here, two of them bound an arrival, and ten a second are allowed.
    assert len(widths) > 20
    assert sorted(widths)[len(widths) // 2] < 0.4
