"""Which paths an agent was ever given, and on which relays it sat: what it may speak of, however
late it does.

An agent that comes back after days reports canaries of revisions that are long replaced, so what
counts is every revision that was in force while a report may still be under way, not the present
one. Rules hardly change from one revision to the next: each distinct one is kept once.
"""

from collections.abc import Iterable
from itertools import product

import msgspec

from probes.contract.config.models import Config
from probes.contract.config.selection import groups
from probes.contract.names import Path


class Grant(msgspec.Struct, frozen=True, array_like=True):
    """One rule worked out: every one of the agents may use every relay to every mailbox.

    All sorted; mailboxes are full names, ``customer/mailbox``. Without mailboxes it says where the
    agents sit: each may speak of the relays themselves, and send nothing.
    """

    relays: tuple[str, ...]
    agents: tuple[str, ...]
    mailboxes: tuple[str, ...]


def grants(config: Config) -> set[Grant]:
    """The distinct grants of a configuration: of its rules, and of agents that sit on relays."""
    flown = {Grant(group.relays, group.agents, group.mailboxes) for group in groups(config)}
    seats = {
        Grant((agent.on_relay,), (agent.name,), ())
        for agent in config.agents
        if agent.on_relay is not None
    }
    return flown | seats


class Assigned:
    """The union of all grants that were learned."""

    def __init__(self, known: Iterable[Grant] = ()) -> None:
        self._grants: set[Grant] = set()
        # Many mailboxes share their relays: one set per distinct selection, whoever refers to it.
        self._shared: dict[tuple[str, ...], frozenset[str]] = {}
        self._relays: dict[tuple[str, str], tuple[frozenset[str], ...]] = {}
        self._seats: set[tuple[str, str]] = set()
        for grant in known:
            self.learn(grant)

    def learn(self, grant: Grant) -> bool:
        """Add a grant; whether it is new."""
        if grant in self._grants:
            return False
        self._grants.add(grant)
        if not grant.mailboxes:
            self._seats.update(product(grant.agents, grant.relays))
            return True
        relays = self._shared.setdefault(grant.relays, frozenset(grant.relays))
        for agent in grant.agents:
            for mailbox in grant.mailboxes:
                before = self._relays.get((agent, mailbox), ())
                if relays not in before:
                    self._relays[agent, mailbox] = (*before, relays)
        return True

    def allows(self, path: Path) -> bool:
        """Whether the path was assigned to its agent under any grant."""
        return any(
            path.relay in relays for relays in self._relays.get((path.agent, path.mailbox), ())
        )

    def sits(self, agent: str, relay: str) -> bool:
        """Whether the agent sat on the relay under any grant."""
        return (agent, relay) in self._seats

    def __len__(self) -> int:
        return len(self._grants)
