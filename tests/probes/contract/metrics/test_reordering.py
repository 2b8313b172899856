"""Reordering against RFC 4737's worked examples and against its definitions."""

from dataclasses import dataclass

import msgspec
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from probes.contract.events import Interval
from probes.contract.metrics.missing import Standing
from probes.contract.metrics.reordering import (
    MAX_DEGREE,
    Judgement,
    ReorderCounts,
    Reordering,
    new_stream,
)
from probes.contract.metrics.spans import Span
from tests.probes.contract.metrics import oracle

MS = 1_000_000


def fold_all(stream: Reordering, numbers: list[int], times_ns: list[int]) -> list[Judgement]:
    return [
        stream.fold(seq, Span(at_ns, at_ns)) for seq, at_ns in zip(numbers, times_ns, strict=True)
    ]


@dataclass(frozen=True)
class Example:
    """A table of RFC 4737 section 7: arrival order, DstTime in ms; per reordered number its extent,
    late time in ms and degree of n-reordering."""

    numbers: list[int]
    times_ms: list[int]
    reordered: dict[int, tuple[int, int, int]]
    gaps: dict[int, int]


EXAMPLES = [
    pytest.param(
        Example(
            numbers=[1, 2, 3, 5, 6, 7, 8, 4, 9, 10],
            times_ms=[68, 88, 108, 148, 168, 188, 208, 210, 228, 248],
            reordered={4: (4, 62, 4)},
            gaps={5: 1},
        ),
        id="section 7.1: packet 4 reordered",
    ),
    pytest.param(
        Example(
            numbers=[1, 2, 3, 4, 7, 5, 6, 8, 9, 10],
            times_ms=[68, 88, 108, 128, 188, 189, 190, 208, 228, 248],
            reordered={5: (1, 1, 1), 6: (2, 2, 0)},
            gaps={7: 2},
        ),
        id="section 7.2: packets 5 and 6 reordered",
    ),
    pytest.param(
        Example(
            numbers=[1, 2, 3, 7, 8, 9, 10, 4, 5, 6, 11],
            times_ms=[68, 88, 108, 188, 208, 228, 248, 250, 252, 256, 268],
            reordered={4: (4, 62, 4), 5: (5, 64, 0), 6: (6, 68, 0)},
            gaps={7: 3},
        ),
        id="section 7.3: packets 4, 5 and 6 reordered",
    ),
]


@pytest.mark.parametrize("table", EXAMPLES)
def test_worked_examples_of_rfc_4737(table: Example) -> None:
    stream = new_stream(first=1)
    judged = fold_all(stream, table.numbers, [at * MS for at in table.times_ms])
    for seq, judgement in zip(table.numbers, judged, strict=True):
        if seq in table.reordered:
            extent, late_ms, degree = table.reordered[seq]
            late = Interval(late_ms / 1000, late_ms / 1000)
            assert judgement == Judgement(
                standing=Standing.REORDERED, extent=extent, late=late, degree=degree
            )
        else:
            assert judgement == Judgement(standing=Standing.IN_ORDER, gap=table.gaps.get(seq, 0))
    assert stream.counts.reordered_ratio() == len(table.reordered) / len(table.numbers)
    assert stream.missing.ranges == []


def test_sums_of_the_third_example() -> None:
    stream = new_stream(first=1)
    fold_all(stream, [1, 2, 3, 7, 8, 9, 10, 4, 5, 6, 11], [at * MS for at in range(11)])
    counts = stream.counts
    assert counts.reordered_ratio() == 3 / 11
    assert counts.mean_extent() == 5.0
    assert counts.extent_max == 6
    assert [counts.n_reordered_ratio(n) for n in (1, 4, 5)] == [1 / 11, 1 / 11, 0.0]
    assert counts.latest == Interval(0.006, 0.006)
    assert (counts.discontinuities, counts.gap_packets) == (1, 3)
    # Seven in order, then three reordered in succession; the last run has not ended.
    assert (counts.runs, counts.run_packets, counts.run_squares, counts.run_max) == (1, 7, 49, 7)
    assert stream.run == 1


