"""Waits that double, are bounded, and never shrink to nothing."""

import random

from agent.backoff import Backoff
from tests.agent.fakes import rng


class Extreme(random.Random):
    """A random source that always draws the same."""

    def __init__(self, value: float) -> None:
        super().__init__()
        self._value = value

    def random(self) -> float:
        """The value."""
        return self._value


def test_waits_double_up_to_the_most() -> None:
    backoff = Backoff(Extreme(0.0), first_s=0.5, most_s=3.0)
    assert [backoff.next_s() for _ in range(5)] == [0.5, 1.0, 2.0, 3.0, 3.0]


def test_jitter_takes_at_most_half() -> None:
    backoff = Backoff(Extreme(0.999999), first_s=1.0, most_s=8.0)
    waits = [backoff.next_s() for _ in range(4)]
    assert all(
        full / 2 <= wait < full / 2 + 0.01 for wait, full in zip(waits, (1, 2, 4, 8), strict=True)
    )


def test_success_begins_anew() -> None:
    backoff = Backoff(Extreme(0.0))
    assert [backoff.next_s(), backoff.next_s()] == [0.5, 1.0]
    backoff.reset()
    assert backoff.next_s() == 0.5


def test_a_least_wait_is_kept_whatever_was_drawn() -> None:
    backoff = Backoff(Extreme(0.5))
    assert backoff.next_s(at_least_s=60.0) == 60.0
    assert backoff.next_s() == 0.75


def test_the_same_source_gives_the_same_waits() -> None:
    one, other = Backoff(rng()), Backoff(rng())
    assert [one.next_s() for _ in range(9)] == [other.next_s() for _ in range(9)]
