"""How often a folder is looked into, and what that may cost."""

from itertools import accumulate

import pytest

from agent.mailbox.cadence import INBOX, JUNK, Budget, Cadence


def test_young_canaries_are_looked_for_often_and_old_ones_seldom() -> None:
    waits = [INBOX.wait_s(age, has_idle=True) for age in (0.0, 0.1, 1.0, 10.0, 100.0, 1000.0, 1e6)]
    assert waits == pytest.approx([0.015, 0.015, 0.025, 0.25, 2.5, 25.0, 30.0])


def test_with_nothing_in_flight_the_server_tells_or_is_asked_now_and_then() -> None:
    assert INBOX.wait_s(None, has_idle=True) == 240.0
    assert INBOX.wait_s(None, has_idle=False) == 30.0


def test_junk_is_looked_into_less_often() -> None:
    assert JUNK.wait_s(0.0, has_idle=True) == 0.5
    assert JUNK.wait_s(20.0, has_idle=True) == 2.0


def test_the_error_of_a_delay_is_a_fixed_share_of_it() -> None:
    cadence = Cadence()
    age, checks = 0.0, 0
    while age < 3600.0:
        wait = cadence.wait_s(age, has_idle=True)
        assert wait <= max(0.015, 0.025 * age)
        age += wait
        checks += 1
    # A canary that is stuck for an hour costs hundreds of checks, not a hundred thousand.
    assert checks < 500


def test_a_budget_lets_a_burst_pass_and_then_its_rate() -> None:
    budget = Budget(per_minute=600)
    waits = [budget.take(1000.0) for _ in range(103)]
    assert waits[:100] == [0.0] * 100
    assert waits[100:] == pytest.approx([0.1, 0.2, 0.3])
    assert budget.spent == 103


def test_over_a_long_time_the_rate_is_kept() -> None:
    budget = Budget(per_minute=60)
    now = 0.0
    sent = []
    for _ in range(200):
        now += budget.take(now)
        sent.append(now)
    assert sent[-1] == pytest.approx(200 - 20, abs=1.0)
    assert list(accumulate(sent, max)) == sent


def test_a_quiet_time_fills_it_up_again_but_no_further() -> None:
    budget = Budget(per_minute=600)
    for _ in range(100):
        budget.take(0.0)
    assert budget.take(5.0, 50) == 0.0
    assert budget.take(5.0) > 0
    assert budget.take(1e9, 100) == 0.0
    assert budget.take(1e9) > 0


def test_a_clock_that_goes_back_gives_nothing_away() -> None:
    budget = Budget(per_minute=60)
    budget.take(100.0, 20)
    assert budget.take(50.0) == pytest.approx(1.0)
    assert budget.take(100.0) == pytest.approx(2.0)


def test_a_small_budget_still_follows_one_canary() -> None:
    budget = Budget(per_minute=1)
    assert [budget.take(0.0) for _ in range(20)] == [0.0] * 20
    assert budget.take(0.0) == pytest.approx(60.0)
