"""Which canary is due when: in order, no bursts, no silence after a clock was set."""

import random
from itertools import pairwise

import msgspec
import pytest

from agent.schedule import STALE_AFTER_S, Schedule
from probes.contract.names import Path
from probes.contract.plan import PathPlan, next_due_ns
from tests.agent.fakes import S, plan_of

NOW = 1_760_000_000 * S


def paths(count: int, period_s: float = 10.0) -> list[PathPlan]:
    """Paths whose phases are spread over the period."""
    return [
        plan_of(Path("sfo", f"r{i}", "acme/inbox"), period_s=period_s, phase_s=i * period_s / count)
        for i in range(count)
    ]


def test_without_paths_nothing_is_ever_due() -> None:
    empty = Schedule([], NOW)
    assert (len(empty), empty.next_ns(), empty.due(NOW + S)) == (0, None, [])


def test_nothing_is_due_at_the_start() -> None:
    schedule = Schedule(paths(5), NOW)
    assert schedule.due(NOW) == []
    assert len(schedule) == 5


def test_each_path_comes_once_a_period_in_order() -> None:
    schedule = Schedule(paths(5), NOW)
    slots = []
    while (next_ns := schedule.next_ns()) is not None and next_ns <= NOW + 30 * S:
        slots += schedule.due(next_ns)
    assert len(slots) == 15
    assert all(a.due_ns <= b.due_ns for a, b in pairwise(slots))
    assert not any(slot.stale for slot in slots)
    own = [slot.due_ns for slot in slots if slot.plan.path.relay == "r3"]
    assert [b - a for a, b in pairwise(own)] == [10 * S, 10 * S]


def test_what_was_slept_through_is_reported_once_and_not_made_up_for() -> None:
    schedule = Schedule(paths(4), NOW)
    slots = schedule.due(NOW + 1000 * S)
    stale = [slot for slot in slots if slot.stale]
    assert len(stale) == 4
    assert len({slot.plan.path for slot in stale}) == 4
    assert len(slots) <= 8
    assert (schedule.next_ns() or 0) > NOW + 1000 * S


def test_a_canary_is_stale_only_beyond_the_bound() -> None:
    schedule = Schedule(paths(1), NOW)
    due = schedule.next_ns() or 0
    [just] = schedule.due(due + round(STALE_AFTER_S * S))
    assert not just.stale
    due = schedule.next_ns() or 0
    [past] = schedule.due(due + round(STALE_AFTER_S * S) + 1)
    assert past.stale


def test_a_clock_that_was_set_back_silences_nothing() -> None:
    schedule = Schedule(paths(2), NOW)
    schedule.due(NOW + 10 * S)
    back = NOW - 3600 * S
    assert schedule.due(back) == []
    assert (schedule.next_ns() or 0) <= back + 10 * S
    assert len(schedule.due(back + 10 * S)) == 2


def test_a_clock_that_was_set_back_a_little_repeats_nothing() -> None:
    schedule = Schedule(paths(1), NOW)
    due = schedule.next_ns() or 0
    assert len(schedule.due(due)) == 1
    assert schedule.due(due - S) == []
    assert schedule.due(due + S) == []


def test_a_hundred_thousand_paths_are_spread_out() -> None:
    schedule = Schedule(paths(100_000, period_s=1000.0), NOW)
    counts = [len(schedule.due(NOW + second * S)) for second in range(1, 11)]
    assert sum(counts) in (999, 1000, 1001)
    assert max(counts) <= 101


# --- other paths ----------------------------------------------------------------------------


def every_due(schedule: Schedule, until_ns: int) -> list[tuple[str, int]]:
    """All slots up to then, each taken when it is due: relay and due time."""
    slots = []
    while (next_ns := schedule.next_ns()) is not None and next_ns <= until_ns:
        slots += schedule.due(next_ns)
    return [(slot.plan.path.relay, slot.due_ns) for slot in slots]


def test_paths_that_stay_keep_their_slots_and_others_begin_with_their_next() -> None:
    whole, late = paths(5), NOW + 33 * S
    schedule = Schedule(whole[:3], NOW)
    every_due(schedule, late)
    other = schedule.replaced(whole[1:], late)
    assert every_due(other, late + 30 * S) == every_due(Schedule(whole[1:], late), late + 30 * S)
    # The old one is as it was, should the new one not be taken after all.
    assert every_due(schedule, late + 30 * S) == every_due(Schedule(whole[:3], late), late + 30 * S)


def test_a_slot_that_has_come_and_was_not_asked_for_yet_is_not_lost() -> None:
    [plan] = paths(1)
    schedule = Schedule([plan], NOW)
    due = schedule.next_ns() or 0
    another_deadline = PathPlan(plan.path, plan.period_s, plan.phase_s, 9.0, 99.0)
    other = schedule.replaced([another_deadline], due + S)
    [slot] = other.due(due + S)
    assert (slot.due_ns, slot.plan.deadline_s, slot.stale) == (due, 9.0, False)


def test_a_slot_that_was_used_is_not_used_again_when_the_clock_is_set_back_a_little() -> None:
    schedule = Schedule(paths(1), NOW)
    due = schedule.next_ns() or 0
    assert len(schedule.due(due)) == 1
    other = schedule.replaced(paths(1), due - S)
    assert other.due(due + S) == []


def test_another_rhythm_takes_its_first_slot_from_now_on() -> None:
    [plan] = paths(1, period_s=1000.0)
    faster = PathPlan(plan.path, 4.0, 1.0, 5.0, 30.0)
    other = Schedule([plan], NOW).replaced([faster], NOW + 2 * S)
    assert other.next_ns() == next_due_ns(faster, NOW + 2 * S)
    assert len(other) == 1
    assert Schedule([plan], NOW).replaced([], NOW).next_ns() is None


def firsts(schedule: Schedule, at_ns: int) -> dict[Path, int]:
    """The slot that each path waits for; none of them is later than that."""
    found: dict[Path, int] = {}
    for slot in schedule.due(at_ns):
        found.setdefault(slot.plan.path, slot.due_ns)
    return found


def changed(plan: PathPlan, rng: random.Random) -> PathPlan:
    """The same plan, an equal one, or one that differs in this or that."""
    change: dict[str, float] = rng.choice(
        [{}, {"deadline_s": 9.0}, {"period_s": 7.0}, {"phase_s": 0.5}, {"jitter_s": 1.5}]
    )
    same = rng.random() < 0.5
    return plan if same else msgspec.structs.replace(plan, **change)


@pytest.mark.parametrize("seed", range(50))
def test_whatever_changes_each_path_waits_for_its_slot_or_its_first(seed: int) -> None:
    rng = random.Random(seed)  # noqa: S311 - a random sequence that repeats
    whole = paths(30)
    before = [plan for plan in whole if rng.random() < 0.7]
    schedule = Schedule(before, NOW)
    now = NOW + rng.randrange(40 * S)
    schedule.due(now)
    now += rng.randrange(-3 * S, 3 * S)
    after = [changed(plan, rng) for plan in whole if rng.random() < 0.7]
    rng.shuffle(after)
    other, end = schedule.replaced(after, now), now + 60 * S
    waiting, was = firsts(schedule, end), {plan.path: plan for plan in before}
    expected = {}
    for plan in after:
        old = was.get(plan.path)
        rhythm = (plan.period_s, plan.phase_s, plan.jitter_s)
        stays = old is not None and (old.period_s, old.phase_s, old.jitter_s) == rhythm
        expected[plan.path] = waiting[plan.path] if stays else next_due_ns(plan, now)
    assert firsts(other, end) == expected
