"""What this agent has to measure: its part of the configuration, ready to be worked on."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from probes.contract.check_plan import CheckPlan, check_plans
from probes.contract.config.models import Agent, Config, Customer, Mailbox, Relay, Sender, Timeouts
from probes.contract.errors import MailcanaryError
from probes.contract.names import Path
from probes.contract.plan import PathPlan, plan


class AssignmentError(MailcanaryError):
    """The configuration has no work for this agent, or not enough to do it."""

    exit_code = 2


@dataclass(frozen=True, slots=True)
class Terms:
    """What a canary was sent under: what becomes of it is judged by that, whatever came after.

    ``mailbox`` is where it is to come home, as it was then, ``bounces`` where it would be returned.
    ``moved``: of a former run; how the mailbox was then is not known, only that it is another now.
    """

    relay: Relay | None
    helo: str
    mailbox: Mailbox | None
    bounces: str | None
    moved: bool = False


@dataclass(frozen=True, slots=True)
class Assignment:
    """One agent's part of a configuration revision. Mailboxes go by ``customer/mailbox``.

    Without a ``sender`` there are no paths: the agent looks outward from its relay (``checks``).
    """

    agent: str
    sender: Sender | None
    labels: Mapping[str, str]
    relays: Mapping[str, Relay]
    mailboxes: Mapping[str, Mailbox]
    paths: tuple[PathPlan, ...]
    timeouts: Timeouts
    remember_s: float
    revision: str = ""
    checks: tuple[CheckPlan, ...] = ()

    @property
    def helo(self) -> str:
        """The name that the agent gives in EHLO; empty where it sends nothing."""
        return "" if self.sender is None else self.sender.helo

    @property
    def address(self) -> str:
        """The canaries' envelope sender; empty where the agent sends nothing."""
        return "" if self.sender is None else self.sender.address

    @property
    def routes(self) -> int:
        """How many relays the paths lead through."""
        return len({plan.path.relay for plan in self.paths})

    def terms(self, path: Path) -> Terms:
        """What canaries of that path are sent under; the path need not be in it any more."""
        return Terms(
            self.relays.get(path.relay),
            self.helo,
            self.mailboxes.get(path.mailbox),
            self.bounces,
        )

    @property
    def bounces(self) -> str | None:
        """The mailbox in which the agent's bounces come home."""
        return None if self.sender is None else self.sender.bounces

    def check_for(self, agent: str) -> None:
        """See that it is whole, and meant for that agent.

        Raises:
            AssignmentError: it is not.
        """
        if self.agent != agent:
            raise AssignmentError(f"assignment: found agent {self.agent}, allowed is {agent}")
        if self.paths and self.sender is None:
            raise AssignmentError("assignment: found paths, allowed without a sender are none")
        for path in (one.path for one in self.paths):
            if path.relay not in self.relays or path.mailbox not in self.mailboxes:
                raise AssignmentError(
                    f"assignment: {path}: found a path whose relay or mailbox is missing, allowed "
                    "are paths with both"
                )


def _mailboxes(customers: tuple[Customer, ...]) -> Iterator[tuple[str, Mailbox]]:
    for customer in customers:
        for mailbox in customer.mailboxes:
            yield f"{customer.name}/{mailbox.name}", mailbox


def _agent(config: Config, name: str | None) -> Agent:
    names = ", ".join(agent.name for agent in config.agents) or "none"
    if name is None:
        if len(config.agents) == 1:
            return config.agents[0]
        raise AssignmentError(f"--name: found none, allowed is one of the agents {names}")
    for agent in config.agents:
        if agent.name == name:
            return agent
    raise AssignmentError(f"--name: found {name!r}, allowed is one of the agents {names}")


def assign(config: Config, name: str | None = None, revision: str = "") -> Assignment:
    """The assignment of the agent of that name; the only agent's when ``name`` is ``None``.

    Raises:
        AssignmentError: there is no such agent, or it neither has a sender nor sits on a relay.
    """
    agent = _agent(config, name)
    if agent.sender is None and agent.on_relay is None:
        raise AssignmentError(
            f"agent {agent.name}: found neither sender nor on_relay, allowed is an agent with "
            "sender.address and sender.helo, or with on_relay, or both"
        )
    paths = tuple(plan(config).for_agent(agent.name))
    wanted: set[str | None] = {path.path.mailbox for path in paths}
    if agent.sender is not None:
        wanted |= {agent.sender.bounces}
    return Assignment(
        agent=agent.name,
        sender=agent.sender,
        labels=agent.labels,
        relays={relay.name: relay for relay in config.relays},
        mailboxes={name: box for name, box in _mailboxes(config.customers) if name in wanted},
        paths=paths,
        timeouts=config.timeouts,
        remember_s=config.defaults.remember,
        revision=revision,
        checks=check_plans(config, agent.name),
    )
