"""How often the checks look at things: for everyone who has to bear it."""

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field

from probes.contract.config.models import Agent, CheckRule, Destination, ProbeKind, Relay
from probes.contract.config.selection import selects


def _sums() -> defaultdict[str, float]:
    return defaultdict(float)


@dataclass(slots=True)
class Looks:
    """Looks a minute by name; names that nobody looks at, or from, are absent.

    ``towards`` are connections to the mail port of each host of a destination, from all relays
    together, and ``origins`` those relays' number. ``egress`` are connections from a relay,
    controls included, with a domain for one host: how many it has only DNS tells. ``queue`` are
    readings of a relay's queue. All are at most: a source reaches no host of the other family.
    """

    towards: dict[str, float] = field(default_factory=_sums)
    origins: dict[str, int] = field(default_factory=lambda: defaultdict(int))
    egress: dict[str, float] = field(default_factory=_sums)
    queue: dict[str, float] = field(default_factory=_sums)


def looks(
    relays: Iterable[Relay],
    agents: Iterable[Agent],
    destinations: Iterable[Destination],
    checks: Iterable[CheckRule],
) -> Looks:
    """The looks of ``checks``: by each agent on a selected relay, from each of its sources."""
    result = Looks()
    known = {relay.name: relay for relay in relays}
    sitting: defaultdict[str, int] = defaultdict(int)
    sources: defaultdict[str, int] = defaultdict(int)
    for agent in agents:
        relay = known.get(agent.on_relay) if agent.on_relay is not None else None
        if relay is not None:
            sitting[relay.name] += 1
            sources[relay.name] += len(agent.sources or relay.egress) or 1
    every = list(destinations)
    from_where: defaultdict[str, set[str]] = defaultdict(set)
    for rule in checks:
        rate = 60.0 / rule.interval
        names = [name for name in sitting if selects(rule.relays, known[name])]
        if rule.probe is ProbeKind.QUEUE:
            for name in names:
                result.queue[name] += rate * sitting[name]
            continue
        chosen = [one for one in every if selects(rule.destinations, one)]
        ends = sum((len(one.hosts) or 1) * (1 + len(one.controls)) for one in chosen)
        for name in names if chosen else ():
            result.egress[name] += rate * sources[name] * ends
        for one in chosen if names else ():
            result.towards[one.name] += rate * sum(sources[name] for name in names)
            from_where[one.name].update(names)
    result.origins.update({name: len(relays) for name, relays in from_where.items()})
    return result
