"""Bytes of one agent: an hour's worth at once, then at that rate, paid in arrears."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from collector.ingest.quota import EVENT_BYTES, ByteQuota, cost, cost_of_new
from collector.log.engine import Appended, Batch, DeadLetter, Item
from probes.contract.wire import Refusal, RefusalReason
from tests.collector.control.stores import HandClock


def test_an_hours_worth_at_once_and_then_at_the_rate() -> None:
    clock = HandClock()
    quota = ByteQuota(3600, clock.monotonic)
    assert quota.wait_s("sfo") <= 0
    quota.take("sfo", 3000)
    assert quota.wait_s("sfo") <= 0
    quota.take("sfo", 700)
    assert quota.wait_s("sfo") == pytest.approx(100, abs=1e-3)
    assert quota.wait_s("fra") <= 0
    clock.advance(101)
    assert quota.wait_s("sfo") <= 0
    quota.take("sfo", 1000)
    clock.advance(10_000)
    quota.take("sfo", 3600)
    assert quota.wait_s("sfo") == pytest.approx(0, abs=1e-3)


def test_what_was_given_back_was_not_taken() -> None:
    clock = HandClock()
    quota = ByteQuota(3600, clock.monotonic)
    quota.take("sfo", 5000)
    quota.give("sfo", 4000)
    assert quota.wait_s("sfo") <= 0
    quota.take("sfo", 2700)
    assert quota.wait_s("sfo") == pytest.approx(100, abs=1e-3)


@given(
    steps=st.lists(st.tuples(st.integers(0, 7200), st.integers(0, 5000)), min_size=1, max_size=30)
)
def test_in_no_time_does_an_agent_get_more_than_an_hour_its_rate_and_one_batch(
    steps: "list[tuple[int, int]]",
) -> None:
    clock = HandClock()
    quota = ByteQuota(3600, clock.monotonic)
    begun_s, had, largest = clock.monotonic(), 0, 0
    for pause_s, size in steps:
        clock.advance(pause_s)
        if quota.wait_s("sfo") <= 0:
            quota.take("sfo", size)
            had, largest = had + size, max(largest, size)
        passed_s = clock.monotonic() - begun_s
        assert had <= 3600 + passed_s + largest + 1


def test_only_what_is_new_costs() -> None:
    refusal = Refusal(seq=4, reason=RefusalReason.INVALID, detail="why")
    dead = [DeadLetter(1, "sfo", "e1", refusal, b"x" * 7)]
    items = [Item(seq, "check", b"x" * 10 * seq) for seq in (1, 2, 3)]
    batch = Batch("sfo", "e1", 1, 4, items, dead, 1)
    assert cost(batch) == 60 + 10 + 4 * EVENT_BYTES
    new = Appended(4, accepted=1, refused=1, duplicates=2, gap=None, cursor=1)
    assert cost_of_new(batch, new) == 30 + 10 + 2 * EVENT_BYTES
    none = Appended(4, accepted=0, refused=0, duplicates=4, gap=None, cursor=None)
    assert cost_of_new(batch, none) == 0
