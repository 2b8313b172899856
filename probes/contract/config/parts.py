"""Validation piece by piece, so that one bad relay hides no fault of another's."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from pydantic import BaseModel, ValidationError

from probes.contract.config.document import Document, Loc
from probes.contract.config.messages import describe, explain
from probes.contract.config.models import Agent, Config, Customer, Mailbox, Relay, Rule
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

    ``value`` is ``None`` where too much is missing; with ``complete`` false some of its fields
    were faulty and hold their defaults. ``name`` is its name as written, for references to it.
    """

    place: Place
    value: M | None
    complete: bool
    name: str | None = None


@dataclass(frozen=True, slots=True)
class CustomerPart:
    """A customer, its mailboxes and rules."""

    part: Part[Customer]
    mailboxes: list[Part[Mailbox]]
    rules: list[Part[Rule]]


@dataclass(slots=True)
class Draft:
    """All parts of a configuration, and the problems that each had on its own."""

    main: Part[Config]
    relays: list[Part[Relay]] = field(default_factory=list)
    agents: list[Part[Agent]] = field(default_factory=list)
    customers: list[CustomerPart] = field(default_factory=list)
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
            }
        )


def values(parts: list[Part[M]]) -> list[M]:
    """What could be understood of ``parts``."""
    return [part.value for part in parts if part.value is not None]


def take_apart(main: Document, customers: list[Document]) -> Draft:
    """The parts of a configuration whose main file is ``main``."""
    problems: list[Problem] = []
    taker = Taker(problems)
    shell, lists = taker.shell(Place(main, ()), main.data, Config, _CONFIG_LISTS)
    draft = Draft(shell, problems=problems)
    draft.relays = [taker.part(place, raw, Relay) for place, raw in lists["relays"]]
    draft.agents = [taker.part(place, raw, Agent) for place, raw in lists["agents"]]
    draft.customers = [taker.customer(place, raw) for place, raw in lists["customers"]]
    draft.customers += [
        taker.customer(Place(document, ()), document.data)
        for document in customers
        if document.readable
    ]
    return draft


_CONFIG_LISTS = ("relays", "agents", "customers")
_CUSTOMER_LISTS = ("mailboxes", "canaries")


class Taker:
    """Validates parts one by one; what is wrong with them is appended to ``problems``."""

    def __init__(self, problems: list[Problem]) -> None:
        self._problems = problems

    def customer(self, place: Place, raw: object) -> CustomerPart:
        """A customer with its mailboxes and rules."""
        part, lists = self.shell(place, raw, Customer, _CUSTOMER_LISTS)
        return CustomerPart(
            part,
            [self.part(at, item, Mailbox) for at, item in lists["mailboxes"]],
            [self.part(at, item, Rule) for at, item in lists["canaries"]],
        )

    def shell(
        self, place: Place, raw: object, model: type[M], keys: tuple[str, ...]
    ) -> tuple[Part[M], dict[str, list[tuple[Place, object]]]]:
        """``raw`` without its lists ``keys``, and those lists' items with their places."""
        lists: dict[str, list[tuple[Place, object]]] = {key: [] for key in keys}
        if isinstance(raw, dict):
            for key in keys:
                lists[key] = list(self._items(place, key, raw.get(key, [])))
            raw = {key: value for key, value in raw.items() if key not in keys}
        return self.part(place, raw, model), lists

    def _items(self, place: Place, key: str, raw: object) -> Iterator[tuple[Place, object]]:
        if not isinstance(raw, list):
            self._problems.append(place.problem(key, found=describe(raw), allowed="a list"))
            return
        for index, item in enumerate(raw):
            yield Place(place.document, (*place.loc, key, index)), item

    def part(self, place: Place, raw: object, model: type[M]) -> Part[M]:
        """``raw`` as a ``model``; faulty optional fields take their defaults after the report."""
        name = raw.get("name") if isinstance(raw, dict) else None
        name = name if isinstance(name, str) else None
        try:
            return Part(place, model.model_validate(raw), complete=True, name=name)
        except ValidationError as error:
            self._report(place, error, model)
            faulty = {detail["loc"][0] for detail in error.errors() if detail["loc"]}
        if not isinstance(raw, dict):
            return Part(place, None, complete=False)
        rest = {key: value for key, value in raw.items() if key not in faulty}
        try:
            value = model.model_validate(rest)
        except ValidationError:
            return Part(place, None, complete=False, name=name)
        return Part(place, value, complete=False, name=name)

    def _report(self, place: Place, error: ValidationError, model: type[BaseModel]) -> None:
        for detail in error.errors(include_url=False):
            loc, found, allowed = explain(detail, model)
            at_key = detail["type"] == "extra_forbidden" or "[key]" in detail["loc"]
            full = (*place.loc, *loc)
            self._problems.append(place.document.problem(full, found, allowed, at_key=at_key))
