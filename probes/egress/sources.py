"""The addresses of this host to look from."""

import errno
import socket
from collections.abc import Iterable, Mapping, Sequence
from ipaddress import IPv4Address, IPv6Address

from probes.egress.model import Vantage
from probes.resolver import Endpoint

_DISCARD = 9


def vantages(
    sources: Sequence[IPv4Address | IPv6Address],
    endpoints: Iterable[Endpoint],
    routed_before: Mapping[int, str],
) -> list[Vantage]:
    """Where to look at ``endpoints`` from, each address once.

    Without ``sources`` that is each of their families by which one of them can be reached, or any
    could be before, from ``routed_before``; if there is none, each that they have, to tell this.
    """
    here = _addresses_here(endpoints)
    if sources:
        found = [_of_source(source, here) for source in sources]
    else:
        routed = {one for one, address in here.items() if address or one in routed_before}
        families = routed or set(here or routed_before) or {socket.AF_INET}
        found = [
            Vantage(one, None, here.get(one) or routed_before.get(one)) for one in sorted(families)
        ]
    first: dict[tuple[int, str | None], Vantage] = {}
    for one in found:
        first.setdefault((one.family, one.shown), one)
    return list(first.values())


def _of_source(source: IPv4Address | IPv6Address, here: dict[int, str | None]) -> Vantage:
    family = socket.AF_INET if source.version == 4 else socket.AF_INET6
    address = str(source)
    try:
        with socket.socket(family, socket.SOCK_STREAM) as sock:
            sock.bind((address, 0))
    except OSError as error:
        # Whatever else is wrong, the look itself will find.
        if error.errno == errno.EADDRNOTAVAIL:
            note = f"looked at from no certain address, since {address} is none of this host's"
            return Vantage(family, None, here.get(family) or address, note)
    return Vantage(family, address, address)


def _addresses_here(endpoints: Iterable[Endpoint]) -> dict[int, str | None]:
    """The families of the endpoints, and the address from which the first one would be reached."""
    found: dict[int, str | None] = {}
    for endpoint in endpoints:
        found[endpoint.family] = found.get(endpoint.family) or address_towards(endpoint)
    return found


def address_towards(endpoint: Endpoint) -> str | None:
    """The address that the system would connect from; ``None`` where no route leads there.

    Nothing is sent: connecting a datagram socket only looks up the route.
    """
    host, _, *rest = endpoint.sockaddr
    try:
        with socket.socket(endpoint.family, socket.SOCK_DGRAM) as sock:
            sock.connect((host, _DISCARD, *rest))
            address: str = sock.getsockname()[0]
    except OSError:
        return None
    return address
