"""All agents' parts of a configuration, of which only what has changed is worked out again.

An agent's part is made of one piece of each customer. A change of one customer makes new pieces of
that customer; those of all others, and their texts, are taken over as they were.
"""

from typing import Any

import msgspec

from probes.contract.config.models import Config, Customer
from probes.contract.config.prune import (
    bounces_of,
    customer_document,
    customer_part,
    document_of,
    shell_part,
)
from probes.contract.config.selection import Estate, Group


class Pieces:
    """What a customer is to the agents. Agents that fly by the same rules share a piece."""

    def __init__(self, customer: Customer, estate: Estate) -> None:
        self.customer = customer
        self.groups = tuple(estate.groups_of(customer))
        self._texts: dict[tuple[tuple[int, ...], str | None], msgspec.Raw | None] = {}

    def flown(self, agent: str) -> list[Group]:
        """The rules that ``agent`` flies by."""
        return [group for group in self.groups if agent in group.agents]

    def text(self, flown: list[Group], bounces: str | None) -> msgspec.Raw | None:
        """The customer's part for an agent that flies by those, encoded; ``None`` if it is none."""
        here = bounces if (bounces or "").startswith(f"{self.customer.name}/") else None
        key = (tuple(group.index for group in flown), here)
        if key not in self._texts:
            part = customer_part(self.customer, flown, here)
            self._texts[key] = None if part is None else _encoded(customer_document(part))
        return self._texts[key]


class Parts:
    """The parts of ``config``; ``before`` are those of the configuration that it replaces."""

    def __init__(self, config: Config, before: "Parts | None" = None) -> None:
        self.config = config
        self.pieces: dict[str, Pieces] = {}
        estate = Estate.of(config.relays, config.agents, config.defaults)
        known = {}
        if before is not None and _chosen_from(before.config) == _chosen_from(config):
            known = before.pieces
        for customer in config.customers:
            same = known.get(customer.name)
            if same is None or same.customer != customer:
                same = Pieces(customer, estate)
            self.pieces[customer.name] = same

    def text(self, agent: str) -> msgspec.Raw:
        """The part of ``agent`` as JSON, the same for the same part."""
        bounces = bounces_of(self.config, agent)
        customers, flown = [], []
        for pieces in self.pieces.values():
            rules = pieces.flown(agent)
            flown += rules
            text = pieces.text(rules, bounces)
            if text is not None:
                customers.append(text)
        document: dict[str, Any] = document_of(shell_part(self.config, agent, flown))
        if customers:
            document["customers"] = customers
        return _encoded(document)


def _encoded(document: dict[str, Any]) -> msgspec.Raw:
    return msgspec.Raw(msgspec.json.encode(document, order="sorted"))


def _chosen_from(config: Config) -> tuple[object, ...]:
    """All that a customer's rules choose from."""
    return (
        config.defaults,
        [(relay.name, relay.labels) for relay in config.relays],
        [(agent.name, agent.labels, agent.sender is None) for agent in config.agents],
    )
