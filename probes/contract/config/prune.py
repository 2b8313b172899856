"""One agent's part of a configuration: all that its plan needs, and nothing of anybody else's.

The part is a configuration in the same words, so that an agent works out the same plan from it as
from the whole: which is why it holds the names and labels of the other agents that share its rules,
but neither their bounce mailboxes nor any customer whose canaries they alone fly.
"""

from typing import Any

from probes.contract.config.models import Agent, Config, Customer, Sender
from probes.contract.config.selection import Choice, Estate, Group


def part_of(config: Config, agent: str) -> Config:
    """What ``agent`` has to know of ``config``; nothing to do for one that it does not name.

    ``plan(part_of(config, agent)).for_agent(agent)`` is ``plan(config).for_agent(agent)``, path by
    path, with every label of what those paths name: while the part stays the same, so do the tags
    of its canaries. What a customer was promised and may use stays behind. No secret is in either:
    only names.
    """
    estate = Estate.of(config.relays, config.agents, config.defaults)
    mine = next((one for one in config.agents if one.name == agent), None)
    bounces = mine.sender.bounces if mine is not None and mine.sender is not None else None
    customers: list[Customer] = []
    found: list[Group] = []
    for customer in config.customers:
        part, flown = _customer(customer, estate, agent, bounces)
        found += flown
        if part is not None:
            customers.append(part)
    relays = {name for group in found for name in group.relays}
    if mine is not None and mine.on_relay is not None:
        relays.add(mine.on_relay)
    sharing = {name for group in found for name in group.agents}
    agents = [
        one if one is mine else _stranger(one)
        for one in config.agents
        if one is mine or one.name in sharing
    ]
    return config.model_copy(
        update={
            "relays": tuple(relay for relay in config.relays if relay.name in relays),
            "agents": tuple(agents),
            "customers": tuple(customers),
        }
    )


def _customer(
    customer: Customer, estate: Estate, agent: str, bounces: str | None
) -> tuple[Customer | None, list[Group]]:
    """The customer's part, ``None`` where there is none, and the rules that ``agent`` flies by."""
    boxes = Choice(customer.mailboxes)
    rules, found = [], []
    for index, rule in enumerate(customer.canaries):
        group = estate.group(customer.name, boxes, index, rule)
        if group.paths and agent in group.agents:
            rules.append(rule)
            found.append(group)
    wanted = {name for group in found for name in group.mailboxes} | {bounces}
    mailboxes = tuple(box for box in customer.mailboxes if f"{customer.name}/{box.name}" in wanted)
    if not mailboxes:
        return None, []
    part = Customer(
        name=customer.name, mailboxes=mailboxes, canaries=tuple(rules), labels=customer.labels
    )
    return part, found


def _stranger(agent: Agent) -> Agent:
    sender = agent.sender
    if sender is not None:
        sender = Sender(address=sender.address, helo=sender.helo)
    return Agent(name=agent.name, sender=sender, labels=agent.labels)


def document_of(config: Config) -> dict[str, Any]:
    """``config`` in the words of the file, ready for JSON; what is left to its default is left out.

    ``Config.model_validate`` makes the same configuration of it again.
    """
    document: dict[str, Any] = config.model_dump(mode="json", exclude_defaults=True)
    return document


def customer_document(customer: Customer) -> dict[str, Any]:
    """``customer`` in the words of its file, as :func:`document_of` has them."""
    document: dict[str, Any] = customer.model_dump(mode="json", exclude_defaults=True)
    return document
