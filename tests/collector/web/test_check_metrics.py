"""What Prometheus is told of checks: what is configured, destinations and not their hosts."""

from typing import Any

from prometheus_client.core import Metric

from collector.rollup.check_queries import LookFigure, LookView
from collector.rollup.looks import QueueLook
from collector.web.check_metrics import MAX_SOURCES, CheckFigures, families, planned
from probes.contract.checks import QueueDepth
from probes.contract.config.models import Config

PLAN = planned(
    Config.model_validate(
        {
            "version": 1,
            "relays": [{"name": "relay-a", "host": "a.example"}],
            "agents": [
                {"name": "on-a", "on_relay": "relay-a"},
                {"name": "on-a2", "on_relay": "relay-a"},
            ],
            "destinations": [{"name": "bigmail", "domain": "bigmail.example"}],
            "checks": [{"probe": "egress"}, {"probe": "queue"}],
        }
    )
)
S = 10**9


def look(**changes: Any) -> LookFigure:
    usual = {
        "relay": "relay-a", "probe": "egress", "target": "bigmail", "source": "203.0.113.1",
        "agent": "on-a", "ok": True, "stale": False, "told_ns": 100 * S, "stale_after_ns": 90 * S,
    }  # fmt: skip
    return LookFigure(**{**usual, **changes})


def told(*looks: LookFigure, queues: tuple[LookView, ...] = ()) -> dict[str, Metric]:
    return {one.name: one for one in families(CheckFigures(looks, queues, PLAN))}


def samples(metric: Metric) -> dict[tuple[str, ...], float]:
    return {tuple(one.labels.values()): one.value for one in metric.samples}


BIGMAIL = ("relay-a", "egress", "bigmail", "203.0.113.1")


def test_what_is_well_and_what_is_not() -> None:
    found = told(look(), look(target="", ok=False))
    assert samples(found["mailcanary_check_ok"]) == {
        BIGMAIL: 1.0, ("relay-a", "egress", "", "203.0.113.1"): 0.0,
    }  # fmt: skip
    assert samples(found["mailcanary_check_told_timestamp_seconds"])[BIGMAIL] == 100.0
    assert samples(found["mailcanary_check_stale"])[BIGMAIL] == 0.0


def test_of_several_agents_on_a_relay_all_have_to_find_it_well() -> None:
    found = told(look(), look(agent="on-a2", ok=False))
    assert samples(found["mailcanary_check_ok"]) == {BIGMAIL: 0.0}
    found = told(look(), look(agent="on-a2", ok=False, stale=True))
    assert samples(found["mailcanary_check_ok"]) == {BIGMAIL: 1.0}


def test_why_a_relay_is_not_well_is_told_of_all_destinations_together() -> None:
    why = look(target="", ok=False, reason="filtered")
    found = told(look(ok=False), why, look(target="", agent="on-a2", ok=False, reason="network"))
    relay = ("relay-a", "egress", "", "203.0.113.1")
    assert samples(found["mailcanary_check_failed"]) == {
        (*relay, "filtered"): 1.0, (*relay, "network"): 1.0,
    }  # fmt: skip
    found = told(look(target=""), look(target="", agent="on-a2", ok=False, stale=True, reason="x"))
    assert samples(found["mailcanary_check_failed"]) == {}


def test_of_what_is_stale_nobody_knows_whether_it_is_well() -> None:
    found = told(look(stale=True))
    assert samples(found["mailcanary_check_ok"]) == {}
    assert samples(found["mailcanary_check_stale"]) == {BIGMAIL: 1.0}


def test_what_is_not_configured_has_no_sample() -> None:
    strange = [look(target="gone"), look(agent="sfo"), look(relay="relay-b"), look(probe="dns")]
    assert all(not metric.samples for metric in told(*strange).values())


def test_sources_without_end_have_few_samples_and_the_newest_first() -> None:
    many = [look(source=f"s{number:03}", told_ns=number) for number in range(100)]
    kept = samples(told(*many)["mailcanary_check_ok"])
    assert len(kept) == MAX_SOURCES
    assert ("relay-a", "egress", "bigmail", "s099") in kept


def queue(agent: str, count: int, oldest_ns: int | None) -> LookView:
    return LookView(
        relay="relay-a", probe="queue", target=None, source=None, agent=agent, ok=True,
        stale=False, stage=None, reason=None, detail=None, since_ns=0, at_ns=0, told_ns=0,
        interval_s=30.0, egress=None, pattern=None,
        queue=QueueLook(
            queues={"deferred": QueueDepth(count=count, bytes=1, oldest_ns=oldest_ns)}, canaries=7
        ),
    )  # fmt: skip


def test_the_queue_is_that_of_the_newest_look() -> None:
    found = told(queues=(queue("on-a", 3, None), queue("on-a2", 40, 5 * S), queue("sfo", 9, None)))
    assert samples(found["mailcanary_queue_messages"]) == {("relay-a", "deferred"): 40.0}
    assert samples(found["mailcanary_queue_oldest_timestamp_seconds"]) == {
        ("relay-a", "deferred"): 5.0
    }
    assert samples(found["mailcanary_queue_canaries"]) == {("relay-a",): 7.0}
