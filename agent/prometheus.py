"""The agent's health for Prometheus, as it is when asked, under names by its conventions."""

from collections.abc import Callable, Iterable, Iterator
from typing import Any

from prometheus_client import CollectorRegistry, start_http_server
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, InfoMetricFamily, Metric
from prometheus_client.registry import Collector

from agent.standing.ledger import ENDS, Standing
from probes.contract.events import Heartbeat

Families = Iterator[Metric]

_COUNTERS = (
    ("submissions", "Canaries by how their attempt ended", "result"),
    ("intents", "Canaries that were not sent since the spool took no intent", "end"),
    ("canaries", "Mails with a canary's header by what they were", "judgement"),
    ("waits", "Waits that ended without an arrival", "end"),
    ("bounces", "Delivery status notifications read", "about"),
    ("events", "Events by what became of them on their way to the collector", "end"),
)
"""Beginnings of counters' names, and the label that the rest of the name is a value of."""

_SINGLE = (
    ("other_mail", "other_mails", "Mails that are neither canaries nor bounces"),
    ("copies_not_told", "copies_not_told", "Copies and bounces beyond the ten that are told"),
    ("cleanup_foreign", "cleanup_foreign_mails", "Mails under UIDs to be deleted, not ours: kept"),
    ("orphans_removed", "orphans_removed", "Canaries removed for being older than is remembered"),
    ("idle_refused", "idle_refused", "IDLE commands that a server refused or ended by itself"),
    ("ship_failures", "ship_failures", "Batches that did not reach the collector"),
    ("check_rounds", "check_rounds", "Rounds of looks from the relay's own side"),
    ("check_rounds_skipped", "check_rounds_skipped", "Rounds not held: the one before took long"),
    ("checks_done", "checks", "Results of looks from the relay's own side"),
    ("checks_failed", "checks_failed", "Of these, those that were not ok"),
    ("checks_lost", "checks_lost", "Results that the spool did not take in time"),
)
"""Counters' names in a heartbeat, and here."""


def _gauge(name: str, text: str, value: float) -> GaugeMetricFamily:
    return GaugeMetricFamily(f"mailcanary_agent_{name}", text, value=value)


def _counters(beat: Heartbeat) -> Families:
    for prefix, text, label in _COUNTERS:
        family = CounterMetricFamily(f"mailcanary_agent_{prefix}", text, labels=[label])
        for key, value in beat.counters.items():
            if key.startswith(prefix):
                family.add_metric([key.removeprefix(prefix).strip("_") or "canary"], value)
        yield family
    for key, name, text in _SINGLE:
        count = beat.counters.get(key, 0)
        yield CounterMetricFamily(f"mailcanary_agent_{name}", text, value=count)


def _mailboxes(beat: Heartbeat) -> Families:
    up = GaugeMetricFamily(
        "mailcanary_agent_mailbox_up", "1 when every folder is being read", labels=["mailbox"]
    )
    mark = GaugeMetricFamily(
        "mailcanary_agent_mailbox_watermark_timestamp_seconds",
        "Start of the last complete check of all folders",
        labels=["mailbox"],
    )
    flight = GaugeMetricFamily(
        "mailcanary_agent_mailbox_in_flight", "Canaries awaited in the mailbox", labels=["mailbox"]
    )
    for name, health in beat.mailboxes.items():
        up.add_metric([name], float(health.state == "ok"))
        flight.add_metric([name], health.in_flight)
        if health.watermark_ns is not None:
            mark.add_metric([name], health.watermark_ns / 1e9)
    yield from (up, mark, flight)


def families(beat: Heartbeat) -> Families:
    """The metric families of one heartbeat; pure."""
    yield InfoMetricFamily(
        "mailcanary_agent", "The agent", value={"agent": beat.agent, "version": beat.version}
    )
    yield _gauge("heartbeat_timestamp_seconds", "When this was measured", beat.at_ns / 1e9)
    yield _gauge("start_timestamp_seconds", "When the agent started", beat.started_ns / 1e9)
    yield _gauge("in_flight", "Canaries in the air", beat.in_flight)
    yield _gauge("lag_seconds", "Worst start against due time since the last beat", beat.lag_s)
    yield _gauge("spool_events", "Events in the spool", beat.spool.depth)
    yield _gauge("spool_bytes", "Bytes in use in the spool's file", beat.spool.bytes)
    yield _gauge("spool_up", "1 when the spool can be written", float(beat.spool.problem is None))
    yield CounterMetricFamily(
        "mailcanary_agent_spool_dropped_events",
        "Events dropped because the spool was past its bounds",
        value=beat.spool.dropped,
    )
    yield from _mailboxes(beat)
    yield from _counters(beat)


def standing_families(standing: Standing) -> Families:
    """The metric families of how relays and mailboxes do; pure."""
    canaries = CounterMetricFamily(
        "mailcanary_agent_relay_canaries",
        "Canaries of the relay by what became of them",
        labels=["relay", "outcome"],
    )
    failures = CounterMetricFamily(
        "mailcanary_agent_relay_failures",
        "Canaries of the relay that did not arrive, by where and why they failed",
        labels=["relay", "stage", "reason"],
    )
    flight = _by("relay", "in_flight", "Canaries of the relay that have no outcome yet")
    overdue = _by("relay", "overdue", "Of these, past their deadline and not in their mailbox")
    last = _by(
        "relay", "last_arrival_timestamp_seconds", "When a canary of the relay was last seen"
    )
    healthy = _by("relay", "healthy", "1 while its canaries come home, 0 while they go wrong")
    boxes = _by("mailbox", "healthy", "0 while canaries go wrong through whatever relay")
    for name, figures in standing.relays.items():
        for outcome in ENDS:
            canaries.add_metric([name, outcome], figures.outcomes[outcome])
        for (stage, reason), count in sorted(figures.failures.items()):
            failures.add_metric([name, stage, reason], count)
        flight.add_metric([name], figures.in_flight)
        overdue.add_metric([name], figures.overdue)
        if figures.last_ns is not None:
            last.add_metric([name], figures.last_ns / 1e9)
        if figures.healthy is not None:
            healthy.add_metric([name], float(figures.healthy))
    for name, well in standing.mailboxes.items():
        boxes.add_metric([name], float(well))
    yield from (canaries, failures, flight, overdue, last, healthy, boxes)


def _by(label: str, name: str, text: str) -> GaugeMetricFamily:
    return GaugeMetricFamily(f"mailcanary_agent_{label}_{name}", text, labels=[label])


class _HealthCollector(Collector):
    def __init__(self, ask: Callable[[], Iterable[Metric]]) -> None:
        self._ask = ask

    def collect(self) -> Families:
        return iter(self._ask())


def serve(address: str, port: int, ask: Callable[[], Iterable[Metric]]) -> Callable[[], None]:
    """Serve ``/metrics`` from a thread of its own, in which ``ask`` is called; gives what ends it.

    Raises:
        OSError: the address cannot be listened on.
    """
    registry = CollectorRegistry()
    registry.register(_HealthCollector(ask))
    server: Any
    server, thread = start_http_server(port, addr=address, registry=registry)

    def stop() -> None:
        server.shutdown()
        server.server_close()
        thread.join()

    return stop
