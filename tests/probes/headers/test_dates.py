from datetime import UTC, datetime, timedelta, timezone
from email.utils import format_datetime

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from probes.headers.dates import parse_date

AT_NS = 1_767_607_200_000_000_000
"""2026-01-05 10:00:00 UTC."""


@pytest.mark.parametrize(
    "text",
    [
        "Mon, 5 Jan 2026 10:00:00 +0000",
        "Mon, 05 Jan 2026 10:00:00 +0000 (UTC)",
        "5 Jan 2026 10:00:00 -0000",
        "5 jan 26 10:00 GMT",
        "  Mon , (a (nested) comment) 5\tJan 2026\r\n 10:00:00 (x) +0000",
        "Mon, 5 Jan 2026 12:30:00 +0230",
        "Mon, 5 Jan 2026 05:00:00 EST",
        "Mon, 5 Jan 2026 06:00:00 EDT",
        "Mon, 5 Jan 2026 04:00:00 CST",
        "Mon, 5 Jan 2026 03:00:00 MST",
        "Mon, 5 Jan 2026 02:00:00 PST (Pacific; standard)",
        "Mon, 5 Jan 2026 10:00:00 UT",
        "Mon, 5 Jan 2026 10:00:00 Z",
        "Mon, 5-Jan-2026 10:00:00 +0000",
        "Monday, 5 January 2026 10:00:00 +0000",
        "Mon, 5 Jan 126 10:00:00 +0000",
    ],
)
def test_ways_to_write_one_time(text: str) -> None:
    assert parse_date(text) == AT_NS


def test_fractions_and_leap_seconds() -> None:
    assert parse_date("Mon, 5 Jan 2026 10:00:00.25 +0000") == AT_NS + 250_000_000
    assert parse_date("Mon, 5 Jan 2026 09:59:60 +0000") == AT_NS


@pytest.mark.parametrize(
    "text",
    [
        "",
        "Mon",
        "Mon, 5 Jan 2026 10:00:00",
        "Mon, 5 Jan 2026 10:00:00 CEST",
        "Mon, 5 Jan 2026 10:00:00 A",
        "Mon, 5 Jan 2026 10:00:00 +9999",
        "Mon, 5 Jan 2026 24:00:00 +0000",
        "Mon, 31 Feb 2026 10:00:00 +0000",
        "Mon, 5 Foo 2026 10:00:00 +0000",
        "Mon, 5 Jan 1969 10:00:00 +0000",
        "Thu, 1 Jan 1970 00:30:00 +0100",
        "Mon, 5 Jan 9999 10:00:00 +0000",
        "Mon, \u0665 Jan 2026 10:00:00 +0000",
        "x" * 100_000,
    ],
)
def test_what_tells_no_time(text: str) -> None:
    assert parse_date(text) is None


@settings(deadline=None)
@given(
    st.datetimes(min_value=datetime(1971, 1, 1), max_value=datetime(2261, 1, 1)),  # noqa: DTZ001 - hypothesis wants naive bounds
    st.integers(-14 * 60, 14 * 60),
)
def test_every_date_that_the_standard_library_writes(naive: datetime, minutes: int) -> None:
    zoned = naive.replace(microsecond=0, tzinfo=timezone(timedelta(minutes=minutes)))
    expected = (zoned - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(seconds=1) * 1_000_000_000

    assert parse_date(format_datetime(zoned)) == expected