def test_nothing_arrived_has_no_ratio() -> None:
    counts = ReorderCounts()
    assert counts.reordered_ratio() is None
    assert counts.mean_extent() is None
    assert counts.n_reordered_ratio(1) is None


def test_lost_numbers_are_a_gap_and_not_reordering() -> None:
    stream = new_stream(first=1)
    judged = fold_all(stream, [1, 2, 6, 7], [0, 1, 2, 3])
    assert [judgement.standing for judgement in judged] == [Standing.IN_ORDER] * 4
    assert [judgement.gap for judgement in judged] == [0, 0, 3, 0]


def test_only_the_first_copy_counts() -> None:
    stream = new_stream(first=1)
    judged = fold_all(stream, [1, 3, 1, 2, 2, 3, 4], list(range(7)))
    copy = Judgement(standing=Standing.COPY)
    assert [judged[at] for at in (2, 4, 5)] == [copy] * 3
    assert judged[3].extent == 1  # the copy of 1 between 3 and 2 takes no place
    assert (stream.counts.received, stream.counts.copies) == (4, 3)


def test_late_time_is_an_interval() -> None:
    stream = new_stream(first=1)
    stream.fold(2, Span(10 * MS, 40 * MS))
    assert stream.fold(1, Span(30 * MS, 90 * MS)).late == Interval(0.0, 0.08)


def test_a_stream_taken_up_in_its_middle_judges_nothing_from_before() -> None:
    stream = new_stream(first=500)
    judged = fold_all(stream, [500, 499, 502, 501], list(range(4)))
    assert [judgement.standing for judgement in judged] == [
        Standing.IN_ORDER,
        Standing.UNJUDGED,
        Standing.IN_ORDER,
        Standing.REORDERED,
    ]


def test_past_the_bound_the_lowest_numbers_are_given_up() -> None:
    stream = new_stream(first=1, limit=2)
    judged = fold_all(stream, [2, 4, 6, 1, 3, 5], list(range(6)))
    assert [judgement.standing for judgement in judged[3:]] == [
        Standing.UNJUDGED,
        Standing.REORDERED,
        Standing.REORDERED,
    ]
    assert [judgement.extent for judgement in judged[3:]] == [None, 2, 2]
    assert stream.counts.received == 5


def test_one_stuck_stretch_costs_one_range_however_long() -> None:
    stream = new_stream(first=0, limit=1)
    numbers = [*range(50_000, 50_100), *range(50_000)]
    fold_all(stream, numbers, list(range(len(numbers))))
    assert stream.counts.reordered == 50_000
    assert stream.counts.unjudged == 0


@pytest.mark.parametrize("limit", [0, -1])
def test_a_bound_below_one_is_refused(limit: int) -> None:
    with pytest.raises(ValueError, match="allowed is 1 or more"):
        new_stream(limit=limit)


@pytest.mark.parametrize("n", [0, MAX_DEGREE + 1])
def test_degrees_that_are_not_counted_apart_are_refused(n: int) -> None:
    with pytest.raises(ValueError, match="allowed is 1 to"):
        ReorderCounts().n_reordered_ratio(n)


NUMBERS = st.lists(st.integers(0, 24), max_size=40)


@given(numbers=NUMBERS, steps=st.lists(st.integers(0, 9), min_size=40, max_size=40))
@example(numbers=[9, 3, 5, 4, 3, 10, 8, 0], steps=[1] * 40)
def test_every_figure_is_what_the_definitions_say(numbers: list[int], steps: list[int]) -> None:
    times = [sum(steps[: at + 1]) for at in range(len(numbers))]
    stream = new_stream()
    judged = fold_all(stream, numbers, times)
    firsts = [j for j in judged if j.standing is not Standing.COPY]
    s = oracle.first_copies(numbers)
    first_times = [times[numbers.index(number)] for number in s]
    assert_judged(firsts, s, first_times)
    assert stream.counts.copies == len(numbers) - len(s)
    assert_sums(stream.counts, s)


