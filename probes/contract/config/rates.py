"""How many canaries a minute the rules make, for everything that has a budget."""

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field

from probes.contract.config.selection import Group

TOLERANCE = 1 + 1e-9
"""Sums of rates are floats; a budget used up exactly is not exceeded."""


@dataclass(slots=True)
class Usage:
    """What one customer's rules come to."""

    paths: int = 0
    per_minute: float = 0.0


def _sums() -> defaultdict[str, float]:
    return defaultdict(float)


@dataclass(slots=True)
class Rates:
    """Canaries a minute by name; ``by_agent_*`` are keyed by agent and then by the other's name.

    Names that no rule selects are absent. Mailboxes are full names, ``customer/mailbox``.
    """

    relays: dict[str, float] = field(default_factory=_sums)
    mailboxes: dict[str, float] = field(default_factory=_sums)
    agents: dict[str, float] = field(default_factory=_sums)
    customers: dict[str, Usage] = field(default_factory=lambda: defaultdict(Usage))
    by_agent_relay: dict[str, dict[str, float]] = field(default_factory=lambda: defaultdict(_sums))
    by_agent_mailbox: dict[str, dict[str, float]] = field(
        default_factory=lambda: defaultdict(_sums)
    )


def rates(groups: Iterable[Group]) -> Rates:
    """The rates of ``groups``; within a group each pair of a relay gets the same share."""
    result = Rates()
    # Many customers select the same relays and agents: added up first, spread out once.
    shared: defaultdict[tuple[tuple[str, ...], tuple[str, ...]], float] = defaultdict(float)
    for group in groups:
        usage = result.customers[group.customer]
        usage.paths += group.paths
        usage.per_minute += group.per_minute
        shared[group.relays, group.agents] += group.per_relay
        each = group.per_minute / group.pairs
        for mailbox in group.mailboxes:
            result.mailboxes[mailbox] += each * len(group.agents)
            for agent in group.agents:
                result.by_agent_mailbox[agent][mailbox] += each
    for (relays, agents), per_relay in shared.items():
        for relay in relays:
            result.relays[relay] += per_relay
        for agent in agents:
            result.agents[agent] += per_relay * len(relays) / len(agents)
            of_agent = result.by_agent_relay[agent]
            for relay in relays:
                of_agent[relay] += per_relay / len(agents)
    return result
