"""The collector's parts for Prometheus: configuration, log and consumers.

What stands on the disk is looked at by the collector itself, now and then; a scrape reads what it
found, since a scrape comes in the event loop and must wait for no disk. ``docs/http.md`` has the
table of all metrics.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar

from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    InfoMetricFamily,
    Metric,
)
from prometheus_client.registry import Collector

from collector.config.service import ConfigService
from collector.consumers import ConsumerStatus
from collector.log.engine import Bounds, Mark
from collector.log.sqlite import LogHealth
from probes.contract.units import NS_PER_S

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class ConfigFigures:
    """How the configuration stands: ``problems`` are those of the files as they are now."""

    revision: str
    since_ns: int
    customers: int
    reloads: int
    reloads_failed: int
    problems: int


@dataclass(frozen=True, slots=True)
class LogFigures:
    """What was found when the log was last looked at.

    ``missing`` counts, by source, the events that never came though later ones did.
    """

    looked_ns: int
    up: bool
    bounds: Bounds
    health: LogHealth
    missing: Mapping[str, int]


class Looked(Protocol):
    """What the collector keeps of its last look at the log, ``None`` before the first, and how the
    consumers do now."""

    @property
    def log(self) -> LogFigures | None:
        """What was found of the log."""

    @property
    def consumers(self) -> list[ConsumerStatus]:
        """How each of them fares."""


class PartCollector(Collector):
    """Asks when Prometheus asks; to be asked in the event loop only."""

    def __init__(self, config: ConfigService, looked: Looked) -> None:
        self._config = config
        self._looked = looked

    def collect(self) -> Iterator[Metric]:
        """The families of all parts."""
        return families(config_figures(self._config), self._looked.log, self._looked.consumers)

    def describe(self) -> Iterator[Metric]:
        """The same families without samples, so that registering asks no part."""
        return families(None, None, ())


def config_figures(config: ConfigService) -> ConfigFigures:
    """The figures of a service that has started."""
    now = config.in_force
    return ConfigFigures(
        revision=now.revision,
        since_ns=now.since_ns,
        customers=len(now.config.customers),
        reloads=config.reloads,
        reloads_failed=config.reloads_failed,
        problems=len(config.problems) + (config.trouble is not None),
    )


def missing_by_source(marks: Mapping[tuple[str, str], Mark]) -> dict[str, int]:
    """How many events of each source never came, over all its epochs."""
    found: dict[str, int] = {}
    for (source, _), mark in marks.items():
        found[source] = found.get(source, 0) + mark.missing
    return found


@dataclass(frozen=True, slots=True)
class _Figure(Generic[T]):
    """One metric: its name after the part's, its help, and how it is read off a ``T``.

    ``None`` is no sample.
    """

    name: str
    help: str
    value: Callable[[T], float | None]
    counts: bool = False


_CONFIG: Sequence[_Figure[ConfigFigures]] = (
    _Figure(
        "in_force_timestamp_seconds",
        "Since when the revision is in force",
        lambda config: config.since_ns / NS_PER_S,
    ),
    _Figure("customers", "Customers in it", lambda config: config.customers),
    _Figure(
        "problems",
        "What is wrong with the files; unless it is 0 the revision in force stays",
        lambda config: config.problems,
    ),
    _Figure("reloads", "How often the files were read", lambda config: config.reloads, counts=True),
    _Figure(
        "reload_failures",
        "How often what was read did not come into force",
        lambda config: config.reloads_failed,
        counts=True,
    ),
)

_LOG: Sequence[_Figure[LogFigures]] = (
    _Figure("up", "1 when the last write reached the disk", lambda log: float(log.up)),
    _Figure(
        "looked_timestamp_seconds",
        "When the log was last looked at, every ten seconds",
        lambda log: log.looked_ns / NS_PER_S,
    ),
    _Figure("last_cursor", "The newest entry's cursor", lambda log: log.bounds.last),
    _Figure(
        "oldest_entry_timestamp_seconds",
        "When the oldest entry that is kept was taken in",
        lambda log: None if log.bounds.oldest_at_ns is None else log.bounds.oldest_at_ns / NS_PER_S,
    ),
    _Figure("size_bytes", "What its files take on the disk", lambda log: log.bounds.bytes),
    _Figure("segments", "Its files", lambda log: log.bounds.segments),
    _Figure(
        "damaged_segments",
        "Damaged files that were set aside and are still there",
        lambda log: len(log.health.damaged),
    ),
    _Figure(
        "journal_bytes",
        "What its journals hold; more than 64 MiB when a reader or a full disk is in their way",
        lambda log: log.health.journal_bytes,
    ),
    _Figure("dead_letters", "Refused events that are kept", lambda log: log.bounds.dead_letters),
    _Figure("commits", "Commits since the start", lambda log: log.health.commits, counts=True),
    _Figure(
        "appended_entries",
        "Entries written since the start",
        lambda log: log.health.appended,
        counts=True,
    ),
    _Figure(
        "trimmed_entries",
        "Entries that retention dropped since the start",
        lambda log: log.health.trimmed,
        counts=True,
    ),
)

_CONSUMER: Sequence[_Figure[ConsumerStatus]] = (
    _Figure("cursor", "The last entry that it has dealt with", lambda one: one.cursor),
    _Figure("lag_entries", "Entries still before it", lambda one: one.lag_entries),
    _Figure("lag_seconds", "How long ago the oldest of those came", lambda one: one.lag_s),
    _Figure(
        "failures", "How often in a row it has failed; 0 when it works", lambda one: one.failures
    ),
    _Figure(
        "taken_entries", "Entries dealt with since the start", lambda one: one.taken, counts=True
    ),
    _Figure(
        "missed_entries",
        "Entries dropped before it had read them",
        lambda one: one.missed,
        counts=True,
    ),
    _Figure(
        "restarts",
        "How often it needed a new process since the start",
        lambda one: one.restarts,
        counts=True,
    ),
)


def families(
    config: ConfigFigures | None, log: LogFigures | None, consumers: Sequence[ConsumerStatus]
) -> Iterator[Metric]:
    """The families of all parts; of what is ``None`` there are no samples. Pure."""
    revision = InfoMetricFamily("mailcanary_collector_config_revision", "The revision in force")
    if config is not None:
        revision.add_metric([], {"revision": config.revision})
    yield revision
    yield from _families("config", _CONFIG, [] if config is None else [([], config)])
    yield from _families("log", _LOG, [] if log is None else [([], log)])
    missing = CounterMetricFamily(
        "mailcanary_collector_log_missing_events",
        "Events that never came though later ones of their source did",
        labels=["source"],
    )
    for source, count in sorted(log.missing.items() if log is not None else ()):
        missing.add_metric([source], count)
    yield missing
    by_name = [([one.name], one) for one in consumers]
    yield from _families("consumer", _CONSUMER, by_name, ["consumer"])


def _families(
    part: str,
    figures: Sequence[_Figure[T]],
    of: Sequence[tuple[list[str], T]],
    labels: Sequence[str] = (),
) -> Iterator[Metric]:
    for figure in figures:
        kind = CounterMetricFamily if figure.counts else GaugeMetricFamily
        family = kind(f"mailcanary_collector_{part}_{figure.name}", figure.help, labels=labels)
        for values, source in of:
            value = figure.value(source)
            if value is not None:
                family.add_metric(values, value)
        yield family
