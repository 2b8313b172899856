"""Validation piece by piece, so that one bad relay hides no fault of another's."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Generic, TypeVar

from pydantic import BaseModel

from probes.contract.config.document import Document, Loc
from probes.contract.config.messages import close_to, describe
from probes.contract.config.models import (
    Agent,
    CheckRule,
    Config,
    Customer,
    Destination,
    Mailbox,
    Relay,
    Rule,
)
from probes.contract.config.salvage import STAND_INS, salvage
from probes.contract.errors import Problem

M = TypeVar("M", bound=BaseModel)


@dataclass(frozen=True, slots=True)
class Place:
    """Where a part stands: a document and the way into it."""

    document: Document
    loc: Loc

    def problem(self, *steps: int | str, found: str, allowed: str) -> Problem:
        """A problem with the part, or with the field of it that ``steps`` lead to."""
        return self.document.problem((*self.loc, *steps), found, allowed)

    @property
    def line(self) -> int:
        """The part's first line."""
        return self.document.line(self.loc)


@dataclass(frozen=True, slots=True)
class Part(Generic[M]):
    """One item of the configuration, as far as it could be understood.

    ``value`` is ``None`` where too much is missing; the fields below ``faulty`` hold defaults or
    stand-ins. ``name`` is its name as written, for references to it; ``data`` all that is written.
    """

    place: Place
    value: M | None
    name: str | None = None
    faulty: frozenset[Loc] = frozenset()
    data: object = None

    def sound(self, *loc: int | str) -> bool:
        """Whether nothing is wrong with the field at ``loc``, below it, or with what holds it."""
        return not any(loc[: len(bad)] == bad or bad[: len(loc)] == loc for bad in self.faulty)

    def written(self, key: str) -> object:
        """What is written under ``key``, whether sound or not; ``None`` if nothing is."""
        return self.data.get(key) if isinstance(self.data, dict) else None


@dataclass(frozen=True, slots=True)
class CustomerPart:
    """A customer, its mailboxes and rules."""

    part: Part[Customer]
    mailboxes: list[Part[Mailbox]]
    rules: list[Part[Rule]]


@dataclass(slots=True)
class Draft:
    """All parts of a configuration, and the problems that each had on its own.

    Where ``main`` is not sound at one of its lists, nobody knows what the list holds.
    """

    main: Part[Config]
    relays: list[Part[Relay]] = field(default_factory=list)
    agents: list[Part[Agent]] = field(default_factory=list)
    customers: list[CustomerPart] = field(default_factory=list)
    destinations: list[Part[Destination]] = field(default_factory=list)
    checks: list[Part[CheckRule]] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)

    def config(self) -> Config:
        """The whole, for a draft without problems."""
        main = values([self.main])[0]
        customers = tuple(
            customer.model_copy(
                update={
                    "mailboxes": tuple(values(entry.mailboxes)),
                    "canaries": tuple(values(entry.rules)),
                }
            )
            for entry in self.customers
            for customer in values([entry.part])
        )
        return main.model_copy(
            update={
                "relays": tuple(values(self.relays)),
                "agents": tuple(values(self.agents)),
                "customers": customers,
                "destinations": tuple(values(self.destinations)),
                "checks": tuple(values(self.checks)),
            }
        )


def values(parts: Sequence[Part[M]]) -> list[M]:
    """What could be understood of ``parts``."""
    return [part.value for part in parts if part.value is not None]


def take_apart(main: Document, customers: Sequence[Document]) -> Draft:
    """The parts of a configuration whose main file is ``main``; unreadable files have none."""
    problems: list[Problem] = []
    taker = Taker(problems, STAND_INS)
    if main.readable:
        shell, lists = taker.shell(Place(main, ()), main.data, Config, _CONFIG_LISTS)
    else:
        shell = Part(Place(main, ()), Config(version=1), faulty=frozenset({()}))
        lists = {key: [] for key in _CONFIG_LISTS}
    draft = Draft(shell, problems=problems)
    relays = [taker.part(place, raw, Relay) for place, raw in lists["relays"]]
    agents = [taker.part(place, raw, Agent) for place, raw in lists["agents"]]
    entries = [taker.customer(place, raw) for place, raw in lists["customers"]]
    entries += [
        taker.customer(Place(document, ()), document.data)
        for document in customers
        if document.readable
    ]
    draft.relays, draft.agents = told_apart(relays), told_apart(agents)
    draft.destinations = told_apart(
        [taker.part(place, raw, Destination) for place, raw in lists["destinations"]]
    )
    draft.checks = [taker.part(place, raw, CheckRule) for place, raw in lists["checks"]]
    parts = told_apart([entry.part for entry in entries])
    draft.customers = [
        replace(entry, part=part) for entry, part in zip(entries, parts, strict=True)
    ]
    return draft


