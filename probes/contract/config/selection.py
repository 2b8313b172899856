"""What a rule selects: its relays, agents and mailboxes by name."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from probes.contract.config.models import Config, Customer, Defaults, Rule

Chosen = str | tuple[str, ...] | Mapping[str, str]
"""A validated selector: ``all``, a name, names, or labels."""


class Selectable(Protocol):
    """Anything with a name and labels."""

    # Read-only, since the models are frozen.
    @property
    def name(self) -> str: ...
    @property
    def labels(self) -> dict[str, str]: ...


def selector_words(selector: Chosen) -> str:
    """The selector in one canonical form: order and way of writing do not matter."""
    if isinstance(selector, str):
        return selector
    if isinstance(selector, Mapping):
        return "{" + ",".join(f"{key}={value}" for key, value in sorted(selector.items())) + "}"
    return ",".join(sorted(set(selector)))


def selects(selector: Chosen, item: Selectable) -> bool:
    """Whether ``selector`` selects ``item``."""
    if isinstance(selector, str):
        return selector in ("all", item.name)
    if isinstance(selector, Mapping):
        return all(item.labels.get(key) == value for key, value in selector.items())
    return item.name in selector


class Choice:
    """The items that selectors choose from; the same selector is worked out once."""

    def __init__(self, items: Iterable[Selectable]) -> None:
        self._items = sorted(items, key=lambda item: item.name)
        self._known: dict[str, tuple[str, ...]] = {}

    def names(self, selector: Chosen) -> tuple[str, ...]:
        """The selected names, sorted, each once; the same object for the same selector."""
        words = selector_words(selector)
        if words not in self._known:
            chosen = {item.name for item in self._items if selects(selector, item)}
            self._known[words] = tuple(sorted(chosen))
        return self._known[words]


@dataclass(frozen=True, slots=True)
class Group:
    """A rule worked out: canaries fly through every relay, from every agent to every mailbox.

    ``index`` is the rule's place among its customer's; ``words`` identifies it across edits of
    other rules and of its own relays. Mailboxes are full names, ``customer/mailbox``.
    """

    customer: str
    index: int
    words: str
    relays: tuple[str, ...]
    agents: tuple[str, ...]
    mailboxes: tuple[str, ...]
    interval_s: float
    deadline_s: float
    loss_after_s: float
    per_path: bool

    @property
    def pairs(self) -> int:
        """(agent, mailbox) pairs of each relay."""
        return len(self.agents) * len(self.mailboxes)

    @property
    def paths(self) -> int:
        """Paths in all."""
        return len(self.relays) * self.pairs

    @property
    def per_relay(self) -> float:
        """Canaries a minute through each relay."""
        return 60.0 / self.interval_s * (self.pairs if self.per_path else 1)

    @property
    def per_minute(self) -> float:
        """Canaries a minute in all."""
        return self.per_relay * len(self.relays)


@dataclass(slots=True)
class Estate:
    """The relays and the sending agents from which all customers' rules choose."""

    relays: Choice
    agents: Choice
    defaults: Defaults

    @classmethod
    def of(
        cls, relays: Iterable[Selectable], agents: Iterable[Any], defaults: Defaults
    ) -> "Estate":
        """An estate; agents without a sender send nothing and are left out."""
        senders = [agent for agent in agents if agent.sender is not None]
        return cls(Choice(relays), Choice(senders), defaults)

    def group(self, customer: str, boxes: Choice, index: int, rule: Rule) -> Group:
        """``rule`` worked out; any of its selections may be empty."""
        words = f"{selector_words(rule.agents)}|{selector_words(rule.mailboxes)}|{rule.per}"
        return Group(
            customer=customer,
            index=index,
            words=words,
            relays=self.relays.names(rule.relays),
            agents=self.agents.names(rule.agents),
            mailboxes=tuple(f"{customer}/{name}" for name in boxes.names(rule.mailboxes)),
            interval_s=rule.interval or self.defaults.interval,
            deadline_s=rule.deadline or self.defaults.deadline,
            loss_after_s=rule.loss_after or self.defaults.loss_after,
            per_path=rule.per == "path",
        )

    def groups_of(self, customer: Customer) -> Iterator[Group]:
        """The customer's rules worked out, those that select nothing left out."""
        boxes = Choice(customer.mailboxes)
        for index, rule in enumerate(customer.canaries):
            group = self.group(customer.name, boxes, index, rule)
            if group.paths:
                yield group


def groups(config: Config) -> list[Group]:
    """All rules of ``config`` worked out, in the order of the file."""
    estate = Estate.of(config.relays, config.agents, config.defaults)
    return [group for customer in config.customers for group in estate.groups_of(customer)]
