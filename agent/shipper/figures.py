"""How the shipping goes, for Prometheus: an agent that cannot ship is seen at the agent, too."""

from collections.abc import Iterator

from prometheus_client.core import GaugeMetricFamily, Metric

from agent.shipper.ship import Shipping
from agent.spool.store import Depth

STATES = ("starting", "ok", "retrying", "stopped")


def families(shipping: Shipping, depth: Depth, now_ns: int) -> Iterator[Metric]:
    """The metric families of an agent that ships; pure. ``now_ns`` is the wall clock."""
    state = GaugeMetricFamily(
        "mailcanary_agent_shipping_state", "1 for how the shipping goes", labels=["state"]
    )
    for name in STATES:
        state.add_metric([name], float(shipping.state == name))
    failed = GaugeMetricFamily(
        "mailcanary_agent_shipping_last_failure_timestamp_seconds",
        "When a batch last failed in this way",
        labels=["kind"],
    )
    for kind, at_ns in sorted(dict(shipping.failed_ns).items()):
        failed.add_metric([kind], at_ns / 1e9)
    waiting = max(0, depth.last_seq - max(depth.shipped, shipping.shipped_seq))
    oldest_ns = depth.oldest_ns if waiting and depth.oldest_ns is not None else now_ns
    retry_ns = shipping.retry_ns
    yield state
    yield failed
    yield _gauge(
        "last_success_timestamp_seconds",
        "When the collector last took a batch, 0 before the first",
        (shipping.success_ns or 0) / 1e9,
    )
    yield _gauge(
        "retry_seconds",
        "In how many seconds a batch that failed is sent again, 0 when none waits for that",
        0.0 if retry_ns is None else max(0.0, (retry_ns - now_ns) / 1e9),
    )
    yield _gauge("backlog_events", "Events that the collector does not have yet", waiting)
    yield _gauge(
        "backlog_seconds", "Age of the oldest of these", max(0.0, (now_ns - oldest_ns) / 1e9)
    )


def _gauge(name: str, text: str, value: float) -> GaugeMetricFamily:
    return GaugeMetricFamily(f"mailcanary_agent_shipping_{name}", text, value=value)
