"""So much at once, then at a steady rate, for each by itself and in bounded memory."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from collector.allowance import REMEMBERED, Allowance
from tests.collector.control.stores import HandClock


def test_so_many_at_once_and_then_one_at_a_time() -> None:
    clock = HandClock()
    allowed = Allowance(3, 6.0, clock.monotonic)
    for _ in range(3):
        assert allowed.wait_s("sfo") == 0.0
        allowed.spend("sfo")
    assert allowed.wait_s("sfo") == pytest.approx(6.0)
    assert allowed.wait_s("fra") == 0.0
    clock.advance(4)
    assert allowed.wait_s("sfo") == pytest.approx(2.0)
    clock.advance(2)
    assert allowed.wait_s("sfo") == 0.0
    assert allowed.wait_s("sfo", 2) == pytest.approx(6.0)


def test_who_saves_has_no_more_than_the_most() -> None:
    clock = HandClock()
    allowed = Allowance(2, 1.0, clock.monotonic)
    allowed.spend("sfo")
    clock.advance(10_000)
    allowed.spend("sfo", 2)
    assert allowed.wait_s("sfo") == pytest.approx(1.0)


def test_what_is_given_back_was_not_spent() -> None:
    clock = HandClock()
    allowed = Allowance(10, 1.0, clock.monotonic)
    allowed.spend("sfo", 15)
    assert allowed.wait_s("sfo", 0) == pytest.approx(5.0)
    allowed.give_back("sfo", 6)
    assert allowed.wait_s("sfo") == 0.0
    assert allowed.wait_s("sfo", 2) == pytest.approx(1.0)
    allowed.give_back("fra", 6)
    assert len(allowed) == 1


def test_a_clock_that_is_set_back_gives_nothing_away() -> None:
    clock = HandClock()
    allowed = Allowance(1, 6.0, clock.monotonic)
    allowed.spend("sfo")
    clock.advance(-3600)
    assert allowed.wait_s("sfo") == pytest.approx(3606.0)


def test_memory_is_bounded_and_the_latest_are_known() -> None:
    allowed = Allowance(1, 6.0, HandClock().monotonic)
    for number in range(REMEMBERED + 10):
        allowed.spend(str(number))
        allowed.spend("busy")
    assert len(allowed) == REMEMBERED
    assert allowed.wait_s("busy") > 0.0
    assert allowed.wait_s("0") == 0.0


@given(st.lists(st.floats(0.0, 20.0), min_size=1, max_size=60))
def test_in_no_time_is_there_more_than_the_most_and_the_rate(pauses: list[float]) -> None:
    clock = HandClock()
    allowed = Allowance(5, 2.0, clock.monotonic)
    begun_s, had = clock.monotonic(), 0
    for pause_s in pauses:
        clock.advance(pause_s)
        if allowed.wait_s("sfo") == 0.0:
            allowed.spend("sfo")
            had += 1
        assert had <= 5 + (clock.monotonic() - begun_s) / 2.0 + 0.001
