"""Whether the relay and the egress address that should have carried a canary did.

A load balancer in front of the relays, or a route that leads elsewhere, makes a path measure
something else than its name says. The Received chain tells; where it does not, nothing is claimed.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from functools import lru_cache
from ipaddress import ip_address
from typing import NamedTuple

from probes.contract.events import Carrier, Hop
from probes.headers.text import parse_address

_LOCALHOST = frozenset({"localhost", "localhost.localdomain"})


class _Hop(NamedTuple):
    """What of a hop matters here."""

    by: str | None
    helo: str | None
    address: str | None


@dataclass(frozen=True, slots=True)
class _Host:
    """What a host is known by: lower-case names and canonical addresses."""

    names: frozenset[str]
    addresses: frozenset[str]

    def is_called(self, text: str | None) -> bool:
        """Whether ``text``, from a ``by`` clause or a HELO, means this host."""
        if text is None:
            return False
        if address := parse_address(text):
            return address in self.addresses
        return any(_same_name(name, text.lower()) for name in self.names)

    def can_judge(self, text: str) -> bool:
        """Whether ``text`` is of a sort, name or address, that this host is known by."""
        return bool(self.addresses if parse_address(text) else self.names)


def carrier(
    hops: Sequence[Hop],
    *,
    relay: Collection[str],
    egress: Collection[str],
    agent: Collection[str] = (),
) -> Carrier | None:
    """Who carried the canary whose ``hops`` (the first hop first) these are.

    ``relay`` holds the names and addresses that the relay itself goes by: its host, and the
    address that the canary was handed to; not the name that the configuration has for it, unless
    the relay says that name in its Received fields. ``egress`` holds the addresses its mail
    should leave from, ``agent`` the HELO name and source addresses of the agent, if known.

    The relay is as planned where a hop was written by it, or the hop after it came from it. It is
    another where the host that took the canary from the agent goes by another name, and the mail
    did not leave from the planned address either; that name is ``relay_seen``. The egress address
    is the connecting address of the first hop that another host than the carrying one wrote.
    ``None`` where the chain tells neither.
    """
    chain = tuple([_Hop(hop.by, hop.helo, hop.address) for hop in hops])
    return _judged(chain, tuple(relay), tuple(egress), tuple(agent))


# Every canary of a path comes through the same hosts.
@lru_cache(maxsize=4096)
def _judged(
    hops: Sequence[_Hop], relay: Sequence[str], egress: Sequence[str], agent: Sequence[str]
) -> Carrier | None:
    """As :func:`carrier`."""
    planned = _host(relay)
    expected = frozenset(filter(None, map(parse_address, egress)))
    as_planned, relay_seen, start = _find_relay(hops, planned, expected, _host(agent))
    if start is None:
        leaving = next((hop for hop in hops if hop.address in expected), None)
    else:
        seen_host = _host([relay_seen] if relay_seen else [])
        carrying = _merge(planned, seen_host) if as_planned else seen_host
        leaving = _first_outside(hops[start:], carrying, expected)
    egress_seen = leaving.address if leaving is not None else None
    if as_planned is None and relay_seen is None and egress_seen is None:
        return None
    egress_as_planned = egress_seen in expected if egress_seen and expected else None
    if as_planned is False and egress_as_planned:
        # A strange name, but the planned relay's own address: more likely an alias than a detour.
        as_planned = None
    return Carrier(
        relay_as_planned=as_planned,
        egress_as_planned=egress_as_planned,
        relay_seen=relay_seen,
        egress_seen=egress_seen,
    )


def _find_relay(
    hops: Sequence[_Hop], planned: _Host, egress: frozenset[str], agent: _Host
) -> tuple[bool | None, str | None, int | None]:
    """Whether the relay is as planned, who it was, and from which hop on to look for the egress.

    The last is ``None`` where the relay's place in the chain is not known.
    """
    for index, hop in enumerate(hops):
        if planned.is_called(hop.by):
            return True, hop.by, index + 1
    for index, hop in enumerate(hops):
        if planned.is_called(hop.helo):
            return True, hop.helo, index
        if hop.address and not _is_loopback(hop.address) and planned.is_called(hop.address):
            return True, hop.address, index
    first = hops[0] if hops else None
    if first is None or first.by is None or first.address in egress:
        # The relay wrote no Received field: the first hop is the one after it, or unreadable.
        return None, None, None
    known_agent = agent.names or agent.addresses
    if known_agent and not (agent.is_called(first.helo) or agent.is_called(first.address)):
        return None, None, None
    return (False if planned.can_judge(first.by) else None), first.by, 1


def _first_outside(hops: Sequence[_Hop], carrying: _Host, egress: frozenset[str]) -> _Hop | None:
    """The first hop written by another host; those of its own, such as to a filter, are passed.

    A loopback address is the host's own, except in an estate whose mail leaves from one.
    """
    all_on_loopback = any(map(_is_loopback, egress))
    for hop in hops:
        silent = hop.by is None and hop.helo is None and hop.address is None
        own = carrying.is_called(hop.by) or (hop.by is not None and hop.by.lower() in _LOCALHOST)
        inside = hop.address is not None and not all_on_loopback and _is_loopback(hop.address)
        if not (silent or own or inside):
            return hop
    return None


def _host(known: Collection[str]) -> _Host:
    names = set()
    addresses = set()
    for text in known:
        if address := parse_address(text.strip("[]")):
            addresses.add(address)
        elif name := text.lower().rstrip("."):
            names.add(name)
    return _Host(frozenset(names), frozenset(addresses))


def _merge(one: _Host, other: _Host) -> _Host:
    return _Host(one.names | other.names, one.addresses | other.addresses)


def _same_name(one: str, other: str) -> bool:
    """Equal names; one without a domain equals every name that begins with it as a label."""
    other = other.rstrip(".")
    if "." in one and "." in other:
        return one == other
    return one.partition(".")[0] == other.partition(".")[0]


@lru_cache(maxsize=4096)
def _is_loopback(address: str) -> bool:
    parsed = parse_address(address)
    return parsed is not None and ip_address(parsed).is_loopback
