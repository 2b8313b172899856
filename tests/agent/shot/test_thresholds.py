"""Ranges as the Monitoring Plugins write them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.shot.thresholds import Thresholds, parse_range, up_to

NUMBERS = st.integers(0, 100)


@pytest.mark.parametrize(
    ("text", "alerting", "quiet"),
    [
        ("10", [10.5, 11], [0, 10]),
        ("10s", [10.5], [10]),
        ("500ms", [0.6], [0.5]),
        ("10:", [9.5], [10, 11, 1e9]),
        ("~:10", [10.5], [0, 10]),
        ("10:20", [9.5, 20.5], [10, 15, 20]),
        ("@10:20", [10, 15, 20], [9.5, 20.5]),
        ("1m:2m", [59, 121], [60, 120]),
        (":5", [6], [5]),
    ],
)
def test_which_delays_alert(text: str, alerting: list[float], quiet: list[float]) -> None:
    found = parse_range(text)
    assert [delay for delay in alerting if not found.alerts(delay, delay)] == []
    assert [delay for delay in quiet if found.alerts(delay, delay)] == []


@pytest.mark.parametrize(
    "text", ["", "@", "x", "10x", "20:10", "1:2:3", "-5", "~", "@@5", "1 0", "5s:1s", "nan", "inf"]
)
def test_what_is_no_range(text: str) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 - its text is the caller's to write
        parse_range(text)


def test_only_a_delay_alerts_that_does_so_for_certain() -> None:
    assert not parse_range("10").alerts(9.0, 11.0)
    assert not parse_range("@10:20").alerts(9.0, 11.0)
    assert parse_range("@10:20").alerts(10.0, 11.0)
    assert not parse_range("10:20").alerts(9.0, 10.0)


@given(start=NUMBERS, end=NUMBERS, inside=st.booleans())
def test_a_range_is_written_as_it_is_read(start: int, end: int, inside: bool) -> None:
    text = f"{'@' if inside else ''}{min(start, end)}:{max(start, end)}"
    found = parse_range(text)
    assert parse_range(str(found)) == found


@pytest.mark.parametrize("text", ["10", "@10", "5:", "~:10", "@~:10", "5:10"])
def test_the_short_forms_are_kept(text: str) -> None:
    assert str(parse_range(text)) == text


def test_what_is_not_given_follows_from_the_path() -> None:
    left = Thresholds(None, None, wait_s=40.0)
    assert left.critical_of(10.0) == up_to(10.0)
    assert left.warning_of(10.0) == up_to(5.0)
    assert left.critical_of(60.0) == up_to(40.0)
    given_one = Thresholds(None, parse_range("@5:6"), wait_s=40.0)
    assert given_one.critical_of(10.0) == parse_range("@5:6")
    assert given_one.warning_of(10.0) is None
    assert Thresholds(up_to(1.0), None, 40.0).warning_of(10.0) == up_to(1.0)
