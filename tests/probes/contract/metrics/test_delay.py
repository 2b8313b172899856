"""Delay statistics against RFC 7679's examples and against the definition of a percentile."""

import math

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from probes.contract.events import Interval
from probes.contract.metrics import delay, sketch
from probes.contract.metrics.delay import Delay
from probes.contract.metrics.sketch import GROWTH, DelaySketch
from tests.probes.contract.metrics import oracle


def exact(*seconds: float | None) -> list[Delay]:
    """A sample of delays known exactly."""
    return [None if value is None else Interval(value, value) for value in seconds]


def test_the_percentile_of_the_rfc_example() -> None:
    sample = exact(0.100, 0.110, None, 0.090, 0.500)
    assert delay.percentile(sample, 50) == Interval(0.110, 0.110)
    assert delay.percentile(sample, 80) == Interval(0.500, 0.500)
    assert delay.percentile(sample, 81) is None


def test_the_median_of_the_rfc_example_is_the_mean_of_the_middle_two() -> None:
    median = delay.median(exact(0.100, 0.110, None, 0.090))
    assert median is not None
    assert (median.lo, median.hi) == pytest.approx((0.105, 0.105))
    assert delay.median(exact(0.100, None)) is None
    assert delay.median(exact(0.2, 0.1, 0.3)) == Interval(0.2, 0.2)


def test_the_minimum_and_the_share_within_a_threshold_of_the_rfc_example() -> None:
    sample = exact(0.100, 0.110, None, 0.090, 0.500)
    assert delay.minimum(sample) == Interval(0.090, 0.090)
    assert delay.inverse_percentile(sample, 0.103) == Interval(0.4, 0.4)


def test_an_empty_sample_has_no_statistics() -> None:
    assert delay.percentile([], 50) is None
    assert delay.median([]) is None
    assert delay.minimum([]) is None
    assert delay.inverse_percentile([], 1.0) is None
    assert DelaySketch().percentile(50) is None
    assert DelaySketch().inverse_percentile(1.0) is None


def test_percentiles_are_taken_as_decimals() -> None:
    assert [delay.rank(percent, 100) for percent in (0, 7, 29, 57, 100)] == [1, 7, 29, 57, 100]
    assert delay.rank(99.9, 1000) == 999


@pytest.mark.parametrize("percent", [-0.1, 100.1, math.nan])
def test_no_percentage_is_refused_even_of_nothing(percent: float) -> None:
    with pytest.raises(ValueError, match="allowed is 0 to 100"):
        delay.percentile([], percent)
    with pytest.raises(ValueError, match="allowed is 0 to 100"):
        DelaySketch().percentile(percent)


def test_a_rank_among_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match="no values"):
        delay.rank(50, 0)


@pytest.mark.parametrize(
    "wrong",
    [
        Interval(2.0, 1.0),
        Interval(math.nan, 1.0),
        Interval(0.0, math.nan),
        Interval(math.inf, math.inf),
        Interval(-math.inf, 0.0),
    ],
)
def test_what_is_no_interval_is_refused(wrong: Interval) -> None:
    with pytest.raises(ValueError, match="allowed is"):
        delay.percentile([wrong], 50)
    with pytest.raises(ValueError, match="allowed is"):
        DelaySketch().fold(wrong)


def test_a_bound_below_zero_is_an_error_of_clocks() -> None:
    assert delay.percentile([Interval(-0.2, 0.3)], 50) == Interval(0.0, 0.3)


def test_a_canary_still_awaited_leaves_the_upper_bound_open() -> None:
    sample: list[Delay] = [*exact(1.0, 2.0), Interval(5.0, math.inf)]
    assert delay.percentile(sample, 50) == Interval(2.0, 2.0)
    assert delay.percentile(sample, 99) == Interval(5.0, math.inf)
    assert delay.inverse_percentile(sample, 10.0) == Interval(2 / 3, 1.0)


SECONDS = st.floats(0, 4e6) | st.floats(0, 2) | st.sampled_from([0.0, GROWTH**3, 0.0001])


@st.composite
def known_delays(draw: st.DrawFn) -> tuple[Delay, float]:
    """A delay as measured, and the true one, infinite when lost."""
    if draw(st.integers(0, 5)) == 0:
        return None, math.inf
    lo, true, hi = sorted(draw(st.tuples(SECONDS, SECONDS, SECONDS)))
    return Interval(lo, hi), true


