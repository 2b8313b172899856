"""One agent's part of a configuration: all that its plan needs, and nothing of anybody else's.

The part is a configuration in the same words, so that an agent works out the same plan from it as
from the whole: which is why it holds the names and labels of the other agents that share its rules,
but neither their bounce mailboxes nor any customer whose canaries they alone fly.
"""

from collections.abc import Iterable, Sequence
from typing import Any

from probes.contract.check_plan import looks_at
from probes.contract.config.models import Agent, CheckRule, Config, Customer, ProbeKind, Sender
from probes.contract.config.selection import Estate, Group, selects


def part_of(config: Config, agent: str) -> Config:
    """What ``agent`` has to know of ``config``; nothing to do for one that it does not name.

    ``plan(part_of(config, agent)).for_agent(agent)`` is ``plan(config).for_agent(agent)``, path by
    path, with every label of what those paths name: while the part stays the same, so do the tags
    of its canaries. What a customer was promised and may use stays behind. No secret is in either:
    only names.
    """
    estate = Estate.of(config.relays, config.agents, config.defaults)
    bounces = bounces_of(config, agent)
    customers: list[Customer] = []
    found: list[Group] = []
    for customer in config.customers:
        flown = [group for group in estate.groups_of(customer) if agent in group.agents]
        found += flown
        part = customer_part(customer, flown, bounces)
        if part is not None:
            customers.append(part)
    shell = shell_part(config, agent, found)
    return shell.model_copy(update={"customers": tuple(customers)})


def bounces_of(config: Config, agent: str) -> str | None:
    """The mailbox in which the agent's bounces come home."""
    senders = [one.sender for one in config.agents if one.name == agent]
    return next((sender.bounces for sender in senders if sender is not None), None)


def shell_part(config: Config, agent: str, flown: Iterable[Group]) -> Config:
    """The part without its customers, whose rules ``flown`` are those that ``agent`` flies by."""
    mine = next((one for one in config.agents if one.name == agent), None)
    relays: set[str] = set()
    sharing: set[str] = set()
    for group in flown:
        relays.update(group.relays)
        sharing.update(group.agents)
    checks = _checks_of(config, mine)
    if mine is not None and mine.on_relay is not None:
        relays.add(mine.on_relay)
    if any(rule.probe is ProbeKind.QUEUE for rule in checks):
        # By their senders it knows canaries in the queue, whoever sent them.
        sharing.update(one.name for one in config.agents if one.sender is not None)
    agents = [
        one if one is mine else _stranger(one)
        for one in config.agents
        if one is mine or one.name in sharing
    ]
    return config.model_copy(
        update={
            "relays": tuple(relay for relay in config.relays if relay.name in relays),
            "agents": tuple(agents),
            "customers": (),
            "destinations": tuple(
                one for one in config.destinations if any(looks_at(rule, one) for rule in checks)
            ),
            "checks": checks,
        }
    )


def _checks_of(config: Config, mine: Agent | None) -> tuple[CheckRule, ...]:
    """The rules that an agent carries out, each of its own relay alone."""
    relay = next((one for one in config.relays if mine and one.name == mine.on_relay), None)
    if relay is None:
        return ()
    return tuple(
        rule.model_copy(update={"relays": relay.name})
        for rule in config.checks
        if selects(rule.relays, relay)
    )


def customer_part(
    customer: Customer, flown: Sequence[Group], bounces: str | None
) -> Customer | None:
    """A customer's part for an agent; ``None`` where there is none.

    ``flown`` are the customer's rules that the agent flies by, ``bounces`` its bounce mailbox.
    """
    wanted = {name for group in flown for name in group.mailboxes} | {bounces}
    mailboxes = tuple(box for box in customer.mailboxes if f"{customer.name}/{box.name}" in wanted)
    if not mailboxes:
        return None
    rules = tuple(customer.canaries[group.index] for group in flown)
    return Customer(name=customer.name, mailboxes=mailboxes, canaries=rules, labels=customer.labels)


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
