"""What agents see from the relays' own side, for Prometheus: only what is configured to be seen.

Read off the rollup every ten seconds, since a scrape must wait for no disk. Hosts are not told
apart, and what the configuration in force does not have looked at leaves no sample.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from collector.rollup.check_queries import LookFigure, LookView
from probes.contract.check_plan import check_plans
from probes.contract.config.models import Config
from probes.contract.units import NS_PER_S

MAX_SOURCES = 16
"""Sources of one relay, probe and target that have samples; a host has few addresses."""

Planned = Mapping[tuple[str, str, str], frozenset[str]]
"""By agent, relay and probe: the targets; ``""`` stands for none, or all of them."""
_Labels = tuple[str, str, str, str]
"""Relay, probe, target, source."""


@dataclass(frozen=True, slots=True)
class CheckFigures:
    """All looks, those at queues with what they saw, and which are configured by a revision."""

    looks: Sequence[LookFigure]
    queues: Sequence[LookView]
    plan: Planned
    revision: str = ""


def planned(config: Config) -> Planned:
    """What is configured to be looked at."""
    found: defaultdict[tuple[str, str, str], set[str]] = defaultdict(set)
    for agent in config.agents:
        for plan in check_plans(config, agent.name):
            names = [one.name for one in plan.destinations]
            found[plan.agent, plan.relay, str(plan.probe)].update(["", *names])
    return {key: frozenset(names) for key, names in found.items()}


class CheckCollector(Collector):
    """Asks when Prometheus asks; to be asked in the event loop only."""

    def __init__(self, figures: Callable[[], CheckFigures | None]) -> None:
        self._figures = figures

    def collect(self) -> Iterator[Metric]:
        """The families of what was found last."""
        return families(self._figures() or _NOTHING)

    def describe(self) -> Iterator[Metric]:
        """The same families without samples, so that registering asks nobody."""
        return families(_NOTHING)


_NOTHING = CheckFigures((), (), {})


def families(figures: CheckFigures) -> Iterator[Metric]:
    """The metric families of the looks that are configured; pure."""
    labels = ["relay", "probe", "target", "source"]
    ok = GaugeMetricFamily(
        "mailcanary_check_ok", "1 when the last look found nothing wrong", labels=labels
    )
    told = GaugeMetricFamily(
        "mailcanary_check_told_timestamp_seconds", "When it was last told of", labels=labels
    )
    stale = GaugeMetricFamily(
        "mailcanary_check_stale", "1 when it was not told again for three intervals", labels=labels
    )
    failed = GaugeMetricFamily(
        "mailcanary_check_failed",
        "1 for the reason for which it is not well, of all destinations or of the relay itself",
        labels=[*labels, "reason"],
    )
    for values, found in _grouped(figures.looks, figures.plan):
        fresh = [one for one in found if not one.stale]
        if fresh:
            ok.add_metric(values, float(all(one.ok for one in fresh)))
        for reason in sorted({one.reason for one in fresh if not one.ok and one.reason}):
            failed.add_metric([*values, reason], 1.0)
        told.add_metric(values, max(one.told_ns for one in found) / NS_PER_S)
        stale.add_metric(values, float(not fresh))
    yield from (ok, failed, told, stale)
    yield from _of_queues(figures.queues, figures.plan)


def _grouped(looks: Iterable[LookFigure], plan: Planned) -> list[tuple[_Labels, list[LookFigure]]]:
    """The looks by their labels; of several agents on a relay all have to find it well."""
    found: defaultdict[_Labels, list[LookFigure]] = defaultdict(list)
    for one in looks:
        if one.target in plan.get((one.agent, one.relay, one.probe), ()):
            found[one.relay, one.probe, one.target, one.source].append(one)
    sources: defaultdict[tuple[str, str, str], int] = defaultdict(int)
    kept = []
    # Those told of last come first: a source that is gone makes room for others.
    order = sorted(found.items(), key=lambda it: (-max(one.told_ns for one in it[1]), it[0]))
    for values, members in order:
        sources[values[:3]] += 1
        if sources[values[:3]] <= MAX_SOURCES:
            kept.append((values, members))
    return sorted(kept, key=lambda it: it[0])


def _of_queues(looks: Iterable[LookView], plan: Planned) -> Iterator[Metric]:
    messages = GaugeMetricFamily(
        "mailcanary_queue_messages", "Mails in a queue of the relay's", labels=["relay", "queue"]
    )
    oldest = GaugeMetricFamily(
        "mailcanary_queue_oldest_timestamp_seconds",
        "When the oldest of these came",
        labels=["relay", "queue"],
    )
    canaries = GaugeMetricFamily(
        "mailcanary_queue_canaries", "Canaries in the relay's queues", labels=["relay"]
    )
    # Of several agents' looks at one relay the newest, which comes last.
    newest = {
        look.relay: look.queue
        for look in looks
        if (look.agent, look.relay, look.probe) in plan and look.queue is not None
    }
    for relay, queue in sorted(newest.items()):
        canaries.add_metric([relay], queue.canaries)
        for name, depth in sorted(queue.queues.items()):
            messages.add_metric([relay, name], depth.count)
            if depth.oldest_ns is not None:
                oldest.add_metric([relay, name], depth.oldest_ns / NS_PER_S)
    yield from (messages, oldest, canaries)
