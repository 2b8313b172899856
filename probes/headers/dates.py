"""Dates as mail servers write them (RFC 5322 sections 3.3 and 4.3)."""

import re
from datetime import UTC, datetime, timedelta
from functools import lru_cache

from probes.contract.units import NS_PER_S
from probes.headers.text import without_comments

_MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_ZONES = {
    "ut": 0,
    "utc": 0,
    "gmt": 0,
    "z": 0,
    "edt": -4,
    "est": -5,
    "cdt": -5,
    "cst": -6,
    "mdt": -6,
    "mst": -7,
    "pdt": -7,
    "pst": -8,
}
_DATE = re.compile(
    r"(?:[a-z]{3,9}\.?\s*,?\s*)?"
    r"(\d{1,2})(?:\s+|-)([a-z]{3})[a-z]{0,6}(?:\s+|-)(\d{2,4})\s+"
    r"(\d{1,2})\s*:\s*(\d{1,2})(?:\s*:\s*(\d{1,2}))?(?:[.,](\d{1,9}))?\s*"
    r"([+-]\d{4}|[a-z]{1,5})(?![a-z0-9])",
    re.IGNORECASE | re.ASCII,
)
_MAX_DATE = 200
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_YEARS = range(1970, 2262)
"""What fits into a signed 64-bit count of nanoseconds."""


def parse_date(text: str) -> int | None:
    """Nanoseconds since the Unix epoch for an RFC 5322 date, or ``None``.

    Takes comments, obsolete zone names, two-digit years, leap seconds and fractions. A date
    without a zone, or with a zone name that means different things in different places
    (RFC 5322 section 4.3 takes the likes of ``CEST`` for unknown), is ``None``: a guess would be
    hours off and look like clock skew.
    """
    return _parse_date(text[:_MAX_DATE].strip())


# The hops of a fast mail bear the same second, and so do those of the mails beside it.
@lru_cache(maxsize=256)
def _parse_date(text: str) -> int | None:
    # Comments mostly come last, where they do not matter.
    match = _DATE.match(text) or _DATE.match(without_comments(text).strip())
    if match is None:
        return None
    day, month_name, year_text, hour, minute, second, fraction, zone = match.groups()
    offset = _offset_minutes(zone.lower())
    if offset is None or month_name.lower() not in _MONTHS:
        return None
    year = _year(year_text)
    if year not in _YEARS:
        return None
    month = _MONTHS.index(month_name.lower()) + 1
    seconds = int(second or 0)
    leap = seconds == 60
    try:
        clock = datetime(
            year, month, int(day), int(hour), int(minute), 59 if leap else seconds, tzinfo=UTC
        )
    except ValueError:
        return None
    since_epoch = clock - _EPOCH - timedelta(minutes=offset)
    whole = since_epoch.days * 86_400 + since_epoch.seconds + leap
    if whole < 0:
        return None
    return whole * NS_PER_S + int((fraction or "").ljust(9, "0"))


def _year(text: str) -> int:
    """RFC 5322 section 4.3: two digits are 1950 to 2049, three count from 1900."""
    year = int(text)
    if len(text) == 2:
        return year + (2000 if year < 50 else 1900)
    return year + 1900 if len(text) == 3 else year


def _offset_minutes(zone: str) -> int | None:
    if zone in _ZONES:
        return _ZONES[zone] * 60
    if zone[0] not in "+-":
        return None
    hours, minutes = int(zone[1:3]), int(zone[3:5])
    if hours > 23 or minutes > 59:
        return None
    return (hours * 60 + minutes) * (-1 if zone[0] == "-" else 1)
