"""The fleet for Prometheus: one sample per agent, of what agents last told."""

from collections.abc import Iterator

from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from collector.control.agents import AgentRegistry, AgentView
from collector.control.standing import Standing


class FleetCollector(Collector):
    """Reads the registry when Prometheus asks; to be asked in the event loop only."""

    def __init__(self, agents: AgentRegistry) -> None:
        self._agents = agents

    def collect(self) -> Iterator[Metric]:
        """The families of all agents."""
        return families(self._agents.all())

    def describe(self) -> Iterator[Metric]:
        """The same families without samples, so that registering asks no agent."""
        return families([])


def families(fleet: list[AgentView]) -> Iterator[Metric]:
    """The metric families of a fleet; pure."""
    up = _family("up", "1 when it beats, 0 when it is down or was never seen")
    seen = _family("last_seen_timestamp_seconds", "When it was last heard of")
    lag = _family("lag_events", "Events in its spool that are not here yet")
    oldest = _family("oldest_unshipped_timestamp_seconds", "When the oldest of those was written")
    clock = _family("clock_offset_seconds", "By how much its clock is ahead of ours")
    mailboxes = _family("mailboxes_failing", "Mailboxes that it cannot read")
    for view in fleet:
        label, report = [view.name], view.report
        up.add_metric(label, float(view.standing is Standing.UP))
        if view.seen_ns is not None:
            seen.add_metric(label, view.seen_ns / 1e9)
        if report is None:
            continue
        if report.lag_events is not None:
            lag.add_metric(label, report.lag_events)
        if report.oldest_at_ns is not None:
            oldest.add_metric(label, report.oldest_at_ns / 1e9)
        if report.clock_offset_s is not None:
            clock.add_metric(label, report.clock_offset_s)
        failing = sum(health.state != "ok" for health in report.mailboxes.values())
        mailboxes.add_metric(label, failing)
    yield from (up, seen, lag, oldest, clock, mailboxes)


def _family(name: str, text: str) -> GaugeMetricFamily:
    return GaugeMetricFamily(f"mailcanary_collector_agent_{name}", text, labels=["agent"])