def told_apart(parts: list[Part[M]]) -> list[Part[M]]:
    """``parts`` whose values have names of their own, also where a name is faulty or repeated.

    Sums by name then count each of them, as they will once the names are mended.
    """
    seen: set[str | None] = set()
    result = []
    for index, part in enumerate(parts):
        one = part
        if part.value is not None and (part.name in seen or not part.sound("name")):
            nameless = part.value.model_copy(update={"name": f"{_NAMELESS}{index}"})
            one = replace(part, value=nameless)
        seen.add(part.name)
        result.append(one)
    return result


_NAMELESS = "~"  # no name begins with it, and all names sort before it


def shown_name(name: str) -> str:
    """``name`` for a message; its customer's or its own may be one of :func:`told_apart`."""
    return "(no name of its own)" if name.startswith(_NAMELESS) else name


_CONFIG_LISTS = ("relays", "agents", "customers", "destinations", "checks")
_CUSTOMER_LISTS = ("mailboxes", "canaries")

_ITEMS: Mapping[str, type[BaseModel]] = {
    "relays": Relay,
    "agents": Agent,
    "customers": Customer,
    "mailboxes": Mailbox,
    "canaries": Rule,
    "destinations": Destination,
    "checks": CheckRule,
}

Items = list[tuple[Place, object]]


class Taker:
    """Validates parts one by one; what is wrong with them is appended to ``problems``.

    ``stand_ins`` are the values by key for what is required and faulty; parts that lack one for a
    fault have no value.
    """

    def __init__(
        self, problems: list[Problem], stand_ins: Mapping[str, object] | None = None
    ) -> None:
        self._problems = problems
        self._stand_ins = stand_ins or {}

    def customer(self, place: Place, raw: object) -> CustomerPart:
        """A customer with its mailboxes and rules."""
        part, lists = self.shell(place, raw, Customer, _CUSTOMER_LISTS)
        return CustomerPart(
            part,
            told_apart([self.part(at, item, Mailbox) for at, item in lists["mailboxes"]]),
            [self.part(at, item, Rule) for at, item in lists["canaries"]],
        )

    def shell(
        self, place: Place, raw: object, model: type[M], keys: tuple[str, ...]
    ) -> tuple[Part[M], dict[str, Items]]:
        """``raw`` without its lists ``keys``, and those lists' items with their places.

        The part is not sound at a list that is none. Of a list under a misspelt key the items are
        taken as well; the key itself stays to be refused.
        """
        lists: dict[str, Items] = {key: [] for key in keys}
        if not isinstance(raw, dict):
            return self.part(place, raw, model), lists
        untold: set[Loc] = set()
        known = list(model.model_fields)
        for written, item in raw.items():
            meant = written if written in known else close_to(written, known)
            if meant in keys and (written == meant or meant not in raw):
                items = self._items(place, written, item, _ITEMS.get(meant))
                lists[meant] = items or []
                untold |= {(meant,)} if items is None else set()
        rest = {key: value for key, value in raw.items() if key not in keys}
        part = self.part(place, rest, model, lists=keys)
        return replace(part, faulty=part.faulty | untold), lists

    def _items(
        self, place: Place, key: str, raw: object, model: type[BaseModel] | None
    ) -> Items | None:
        if isinstance(raw, list):
            return [
                (Place(place.document, (*place.loc, key, index)), item)
                for index, item in enumerate(raw)
            ]
        self._problems.append(place.problem(key, found=describe(raw), allowed="a list"))
        if isinstance(raw, dict) and model is not None and raw.keys() & model.model_fields.keys():
            # An item around which the list was forgotten.
            return [(Place(place.document, (*place.loc, key)), raw)]
        return None

    def part(
        self, place: Place, raw: object, model: type[M], *, lists: tuple[str, ...] = ()
    ) -> Part[M]:
        """``raw`` as a ``model``, mended after the report where it is faulty."""
        result = salvage(raw, model, self._stand_ins, lists)
        for finding in result.findings:
            full = (*place.loc, *finding.loc)
            problem = place.document.problem(
                full, finding.found, finding.allowed, at_key=finding.at_key
            )
            self._problems.append(problem)
        return Part(place, result.value, _name(raw, result.data), result.faulty, raw)


def _name(raw: object, mended: object) -> str | None:
    """The name as written; of a text in the place of a part, the text."""
    if isinstance(raw, str):
        return raw
    for data in (raw, mended):
        name: Any = data.get("name") if isinstance(data, dict) else None
        if isinstance(name, str) and not (data is mended and name == STAND_INS["name"]):
            return name
    return None
