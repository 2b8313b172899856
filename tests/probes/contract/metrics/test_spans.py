"""Arrival times and lateness as intervals, never narrower than what is known."""

import math
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from probes.contract.events import Interval
from probes.contract.metrics.spans import Span, arrival_span, late_time

NS = 10**9


@given(st.floats(0, 1e6), st.floats(0, 1e6))
def test_an_arrival_lies_in_its_span(one: float, other: float) -> None:
    lo, hi = sorted((one, other))
    span = arrival_span(0, Interval(lo, hi))
    # A float times a thousand million is rounded, by far less than a nanosecond of each second.
    slack = Fraction(hi) * NS / 2**52
    assert span.lo_ns <= Fraction(lo) * NS + slack
    assert Fraction(hi) * NS - slack <= span.hi_ns
    assert span.hi_ns - span.lo_ns <= (Fraction(hi) - Fraction(lo)) * NS + 2 + 2 * slack


@pytest.mark.parametrize("wrong", [Interval(1, math.inf), Interval(math.nan, 1), Interval(2, 1)])
def test_what_is_no_finite_interval_is_refused(wrong: Interval) -> None:
    with pytest.raises(ValueError, match="allowed is a finite interval"):
        arrival_span(0, wrong)


def test_lateness_is_at_least_the_nearest_and_at_most_the_farthest_apart() -> None:
    assert late_time(Span(5 * NS, 6 * NS), Span(2 * NS, 3 * NS)) == Interval(2.0, 4.0)


def test_order_known_from_the_mailbox_leaves_nothing_below_zero() -> None:
    assert late_time(Span(2 * NS, 6 * NS), Span(1 * NS, 3 * NS)) == Interval(0.0, 5.0)
    assert late_time(Span(1 * NS, 1 * NS), Span(2 * NS, 3 * NS)) == Interval(0.0, 0.0)
