"""The shipping for Prometheus: each state, what failed last, what waits."""

import re
from pathlib import Path

from agent.shipper.figures import families
from agent.shipper.ship import Shipping
from agent.spool.store import Depth

NOW_NS = 1_800_000_000 * 10**9


def figures(shipping: Shipping, depth: Depth) -> dict[str, float]:
    return {
        "|".join((one.name, *one.labels.values())).removeprefix("mailcanary_agent_shipping_"): (
            one.value
        )
        for family in families(shipping, depth, NOW_NS)
        for one in family.samples
    }


def test_before_the_first_batch() -> None:
    assert figures(Shipping(), Depth(0, 0, 0, 0, 0)) == {
        "state|starting": 1,
        "state|ok": 0,
        "state|retrying": 0,
        "state|stopped": 0,
        "last_success_timestamp_seconds": 0,
        "retry_seconds": 0,
        "backlog_events": 0,
        "backlog_seconds": 0,
    }


def test_while_it_does_not_work() -> None:
    shipping = Shipping(
        state="retrying",
        shipped_seq=7,
        success_ns=NOW_NS - 60 * 10**9,
        failed_ns={"connection": NOW_NS - 10**9, "429": NOW_NS - 30 * 10**9},
        retry_ns=NOW_NS + 12 * 10**9,
    )
    depth = Depth(6, 1000, last_seq=12, shipped=5, dropped=0, oldest_ns=NOW_NS - 90 * 10**9)
    found = figures(shipping, depth)
    assert [found[f"state|{state}"] for state in ("ok", "retrying")] == [0, 1]
    assert found["last_success_timestamp_seconds"] == NOW_NS / 1e9 - 60
    assert found["last_failure_timestamp_seconds|connection"] == NOW_NS / 1e9 - 1
    assert found["last_failure_timestamp_seconds|429"] == NOW_NS / 1e9 - 30
    assert (found["retry_seconds"], found["backlog_events"]) == (12, 5)
    assert found["backlog_seconds"] == 90


def test_what_has_been_shipped_waits_no_more_though_the_spool_was_looked_at_before() -> None:
    depth = Depth(6, 1000, last_seq=12, shipped=5, dropped=0, oldest_ns=NOW_NS - 90 * 10**9)
    found = figures(Shipping(state="ok", shipped_seq=14, retry_ns=NOW_NS - 1), depth)
    assert (found["backlog_events"], found["backlog_seconds"], found["retry_seconds"]) == (0, 0, 0)


def test_every_metric_is_described() -> None:
    page = (Path(__file__).parents[3] / "docs" / "shipping.md").read_text(encoding="utf-8")
    rows = "\n".join(line for line in page.splitlines() if "mailcanary_agent_shipping_" in line)
    described = set(re.findall(r"`(?:mailcanary_agent_shipping|…)_([a-z_]+)", rows))
    served = families(Shipping(), Depth(0, 0, 0, 0, 0), NOW_NS)
    names = {family.name.removeprefix("mailcanary_agent_shipping_") for family in served}
    assert names == described
