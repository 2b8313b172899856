"""The one table of failures: what each status and each error means."""

import ssl

import aiohttp
import pytest

from agent.shipper.failures import (
    MAX_RETRY_AFTER_S,
    Fate,
    fate_of,
    of_error,
    of_status,
    retry_after_s,
)

NOW_S = 1_800_000_000.0  # Fri, 15 Jan 2027 08:00:00 GMT


@pytest.mark.parametrize(
    ("fate", "statuses"),
    [
        (Fate.RETRY, (409, 421, 425, 429, 500, 502, 503, 504, 507, 599)),
        (Fate.SMALLER, (400, 408, 413, 422)),
        (Fate.STOP, (301, 302, 307, 401, 403, 404, 405, 407, 410, 411, 415, 418, 426, 431, 451)),
    ],
)
def test_what_a_status_means(fate: Fate, statuses: tuple[int, ...]) -> None:
    assert {status: fate_of(status) for status in statuses} == dict.fromkeys(statuses, fate)


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        (None, 0.0), ("7", 7.0), (" 7 ", 7.0), ("0", 0.0), ("-1", 0.0), ("nonsense", 0.0),
        ("", 0.0),        ("1e3", 0.0), ("\u0667", 0.0), ("999999999", MAX_RETRY_AFTER_S),
        ("Fri, 15 Jan 2027 08:00:30 GMT", 30.0), ("Fri, 15 Jan 2027 07:00:00 GMT", 0.0),
        ("Fri, 15 Jan 2099 08:00:30 GMT", MAX_RETRY_AFTER_S), ("Fri, 99 Jan 2027 08:00:30", 0.0),
    ],
)  # fmt: skip
def test_retry_after(header: str | None, seconds: float) -> None:
    assert retry_after_s(header, NOW_S) == seconds


def test_an_answer_says_what_the_collector_said() -> None:
    failure = of_status(503, "the disk is full", "12", NOW_S)
    assert (failure.fate, failure.kind, failure.retry_after_s) == (Fate.RETRY, "503", 12.0)
    assert failure.text == "the collector answered 503: the disk is full"


@pytest.mark.parametrize(
    ("error", "fate", "kind"),
    [
        (TimeoutError(), Fate.RETRY, "timeout"),
        (aiohttp.ServerTimeoutError(), Fate.RETRY, "timeout"),
        (ConnectionRefusedError(), Fate.RETRY, "connection"),
        (aiohttp.ServerDisconnectedError(), Fate.RETRY, "connection"),
        (aiohttp.ClientPayloadError(), Fate.RETRY, "protocol"),
        (aiohttp.InvalidURL("http://"), Fate.STOP, "url"),
        (ssl.SSLCertVerificationError(), Fate.STOP, "certificate"),
    ],
)
def test_what_an_error_means(error: Exception, fate: Fate, kind: str) -> None:
    failure = of_error(error)
    assert failure is not None
    assert (failure.fate, failure.kind) == (fate, kind)


def test_a_fault_of_our_own_is_no_failure_of_the_collector() -> None:
    assert of_error(KeyError("x")) is None
