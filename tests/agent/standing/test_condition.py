"""When a trouble begins and ends, and that what flaps is told ever more seldom."""

import random

import pytest

from agent.standing.condition import MOST_STEADY, STEADY, Condition, Sign, Trouble

OVERDUE = Trouble("overdue", "transit")
TIMEOUT = Trouble("unreachable", "connect", "timeout")
REFUSED = Trouble("unreachable", "connect", "refused")
MINUTE = 60_000_000_000
WELL = None


def play(*signs: Sign, condition: Condition | None = None, step_ns: int = MINUTE) -> list[Sign]:
    """What is told of signs, one a minute: each trouble that follows."""
    condition = condition or Condition()
    told = []
    for number, sign in enumerate(signs):
        if condition.take(sign, number * step_ns):
            told.append(condition.trouble)
    return told


def test_one_or_two_wrong_ones_are_chance() -> None:
    assert play(OVERDUE, OVERDUE, *[WELL] * 8, OVERDUE, OVERDUE, *[WELL] * 8) == []


@pytest.mark.parametrize(
    "signs",
    [
        [OVERDUE] * 3,
        [WELL] * 50 + [OVERDUE] * 3,
        [OVERDUE, WELL, WELL, WELL, OVERDUE, WELL, WELL, WELL, WELL, OVERDUE],
    ],
)
def test_three_of_ten_begin_a_trouble_told_once(signs: list[Sign]) -> None:
    assert play(*signs, *[OVERDUE] * 20) == [OVERDUE]


def test_three_of_eleven_do_not() -> None:
    assert play(OVERDUE, WELL, WELL, WELL, OVERDUE, *[WELL] * 5, OVERDUE) == []


def test_it_is_over_after_a_run_of_good_ones() -> None:
    sick = [OVERDUE] * 3
    assert play(*sick, *[WELL] * (STEADY - 1), OVERDUE, *[WELL] * (STEADY - 1)) == [OVERDUE]
    assert play(*sick, *[WELL] * STEADY) == [OVERDUE, WELL]


def test_it_suffers_from_what_most_suffered_from() -> None:
    assert play(OVERDUE, TIMEOUT, REFUSED) == [REFUSED]
    assert play(TIMEOUT, OVERDUE, OVERDUE) == [OVERDUE]


def test_why_a_connect_fails_may_vary_without_a_word() -> None:
    assert play(*[TIMEOUT, REFUSED] * 20) == [TIMEOUT]


def test_another_trouble_is_told_once_nothing_is_left_of_the_first() -> None:
    assert play(*[TIMEOUT] * 3, *[OVERDUE] * (STEADY - 1)) == [TIMEOUT]
    assert play(*[TIMEOUT] * 3, *[OVERDUE] * STEADY) == [TIMEOUT, OVERDUE]
    assert play(*[TIMEOUT] * 3, *[OVERDUE, OVERDUE, TIMEOUT] * 10) == [TIMEOUT]
    # Two wrong ones of another kind are too few to be called a trouble, and to be called well.
    assert play(*[TIMEOUT] * 3, OVERDUE, WELL, OVERDUE, WELL, WELL) == [TIMEOUT]


def test_who_has_relapsed_has_longer_to_be_well() -> None:
    condition = Condition()
    flap = [*[OVERDUE] * 3, *[WELL] * STEADY]
    assert play(*flap, condition=condition, step_ns=1) == [OVERDUE, WELL]
    assert play(*flap, condition=condition, step_ns=1) == [OVERDUE]
    assert play(*[WELL] * STEADY, condition=condition, step_ns=1) == [WELL]


def test_what_was_long_ago_is_forgiven() -> None:
    signs = [*[OVERDUE] * 3, *[WELL] * STEADY, *[WELL] * 60, *[OVERDUE] * 3, *[WELL] * STEADY]
    assert play(*signs) == [OVERDUE, WELL, OVERDUE, WELL]


@pytest.mark.parametrize("share", [0.1, 0.3, 0.5, 0.7])
def test_what_flaps_for_a_day_is_told_seldom(share: float) -> None:
    """A canary every two seconds: 43,200 of them."""
    rng = random.Random(1)  # noqa: S311 - a random sequence that repeats
    signs = [OVERDUE if rng.random() < share else WELL for _ in range(43_200)]
    # In an hour it begins at most as often as the steady runs double, and a little more.
    assert len(play(*signs, step_ns=2_000_000_000)) <= 24 * 2 * 6


def test_a_run_never_has_to_be_longer_than_that() -> None:
    condition = Condition()
    for _ in range(30):
        play(*[OVERDUE] * 3, *[WELL] * MOST_STEADY, condition=condition, step_ns=1)
        assert condition.trouble is None


def test_whether_it_is_healthy_is_not_told_before_anything_shows() -> None:
    condition = Condition()
    health = []
    for number, sign in enumerate((OVERDUE, WELL, OVERDUE, OVERDUE)):
        condition.take(sign, number)
        health.append(condition.healthy)
    assert health == [None, True, True, False]
    assert (condition.trouble, condition.since_ns) == (OVERDUE, 3)
