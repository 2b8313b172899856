"""Which components the canaries cannot tell apart, and what to add so that they can.

Two components that lie on exactly the same paths show the same symptoms whichever of them fails.
Path sets are compared by fingerprint: a rule's paths are a product (relays x agents x mailboxes),
so the sum over them of products of random numbers is the product of three sums. No path is ever
listed, and a fleet takes milliseconds. Different sets get the same fingerprint with a probability
of about 2^-61.
"""

import hashlib
from collections import defaultdict
from dataclasses import dataclass
from typing import Literal

from probes.contract.config.models import Config
from probes.contract.config.selection import Group, groups

_PRIME = (1 << 61) - 1

Side = Literal["agent", "relay", "mailbox"]
"""Which of a path's three ends a component belongs to."""

_PLURALS: dict[Side, str] = {"agent": "agents", "relay": "relays", "mailbox": "mailboxes"}


@dataclass(frozen=True, slots=True, order=True)
class Component:
    """Something that can fail: ``kind`` is ``agent``, ``relay``, ``mailbox``, ``domain`` or
    ``label``; a label's ``name`` is ``key=value``.
    """

    side: Side
    kind: str
    name: str

    @property
    def is_item(self) -> bool:
        """Whether it is an agent, a relay or a mailbox, and not what several have in common."""
        return self.kind == self.side

    def __str__(self) -> str:
        owner = f" of {_PLURALS[self.side]}" if self.kind == "label" else ""
        return f"{self.kind} {self.name}{owner}"


@dataclass(frozen=True, slots=True)
class Ambiguity:
    """Components on exactly the same ``paths`` paths, or a single one that has only one path.

    ``across`` tells that the components are of more than one side, so that nobody knows whom to
    call. ``advice`` names the rule and what to add to it.
    """

    components: tuple[Component, ...]
    paths: int
    across: bool
    example: str
    advice: str

    def __str__(self) -> str:
        names = [str(component) for component in self.components]
        if len(names) == 1:
            return f"{names[0]} is measured on one path only, {self.example}; {self.advice}"
        items = [str(component) for component in self.components if component.is_item]
        if not self.across and items:
            names.remove(items[0])
            return f"{items[0]} alone has {_and(names)}: their faults look the same; {self.advice}"
        on = "the same path" if self.paths == 1 else f"the same {self.paths} paths"
        return f"{_and(names)} are measured on {on}: their faults look the same; {self.advice}"


def _and(names: list[str]) -> str:
    return " and ".join([", ".join(names[:-1]), names[-1]] if len(names) > 1 else names)


def ambiguities(config: Config) -> list[Ambiguity]:
    """What the plan of ``config`` cannot tell apart: across sides first, then by name."""
    sums = _Sums(config)
    every = groups(config)
    for group in every:
        sums.add(group)
    whole = sum(group.paths for group in every)
    classes: defaultdict[tuple[int, int], list[Component]] = defaultdict(list)
    for component, (count, fingerprint) in sums.total.items():
        # A label that all paths have in common is no suspect: it sets nothing apart.
        if component.kind != "label" or count < whole:
            classes[count, fingerprint].append(component)
    found = []
    for (count, _), components in classes.items():
        if len(components) > 1 or count == 1:
            members = tuple(sorted(components))
            group = sums.example[members[0]]
            across = len({member.side for member in members}) > 1
            example = _example(members[0], group)
            found.append(Ambiguity(members, count, across, example, _advice(members, group)))
    return sorted(found, key=lambda entry: (not entry.across, entry.components))


_Sum = tuple[int, int]
"""How many of one side's items a component covers, and the sum of their random numbers."""


class _Sums:
    """Each component's number of paths and their fingerprint, added up over the rules."""

    def __init__(self, config: Config) -> None:
        self.total: dict[Component, _Sum] = {}
        self.example: dict[Component, Group] = {}
        self._relays = {
            relay.name: [Component("relay", "relay", relay.name), *_labels("relay", relay.labels)]
            for relay in config.relays
        }
        self._agents = {
            agent.name: [Component("agent", "agent", agent.name), *_labels("agent", agent.labels)]
            for agent in config.agents
        }
        self._mailboxes = {
            f"{customer.name}/{box.name}": [
                Component("mailbox", "mailbox", f"{customer.name}/{box.name}"),
                Component("mailbox", "domain", box.address.rpartition("@")[2].lower()),
                *_labels("mailbox", box.labels),
            ]
            for customer in config.customers
            for box in customer.mailboxes
        }
        # Most customers' rules choose the same relays and agents.
        self._known: dict[tuple[Side, tuple[str, ...]], dict[Component | None, _Sum]] = {}

    def add(self, group: Group) -> None:
        sides = (
            self._side("relay", group.relays, self._relays),
            self._side("agent", group.agents, self._agents),
            self._side("mailbox", group.mailboxes, self._mailboxes),
        )
        for index, side in enumerate(sides):
            (one, one_sum), (two, two_sum) = (
                other[None] for place, other in enumerate(sides) if place != index
            )
            others = one * two
            rest = one_sum * two_sum % _PRIME
            for component, (own_count, own_sum) in side.items():
                if component is not None:
                    old_count, old_sum = self.total.get(component, (0, 0))
                    new_sum = (old_sum + own_sum * rest) % _PRIME
                    self.total[component] = (old_count + own_count * others, new_sum)
                    self.example.setdefault(component, group)

    def _side(
        self, side: Side, names: tuple[str, ...], known: dict[str, list[Component]]
    ) -> dict[Component | None, _Sum]:
        if (side, names) not in self._known:
            sums: dict[Component | None, _Sum] = {None: (0, 0)}
            for name in names:
                number = _number(side, name)
                for component in (None, *known[name]):
                    count, total = sums.get(component, (0, 0))
                    sums[component] = (count + 1, (total + number) % _PRIME)
            self._known[side, names] = sums
        return self._known[side, names]


def _labels(side: Side, labels: dict[str, str]) -> list[Component]:
    return [Component(side, "label", f"{key}={value}") for key, value in labels.items()]


def _number(side: Side, name: str) -> int:
    digest = hashlib.blake2b(name.encode(), digest_size=16, person=side.encode()).digest()
    return int.from_bytes(digest) % (_PRIME - 1) + 1


def _example(component: Component, group: Group) -> str:
    path = {"agent": group.agents[0], "relay": group.relays[0], "mailbox": group.mailboxes[0]}
    if component.is_item:
        path[component.side] = component.name
    return "|".join(path.values())


def _article(side: Side) -> str:
    return "an agent" if side == "agent" else f"a {side}"


def _advice(members: tuple[Component, ...], group: Group) -> str:
    rule = f"let rule {group.index + 1} of customer {group.customer} select"
    sizes: dict[Side, int] = {
        "agent": len(group.agents),
        "relay": len(group.relays),
        "mailbox": len(group.mailboxes),
    }
    if len(members) == 1:
        others = [side for side in sizes if side != members[0].side and sizes[side] == 1]
        return f"{rule} a second {' or '.join(others or sizes)}"
    by_side: dict[Side, list[Component]] = {}
    for member in members:
        by_side.setdefault(member.side, []).append(member)
    if len(by_side) > 1:
        wanted = [
            f"a second {side}" if sizes[side] == 1 else f"{_article(side)} without {own[0].name}"
            for side, own in by_side.items()
        ]
        return f"{rule} {' or '.join(wanted)}"
    side = members[0].side
    shared = [member for member in members if not member.is_item]
    if len(shared) == len(members):
        return f"{rule} {_article(side)} to which only some of these apply"
    return f"{rule} a second {side} with {shared[0]}"