def assert_judged(judged: list[Judgement], s: list[int], times: list[int]) -> None:
    assert len(judged) == len(s)
    for i, judgement in enumerate(judged, start=1):
        assert (judgement.standing is Standing.REORDERED) == oracle.is_reordered(s, i)
        assert judgement.gap == oracle.gap(s, i)
        assert judgement.extent == oracle.extent(s, i)
        assert judgement.degree == oracle.degree(s, i)
        late_ns = oracle.late_time(s, times, i)
        late = None if late_ns is None else Interval(late_ns / 1e9, late_ns / 1e9)
        assert judgement.late == late


def assert_sums(counts: ReorderCounts, s: list[int]) -> None:
    places = range(1, len(s) + 1)
    extents = [extent for i in places if (extent := oracle.extent(s, i)) is not None]
    runs = oracle.runs(s)
    gaps = [gap for i in places if (gap := oracle.gap(s, i))]
    assert (counts.received, counts.reordered) == (len(s), len(extents))
    assert (counts.extent_sum, counts.extent_max) == (sum(extents), max(extents, default=0))
    assert (counts.discontinuities, counts.gap_packets) == (len(gaps), sum(gaps))
    assert (counts.runs, counts.run_packets) == (len(runs), sum(runs))
    assert counts.run_squares == sum(run * run for run in runs)
    assert counts.run_max == max(runs, default=0)
    if s:
        for n in range(1, MAX_DEGREE + 1):
            n_reordered = sum(oracle.is_n_reordered(s, i, n) for i in places)
            assert counts.n_reordered_ratio(n) == n_reordered / len(s)


@given(numbers=NUMBERS, limit=st.integers(1, 4))
def test_in_bounded_memory_what_is_judged_is_judged_right(numbers: list[int], limit: int) -> None:
    """The rest is as if the unjudged had never arrived."""
    stream = new_stream(limit=limit)
    judged: list[Judgement] = []
    s: list[int] = []
    times: list[int] = []
    for at, seq in enumerate(numbers):
        judgement = stream.fold(seq, Span(at, at))
        assert len(stream.missing.ranges) <= limit
        assert len(stream.lows) <= len(stream.missing.ranges) + 1
        if judgement.standing is Standing.COPY:
            assert seq in numbers[:at]
        elif judgement.standing is not Standing.UNJUDGED:
            judged.append(judgement)
            s.append(seq)
            times.append(at)
    assert s == oracle.first_copies(s)
    assert_judged(judged, s, times)


@given(numbers=NUMBERS, cut=st.integers(0, 40), limit=st.integers(1, 30))
def test_a_state_written_down_and_taken_up_again_goes_on_the_same(
    numbers: list[int], cut: int, limit: int
) -> None:
    whole = new_stream(limit=limit)
    expected = fold_all(whole, numbers, list(range(len(numbers))))
    part = new_stream(limit=limit)
    judged = fold_all(part, numbers[:cut], list(range(len(numbers[:cut]))))
    again = msgspec.json.decode(msgspec.json.encode(part), type=Reordering)
    assert again == part
    judged += fold_all(again, numbers[cut:], list(range(cut, len(numbers))))
    assert judged == expected
    assert again == whole


@given(one=NUMBERS, other=NUMBERS)
def test_counts_of_two_streams_add_up(one: list[int], other: list[int]) -> None:
    streams = [new_stream(), new_stream()]
    for stream, numbers in zip(streams, (one, other), strict=True):
        fold_all(stream, numbers, list(range(len(numbers))))
    a, b = (stream.counts for stream in streams)
    both = a.merged(b)
    assert both == b.merged(a)
    assert both.merged(ReorderCounts()) == both
    assert both.received == len(set(one)) + len(set(other))
    assert both.reordered == a.reordered + b.reordered
    assert both.extent_max == max(a.extent_max, b.extent_max)
