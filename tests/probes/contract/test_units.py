"""Durations and percentages: what is written, what it means, and what is refused."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from probes.contract.units import (
    MAX_DURATION_S,
    format_duration,
    parse_duration,
    parse_duration_between,
    parse_percent,
    write_duration,
    write_percent,
)

SECONDS = {"ms": 0.001, "s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800}


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("0s", 0.0),
        ("0ms", 0.0),
        ("1ms", 0.001),
        ("9ms", 0.009),
        ("500ms", 0.5),
        ("1s", 1.0),
        ("30s", 30.0),
        ("007s", 7.0),
        ("1.5s", 1.5),
        ("0.1s", 0.1),
        ("90s", 90.0),
        ("5m", 300.0),
        ("1h30m", 5400.0),
        ("30m1h", 5400.0),
        ("1s1s", 2.0),
        ("1m500ms", 60.5),
        ("6d", 518400.0),
        ("2w", 1209600.0),
        ("1w2d3h4m5s6ms", 788645.006),
        ("36500d", MAX_DURATION_S),
    ],
)
def test_durations(text: str, seconds: float) -> None:
    assert parse_duration(text) == seconds


@pytest.mark.parametrize(
    "text",
    [
        "", " ", "30", "s", "1", "1.s", ".5s", "1,5s", "-1s", "+1s", "1 s", " 1s", "1s ", "1s\n",
        "1S", "1M", "1us", "1y", "1min", "1e3s", "٣s", "1h-30m", "inf", "nans", "0x1s", "1_000s",
    ],
)  # fmt: skip
def test_durations_refused(text: str) -> None:
    with pytest.raises(ValueError, match="a duration with a unit, such as"):
        parse_duration(text)


@pytest.mark.parametrize("text", ["36500d1ms", "36501d", "5300w", "9" * 30 + "s", "9" * 400 + "w"])
def test_durations_too_long(text: str) -> None:
    with pytest.raises(ValueError, match="at most 36500d"):
        parse_duration(text)


def test_the_longest_duration_may_be_added_to_a_time_point_of_64_bits() -> None:
    year_2100_ns = 4_102_444_800 * 10**9
    assert year_2100_ns + MAX_DURATION_S * 10**9 < 2**63


@given(st.integers(0, 10**12))
def test_milliseconds_are_exact(milliseconds: int) -> None:
    assert parse_duration(f"{milliseconds}ms") == milliseconds / 1000


@given(st.integers(0, round(MAX_DURATION_S * 1000)))
def test_a_written_duration_reads_back_the_same(milliseconds: int) -> None:
    assert parse_duration(format_duration(milliseconds / 1000)) == milliseconds / 1000


@given(st.dictionaries(st.sampled_from(list(SECONDS)), st.integers(0, 1000), min_size=1))
def test_parts_add_up_in_any_order(parts: dict[str, int]) -> None:
    text = "".join(f"{count}{unit}" for unit, count in parts.items())
    backwards = "".join(f"{count}{unit}" for unit, count in reversed(parts.items()))
    assert parse_duration(text) == parse_duration(backwards)
    expected = sum(count * SECONDS[unit] for unit, count in parts.items())
    assert math.isclose(parse_duration(text), expected)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0s"),
        (0.0004, "0s"),
        (-0.0004, "0s"),
        (0.0006, "1ms"),
        (0.25, "250ms"),
        (1, "1s"),
        (59.9999, "1m"),
        (90.0, "1m30s"),
        (3600, "1h"),
        (5400.5, "1h30m500ms"),
        (604800, "7d"),
        (-1.0, "-1s"),
        (-90.25, "-1m30s250ms"),
    ],
)
def test_formatting(seconds: float, text: str) -> None:
    assert format_duration(seconds) == text


@pytest.mark.parametrize(
    ("text", "ratio"),
    [
        ("0%", 0.0),
        ("0.0%", 0.0),
        ("1%", 0.01),
        ("50%", 0.5),
        ("99.5%", 0.995),
        ("99.99%", 0.9999),
        ("99.999%", 0.99999),
        ("007%", 0.07),
        ("100%", 1.0),
        ("100.0%", 1.0),
    ],
)
def test_percentages(text: str, ratio: float) -> None:
    assert parse_percent(text) == ratio


@pytest.mark.parametrize(
    "text",
    [
        "", "%", "99.5", "0.995", "-1%", "+1%", "100.1%", "101%", "1e2%", "99,5%", "99.%", ".5%",
        "99.5 %", " 1%", "1%\n", "1%%", "٣%", "inf%", "nan%", "9" * 400 + "%",
    ],
)  # fmt: skip
def test_percentages_refused(text: str) -> None:
    with pytest.raises(ValueError, match="a percentage from 0% to 100%"):
        parse_percent(text)


@given(st.integers(0, 100_000))
def test_percentages_are_the_nearest_ratio(thousandths: int) -> None:
    whole, fraction = divmod(thousandths, 1000)
    assert parse_percent(f"{whole}.{fraction:03d}%") == thousandths / 100_000


@given(st.integers(1, 366 * 86_400_000))
def test_written_durations_are_read_again(milliseconds: int) -> None:
    seconds = milliseconds / 1000
    assert parse_duration(write_duration(seconds)) == seconds


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(30.0, "30s"), (90.0, "1m30s"), (0.25, "250ms"), (0.0123, "0.0123s"), (86400.0, "1d")],
)
def test_written_durations(seconds: float, text: str) -> None:
    assert write_duration(seconds) == text
    assert parse_duration(text) == seconds


@given(st.integers(0, 1_000_000))
def test_written_percentages_are_read_again(millionths: int) -> None:
    ratio = millionths / 1_000_000
    assert parse_percent(write_percent(ratio)) == ratio


@pytest.mark.parametrize(
    ("ratio", "text"),
    [(0.995, "99.5%"), (1.0, "100%"), (0.0, "0%"), (0.9, "90%"), (1e-07, "0.00001%")],
)
def test_written_percentages(ratio: float, text: str) -> None:
    assert write_percent(ratio) == text


@pytest.mark.parametrize(
    "text", ["nan", "inf", "-1s", "0s", "1e999s", "", "5 x", "5", "14999ms", "81s"]
)
def test_an_option_s_duration_says_what_was_found_and_what_is_allowed(text: str) -> None:
    with pytest.raises(ValueError, match="allowed is a duration from 15s to 1m20s") as caught:
        parse_duration_between(text, 15.0, 80.0)
    assert str(caught.value).startswith(f"found {text!r}, ")


@pytest.mark.parametrize(
    ("least_s", "most_s", "allowed"),
    [
        (15.0, 80.0, "a duration from 15s to 1m20s, such as 30s"),
        (1.0, 3600.0, "a duration from 1s to 1h, such as 30s or 5m"),
        (0.1, 1.0, "a duration from 100ms to 1s"),
    ],
)
def test_the_examples_of_a_duration_are_allowed_ones(
    least_s: float, most_s: float, allowed: str
) -> None:
    with pytest.raises(ValueError, match="allowed is") as caught:
        parse_duration_between("1w", least_s, most_s)
    assert str(caught.value) == f"found '1w', allowed is {allowed}"


def test_an_option_s_duration_within_its_bounds() -> None:
    assert [parse_duration_between(text, 15.0, 80.0) for text in ("15s", "1m20s")] == [15.0, 80.0]
