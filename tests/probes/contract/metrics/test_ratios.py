"""Loss and duplication against the definitions, and RFC 5560's examples."""

import math
from collections import Counter

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from probes.contract.events import Interval
from probes.contract.metrics.ratios import Duplication, Loss


def test_the_loss_ratio_counts_lost_of_all() -> None:
    loss = Loss()
    for delay in (Interval(1.0, 1.1), None, Interval(90.0, 95.0), Interval(2.0, 2.0)):
        loss.fold(delay)
    assert loss.ratio() == Interval(0.25, 0.25)


def test_nothing_sent_has_no_loss_ratio() -> None:
    assert Loss().ratio() is None


def test_past_the_threshold_is_lost_and_across_it_is_uncertain() -> None:
    loss = Loss()
    for delay in (Interval(1, 60), Interval(59, 61), Interval(60.5, 70), Interval(5, math.inf)):
        loss.fold(delay, threshold_s=60.0)
    assert loss == Loss(arrived=1, lost=1, uncertain=2)
    assert loss.ratio() == Interval(0.25, 0.75)


def test_without_a_threshold_a_canary_still_awaited_is_uncertain() -> None:
    loss = Loss()
    loss.fold(Interval(5, math.inf))
    assert loss == Loss(uncertain=1)


def test_a_lost_canary_that_turns_up_is_taken_out_and_folded_again() -> None:
    total = Loss(arrived=3, lost=2)
    corrected = total.without(Loss(lost=1)).merged(Loss(arrived=1))
    assert corrected == Loss(arrived=4, lost=1)


@pytest.mark.parametrize("wrong", [Interval(2.0, 1.0), Interval(math.nan, 1.0)])
def test_what_is_no_interval_is_refused(wrong: Interval) -> None:
    with pytest.raises(ValueError, match="allowed is"):
        Loss().fold(wrong)


def duplication(arrivals: list[int]) -> Duplication:
    made = Duplication()
    seen: Counter[int] = Counter()
    for number in arrivals:
        seen[number] += 1
        made.fold(seen[number])
    return made


@pytest.mark.parametrize(
    ("arrivals", "fraction", "rate"),
    [
        ([1, 2, 3, 4], 0.0, 0.0),
        ([1, 2, 3, 3, 4, 4], 0.5, 0.5),
        ([1, 1, 1, 2, 2, 2, 3, 3, 3, 4, 4, 4], 2.0, 1.0),
        ([1, 1, 1, 2, 3, 3, 3, 4], 1.0, 0.5),
    ],
)
def test_the_examples_of_rfc_5560(arrivals: list[int], fraction: float, rate: float) -> None:
    made = duplication(arrivals)
    assert made.duplication_fraction() == fraction
    assert made.replicated_rate() == rate


def test_nothing_arrived_has_no_duplication() -> None:
    assert Duplication().duplication_fraction() is None
    assert Duplication().replicated_rate() is None


def test_a_copy_is_counted_from_one() -> None:
    with pytest.raises(ValueError, match="allowed is 1 or more"):
        Duplication().fold(0)


@given(st.lists(st.integers(0, 9), min_size=1))
def test_duplication_is_what_the_definitions_say(arrivals: list[int]) -> None:
    """RFC 5560 sections 5.1 and 5.2, over the arrival counts of the canaries that arrived."""
    made = duplication(arrivals)
    counts = Counter(arrivals).values()
    fraction = made.duplication_fraction()
    assert fraction == pytest.approx(sum(counts) / len(counts) - 1)
    assert made.replicated_rate() == sum(count > 1 for count in counts) / len(counts)


@given(st.lists(st.integers(0, 9)), st.lists(st.integers(10, 19)))
def test_counts_of_disjoint_canaries_add_up(one: list[int], other: list[int]) -> None:
    merged = duplication(one).merged(duplication(other))
    assert merged == duplication(one + other)
    assert msgspec.json.decode(msgspec.json.encode(merged), type=Duplication) == merged