SAMPLES = st.lists(known_delays(), min_size=1, max_size=30)


def bounds(sample: list[Delay]) -> tuple[list[float], list[float]]:
    return (
        [math.inf if value is None else value.lo for value in sample],
        [math.inf if value is None else value.hi for value in sample],
    )


@given(SAMPLES, st.integers(0, 100))
def test_a_percentile_is_that_of_the_bounds_and_contains_the_true_one(
    known: list[tuple[Delay, float]], percent: int
) -> None:
    sample = [value for value, _ in known]
    los, his = bounds(sample)
    found = delay.percentile(sample, percent)
    true = oracle.defined(oracle.percentile([true for _, true in known], percent))
    if found is None:
        assert true is None
        assert oracle.defined(oracle.percentile(los, percent)) is None
    else:
        assert found == Interval(oracle.percentile(los, percent), oracle.percentile(his, percent))
        assert true is not None
        assert found.lo <= true <= found.hi


@given(SAMPLES, SECONDS)
def test_the_share_within_a_threshold_contains_the_true_one(
    known: list[tuple[Delay, float]], threshold_s: float
) -> None:
    sample = [value for value, _ in known]
    share = delay.inverse_percentile(sample, threshold_s)
    rough = filled(sample).inverse_percentile(threshold_s)
    assert share is not None
    assert rough is not None
    true = sum(value <= threshold_s for _, value in known) / len(known)
    assert rough.lo <= share.lo <= true <= share.hi <= rough.hi


def filled(sample: list[Delay]) -> DelaySketch:
    made = DelaySketch()
    for value in sample:
        made.fold(value)
    return made


@given(SAMPLES, st.integers(0, 100))
def test_a_sketch_is_wider_by_no_more_than_a_bucket(
    known: list[tuple[Delay, float]], percent: int
) -> None:
    sample = [value for value, _ in known]
    found = delay.percentile(sample, percent)
    rough = filled(sample).percentile(percent)
    if found is None:
        assert rough is None
        return
    assert rough is not None
    assert rough.lo <= found.lo
    assert found.hi <= rough.hi
    if 0.0001 * GROWTH < found.lo < 31 * 86400.0 / GROWTH:
        assert rough.lo * GROWTH >= found.lo * (1 - 1e-9)
    if 0.0001 < found.hi < 31 * 86400.0 / GROWTH:
        assert rough.hi <= found.hi * GROWTH * (1 + 1e-9)


@given(SAMPLES, SAMPLES)
def test_sketches_add_up_to_the_sketch_of_all(
    one: list[tuple[Delay, float]], other: list[tuple[Delay, float]]
) -> None:
    samples = [[value for value, _ in known] for known in (one, other)]
    merged = filled(samples[0]).merged(filled(samples[1]))
    assert merged == filled(samples[0] + samples[1])
    assert merged.count() == len(one) + len(other)


@given(SAMPLES)
def test_a_sketch_can_be_written_down(known: list[tuple[Delay, float]]) -> None:
    made = filled([value for value, _ in known])
    assert msgspec.json.decode(msgspec.json.encode(made), type=DelaySketch) == made


def test_a_sketch_keeps_no_more_buckets_than_it_says() -> None:
    assert sketch.TOP - sketch.BOTTOM + 1 == 1214
    made = filled(exact(*(1.007**exponent for exponent in range(-3000, 3000))))
    assert len(made.los) == len(made.his) == 1214


@given(SAMPLES, SAMPLES, st.data())
def test_what_is_unfolded_leaves_no_trace(
    some: list[tuple[Delay, float]], others: list[tuple[Delay, float]], data: st.DataObject
) -> None:
    kept, corrected = ([delay for delay, _ in pairs] for pairs in (some, others))
    made = filled(data.draw(st.permutations(kept + corrected)))
    for value in data.draw(st.permutations(corrected)):
        made.unfold(value)
    assert made == filled(kept)


def test_what_was_not_folded_cannot_be_unfolded() -> None:
    made = filled(exact(1.0))
    for wrong in (None, Interval(2.0, 2.0), Interval(1.0, 2.0), Interval(2.0, 1.0)):
        with pytest.raises(ValueError, match=r"to take out|allowed is"):
            made.unfold(wrong)
        assert made == filled(exact(1.0))
