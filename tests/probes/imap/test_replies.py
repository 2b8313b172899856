"""Codes, search results, quotas and dates."""

from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from probes.imap.model import ProtocolError
from probes.imap.replies import (
    Code,
    capabilities,
    code_number,
    internaldate_ns,
    quota_ratio,
    readable,
    response_code,
    search_uids,
)


def test_response_code() -> None:
    assert response_code(b"[uidnext 17] next") == Code(b"UIDNEXT", b"17")
    assert response_code(b"[READ-ONLY]") == Code(b"READ-ONLY", b"")
    assert response_code(b"no [code] here") is None


@pytest.mark.parametrize("argument", [b"", b"x", b"0", b"-1", b"99999999999"])
def test_code_without_number(argument: bytes) -> None:
    with pytest.raises(ProtocolError):
        code_number(Code(b"UIDNEXT", argument))


def test_capabilities() -> None:
    assert capabilities(b"imap4rev1 Idle  UIDPLUS") == {"IMAP4REV1", "IDLE", "UIDPLUS"}


def test_search() -> None:
    assert search_uids([b"* SEARCH 3 1", b"* search", b"* SEARCH 2 3 (MODSEQ 917)"]) == [1, 2, 3]
    with pytest.raises(ProtocolError):
        search_uids([b"* SEARCH 3 x"])


@pytest.mark.parametrize(
    ("lines", "ratio"),
    [
        ([b'* QUOTA "" (STORAGE 10 512)'], 10 / 512),
        ([b'* QUOTA "a" (STORAGE 10 512 MESSAGE 20 100)', b'* QUOTA "b" ()'], 0.2),
        ([b'* QUOTA "MESSAGE 9 10 (x" (STORAGE 1 4)'], 0.25),
        ([b'* QUOTA "" (STORAGE 10 0)'], None),
        ([], None),
    ],
)
def test_quota(lines: list[bytes], ratio: float | None) -> None:
    assert quota_ratio(lines) == ratio


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        (b"17-Jul-1996 02:44:25 -0700", datetime(1996, 7, 17, 9, 44, 25, tzinfo=UTC)),
        (b" 1-feb-2026 00:00:00 +0530", datetime(2026, 1, 31, 18, 30, tzinfo=UTC)),
        (b"31-Dec-1969 23:59:59 +0000", datetime(1969, 12, 31, 23, 59, 59, tzinfo=UTC)),
    ],
)
def test_internaldate(text: bytes, moment: datetime) -> None:
    assert internaldate_ns(text) == int(moment.timestamp()) * 10**9


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"nonsense",
        b"31-Feb-2026 00:00:00 +0000",
        b"01-Foo-2026 00:00:00 +0000",
        b"01-Jan-2026 00:00:60 +0000",
        b"01-Jan-2026 00:00:00 +9900",
        b"01-Jan-0000 00:00:00 +0000",
    ],
)
def test_no_internaldate(text: bytes) -> None:
    assert internaldate_ns(text) is None


@given(
    st.datetimes(datetime(1970, 1, 2), datetime(2200, 1, 1)),  # noqa: DTZ001 - bounds of naive ones
    st.integers(-23 * 60, 23 * 60),
)
def test_any_internaldate(moment: datetime, minutes: int) -> None:
    aware = moment.replace(microsecond=0, tzinfo=timezone(timedelta(minutes=minutes)))
    text = aware.strftime("%d-%b-%Y %H:%M:%S %z").encode()
    assert internaldate_ns(text) == round(aware.timestamp()) * 10**9


def test_readable() -> None:
    assert readable("a\x1b[31m\r\n b\u2028c" + "x" * 300) == ("a [31m b c" + "x" * 300)[:200]
