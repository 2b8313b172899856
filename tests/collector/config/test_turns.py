"""What one customer may ask: one thing at a time, and so many changes; operators are not bound."""

import pytest

from collector.config.turns import CHANGES_AT_ONCE, TooOftenError, Turns
from collector.control.principal import Kind, Principal

ANN = Principal(Kind.OPERATOR, "ann", "t1")
ACME = Principal(Kind.CUSTOMER, "acme", "t2")
ACME_TOO = Principal(Kind.CUSTOMER, "acme", "t3")
GLOBEX = Principal(Kind.CUSTOMER, "globex", "t4")


def test_one_at_a_time_whatever_the_token() -> None:
    turns = Turns()
    with turns.one(ACME), turns.one(GLOBEX), turns.one(ANN), turns.one(ANN):
        with pytest.raises(TooOftenError) as caught, turns.one(ACME_TOO):
            pass
        assert caught.value.retry_after_s == 1
    with turns.one(ACME_TOO):
        pass


def _change(turns: Turns, who: Principal) -> int:
    """In how many seconds it may; 0 when it was made."""
    try:
        turns.may_change(who)
    except TooOftenError as error:
        return error.retry_after_s
    turns.changed(who)
    return 0


def test_some_changes_at_once_and_then_so_many_an_hour() -> None:
    now_s = 1000.0
    turns = Turns(60, lambda: now_s)
    assert [_change(turns, ACME) for _ in range(CHANGES_AT_ONCE + 1)] == [0] * CHANGES_AT_ONCE + [
        60
    ]
    assert _change(turns, ACME_TOO) == 60
    assert _change(turns, GLOBEX) == 0
    assert [_change(turns, ANN) for _ in range(100)] == [0] * 100
    now_s += 59.5
    assert _change(turns, ACME) == 1
    now_s += 0.5
    assert [_change(turns, ACME) for _ in range(2)] == [0, 60]
    now_s += 86400.0
    assert [_change(turns, ACME) for _ in range(CHANGES_AT_ONCE + 1)][-2:] == [0, 60]


def test_one_change_an_hour_is_one() -> None:
    turns = Turns(1, lambda: 0.0)
    assert [_change(turns, ACME) for _ in range(2)] == [0, 3600]
