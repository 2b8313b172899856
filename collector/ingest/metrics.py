"""Ingest for Prometheus."""

from collections.abc import Iterable, Iterator

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from collector.ingest.service import Ingest

_PREFIX = "mailcanary_collector_ingest"


class IngestCollector(Collector):
    """Reads the counters when Prometheus asks; to be asked in the event loop only."""

    def __init__(self, ingest: Ingest) -> None:
        self._ingest = ingest

    def collect(self) -> Iterator[Metric]:
        """The families, all with their samples from the start."""
        ingest, admission = self._ingest, self._ingest.admission
        yield _counter("batches", "Batches taken in", ingest.batches)
        yield _counter("gaps", "Batches that began past the mark", ingest.gaps)
        yield _counters("events", "Events by what became of them", "result", ingest.events.items())
        yield _counters(
            "refused_events",
            "Events that went to the dead letters",
            "reason",
            ((str(reason), count) for reason, count in ingest.refused.items()),
        )
        yield _counters("turned_away", "Batches turned away", "why", admission.turned_away.items())
        yield _counters(
            "agent_bytes",
            "What an agent's events take in the log before they are packed",
            "agent",
            ingest.bytes_of.items(),
        )
        yield _gauge("batches_in_progress", "Batches being taken in", admission.inside)
        yield _gauge("body_bytes", "What their bodies may have in memory", admission.body_bytes)
        memory = admission.memory
        yield _gauge(
            "plain_bytes",
            "Held for what they unpack to, copies included",
            memory.total - memory.free,
        )


def _counter(name: str, text: str, value: int) -> CounterMetricFamily:
    return CounterMetricFamily(f"{_PREFIX}_{name}", text, value=value)


def _gauge(name: str, text: str, value: int) -> GaugeMetricFamily:
    return GaugeMetricFamily(f"{_PREFIX}_{name}", text, value=value)


def _counters(
    name: str, text: str, label: str, values: Iterable[tuple[str, int]]
) -> CounterMetricFamily:
    family = CounterMetricFamily(f"{_PREFIX}_{name}", text, labels=[label])
    for value, count in values:
        family.add_metric([value], count)
    return family
