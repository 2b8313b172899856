"""Checks that nothing that must be unique occurs twice."""

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any

from probes.contract.config.models import Folders
from probes.contract.config.parts import Draft, Part, Place
from probes.contract.errors import Problem

if TYPE_CHECKING:
    from probes.contract.config.document import Loc


def duplicates(draft: Draft) -> Iterator[Problem]:
    """Names, mailbox addresses, folders, relay end points, egress addresses, destinations' domains
    that occur twice.
    """
    yield from _names([customer.part for customer in draft.customers], "customer")
    yield from _names(draft.relays, "relay")
    yield from _names(draft.agents, "agent")
    yield from _names(draft.destinations, "destination")
    addresses = _Firsts("the mailbox address", "an address of its own")
    for customer in draft.customers:
        yield from _names(customer.mailboxes, "mailbox of the customer")
        for box in customer.mailboxes:
            if box.value is not None and box.sound("address"):
                yield from addresses.add(box.value.address, box.place, "address")
            if box.value is not None and box.sound("folders"):
                yield from _folders(box.value.folders, box.place)
    yield from _relays(draft)
    yield from _domains(draft)


def _domains(draft: Draft) -> Iterator[Problem]:
    # Its hosts would be looked at twice as often as anybody meant.
    domains = _Firsts("the domain", "each domain and port in one destination")
    for part in draft.destinations:
        one = part.value
        if one is None or one.domain is None or not (part.sound("domain") and part.sound("port")):
            continue
        port = "" if one.port == _SMTP else f":{one.port}"
        yield from domains.add(f"{one.domain}{port}", part.place, "domain")


_SMTP = 25


def _folders(folders: Folders, place: Place) -> Iterator[Problem]:
    junk = folders.junk
    # Servers tell names apart by case, as a rule; but INBOX is INBOX (RFC 3501 section 5.1).
    both_inbox = junk is not None and junk.lower() == folders.inbox.lower() == "inbox"
    if junk == folders.inbox or both_inbox:
        what = f"the folder {junk!r}, which is the inbox as well"
        yield place.problem("folders", "junk", found=what, allowed="another folder, or none")


def _relays(draft: Draft) -> Iterator[Problem]:
    egress = _Firsts("the egress address", "an address of its own")
    ends = _Firsts("the relay", "another host, port or source_address")
    for relay in draft.relays:
        if relay.value is None:
            continue
        for index, address in enumerate(relay.value.egress):
            if relay.sound("egress", index):
                yield from egress.add(str(address), relay.place, "egress", index)
        if not all(relay.sound(key) for key in ("host", "port", "source_address")):
            continue
        source = relay.value.source_address
        end = f"{relay.value.host}:{relay.value.port}" + (f" from {source}" if source else "")
        yield from ends.add(end, relay.place, "host")


def _names(parts: Iterable[Part[Any]], kind: str) -> Iterator[Problem]:
    firsts = _Firsts("the name", f"a name that no other {kind} has")
    for part in parts:
        if part.name is None:
            continue
        yield from firsts.add(part.name, part.place, "name")
        if part.name == "all":
            word = "the name 'all', which selects everything"
            yield part.place.problem("name", found=word, allowed="any other name")


class _Firsts:
    """Remembers where each thing was seen first. Case makes no difference: DNS ignores it, and
    mailboxes that differ in nothing else exist in theory only (RFC 5321 section 2.4).
    """

    def __init__(self, what: str, allowed: str) -> None:
        self._what = what
        self._allowed = allowed
        self._first: dict[str, tuple[Place, Loc]] = {}

    def add(self, text: str, place: Place, *steps: int | str) -> Iterator[Problem]:
        key = text.lower()
        if key not in self._first:
            self._first[key] = (place, steps)
            return
        first, way = self._first[key]
        line = first.document.line((*first.loc, *way))
        same = first.document is place.document
        where = f"line {line}" if same else f"{first.document.source.name}:{line}"
        what = f"{self._what} {text!r} a second time (first in {where})"
        yield place.problem(*steps, found=what, allowed=self._allowed)
