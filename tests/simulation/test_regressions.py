"""Schedules in which an agent of before went wrong, reduced to what it takes."""

from dataclasses import replace
from pathlib import Path

from tests.simulation.invariants import judge
from tests.simulation.run import play
from tests.simulation.scenario import LifePlan, Scenario, Spell

BASE = Scenario(
    seed=1,
    active_s=60.0,
    lives=(LifePlan(60.0, "stop", 0.1),),
    spells=(),
    steps=(),
    stalls=(),
    period_s=8.0,
    has_junk=True,
    has_idle=True,
    exports=False,
    rotates=False,
    per_relay=20,
    foreign_every_s=1e9,
    loss_after_s=30.0,
)


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
