"""Which paths an agent was ever given: what it may speak of, however late it does.

An agent that comes back after days reports canaries of revisions that are long replaced, so what
counts is every revision that was in force while a report may still be under way, not the present
one. Rules hardly change from one revision to the next: each distinct one is kept once.
"""

from collections.abc import Iterable

import msgspec

from probes.contract.config.models import Config
from probes.contract.config.selection import groups
from probes.contract.names import Path


class Grant(msgspec.Struct, frozen=True, array_like=True):
    """One rule worked out: every one of the agents may use every relay to every mailbox.

    All sorted; mailboxes are full names, ``customer/mailbox``.
    """

    relays: tuple[str, ...]
    agents: tuple[str, ...]
    mailboxes: tuple[str, ...]


def grants(config: Config) -> set[Grant]:
    """The distinct grants of a configuration; none for agents that send no canaries."""
    return {Grant(group.relays, group.agents, group.mailboxes) for group in groups(config)}


class Assigned:
    """The union of all grants that were learned."""

    def __init__(self, known: Iterable[Grant] = ()) -> None:
        self._grants: set[Grant] = set()
        # Many mailboxes share their relays: one set per distinct selection, whoever refers to it.
        self._shared: dict[tuple[str, ...], frozenset[str]] = {}
        self._relays: dict[tuple[str, str], tuple[frozenset[str], ...]] = {}
        for grant in known:
            self.learn(grant)

    def learn(self, grant: Grant) -> bool:
        """Add a grant; whether it is new."""
        if grant in self._grants:
            return False
        self._grants.add(grant)
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

    def __len__(self) -> int:
        return len(self._grants)
