"""Failures are limited by address."""

import pytest

from collector.web.limits import FailureLimit, block_of
from tests.collector.control.stores import HandClock


def test_a_burst_and_then_one_at_a_time() -> None:
    clock = HandClock()
    limit = FailureLimit(burst=3, every_s=6.0, monotonic=clock.monotonic)
    assert [limit.failed("192.0.2.1") for _ in range(4)] == [None, None, None, 6]
    assert limit.failed("192.0.2.2") is None
    clock.advance(3)
    assert limit.failed("192.0.2.1") == 3
    clock.advance(3)
    assert [limit.failed("192.0.2.1") for _ in range(2)] == [None, 6]


@pytest.mark.parametrize(
    ("address", "block"),
    [
        ("192.0.2.1", "192.0.2.1"),
        ("::ffff:192.0.2.1", "192.0.2.1"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::"),
        ("2001:db8:1:2::9", "2001:db8:1:2::"),
        ("unknown", "unknown"),
    ],
)
def test_what_counts_as_one_peer(address: str, block: str) -> None:
    assert block_of(address) == block
