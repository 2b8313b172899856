"""The parts' metrics: what is served is what the docs list, and what the parts know."""

from collections.abc import Iterable
from typing import Any

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import Metric
from prometheus_client.parser import text_string_to_metric_families

from collector.consumers import ConsumerStatus
from collector.log.engine import Bounds, Mark
from collector.log.sqlite import LogHealth
from collector.web.part_metrics import (
    ConfigFigures,
    LogFigures,
    families,
    missing_by_source,
)

CONFIG = ConfigFigures(
    revision="abc", since_ns=1_500_000_000, customers=3, reloads=5, reloads_failed=2, problems=4
)
LOG = LogFigures(
    looked_ns=2_500_000_000,
    up=True,
    bounds=Bounds(7, 99, 4096, 2, 6, 1_000_000_000),
    health=LogHealth(None, 11, 93, 12, ("x.damaged-1",), 4096, None),
    missing={"lon": 8, "sfo": 0},
)
ROLLUP = ConsumerStatus("rollup", 90, 9, 1.5, 13, 14, 15, "broken", 16)


def _samples(found: Iterable[Metric]) -> dict[str, float]:
    """Samples by what Prometheus reads, such as ``config_problems`` without the common prefix."""

    class Given:
        def collect(self) -> Iterable[Metric]:
            return found

    registry = CollectorRegistry(auto_describe=False)
    registry.register(Given())
    read: dict[str, float] = {}
    for family in text_string_to_metric_families(generate_latest(registry).decode()):
        for sample in family.samples:
            labels = ",".join(f"{key}={value}" for key, value in sample.labels.items())
            name = sample.name.removeprefix("mailcanary_collector_")
            read[f"{name}{{{labels}}}" if labels else name] = sample.value
    return read


def test_every_figure_comes_out_under_its_name() -> None:
    assert _samples(families(CONFIG, LOG, [ROLLUP])) == {
        "config_revision_info{revision=abc}": 1,
        "config_in_force_timestamp_seconds": 1.5,
        "config_customers": 3,
        "config_problems": 4,
        "config_reloads_total": 5,
        "config_reload_failures_total": 2,
        "log_up": 1,
        "log_looked_timestamp_seconds": 2.5,
        "log_last_cursor": 99,
        "log_oldest_entry_timestamp_seconds": 1,
        "log_size_bytes": 4096,
        "log_segments": 2,
        "log_damaged_segments": 1,
        "log_journal_bytes": 4096,
        "log_dead_letters": 6,
        "log_commits_total": 11,
        "log_appended_entries_total": 93,
        "log_trimmed_entries_total": 12,
        "log_missing_events_total{source=lon}": 8,
        "log_missing_events_total{source=sfo}": 0,
        "consumer_cursor{consumer=rollup}": 90,
        "consumer_lag_entries{consumer=rollup}": 9,
        "consumer_lag_seconds{consumer=rollup}": 1.5,
        "consumer_missed_entries_total{consumer=rollup}": 13,
        "consumer_taken_entries_total{consumer=rollup}": 14,
        "consumer_failures{consumer=rollup}": 15,
        "consumer_restarts_total{consumer=rollup}": 16,
    }


def test_what_was_not_looked_at_yet_has_no_samples() -> None:
    assert _samples(families(None, None, ())) == {}


def test_an_empty_log_has_no_oldest_entry() -> None:
    empty = LogFigures(
        looked_ns=1, up=False, bounds=Bounds(1, 0, 0, 1, 0, None), health=LOG.health, missing={}
    )
    read = _samples(families(None, empty, ()))
    assert "log_oldest_entry_timestamp_seconds" not in read
    assert read["log_up"] == 0


def test_what_is_missing_is_added_up_over_the_epochs_of_a_source() -> None:
    def mark(missing: int) -> Any:
        return Mark(high_water=9, missing=missing, first_at_ns=0, last_at_ns=0)

    marks = {("sfo", "a"): mark(2), ("sfo", "b"): mark(3), ("lon", "a"): mark(0)}
    assert missing_by_source(marks) == {"sfo": 5, "lon": 0}
