"""Which address a request comes from, behind proxies or not."""

import ipaddress
from collections.abc import Sequence
from ipaddress import IPv4Network, IPv6Network

Networks = Sequence[IPv4Network | IPv6Network]


def peer_address(remote: str | None, forwarded: Sequence[str], proxies: Networks) -> str:
    """The address that is nearest to us and no proxy of ours.

    ``remote`` is the connection's other end, ``forwarded`` the values of ``X-Forwarded-For``. Each
    proxy appends the address that it saw, so only what a trusted proxy appended is believed, from
    the right to the left; everything further left may be made up.
    """
    nearest = remote or "unknown"
    hops = [hop.strip() for value in forwarded for hop in value.split(",")]
    while hops and is_in(nearest, proxies):
        address = hops.pop().strip("[]")
        if not _is_address(address):
            break
        nearest = address
    return nearest


def _is_address(text: str) -> bool:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True


def is_in(address: str, networks: Networks) -> bool:
    """Whether the address is in one of the networks, as IPv4 also where IPv6 wraps it."""
    try:
        ip = ipaddress.ip_address(address)
    except ValueError:
        return False
    if isinstance(ip, ipaddress.IPv6Address) and ip.ipv4_mapped is not None:
        ip = ip.ipv4_mapped
    return any(ip in network for network in networks)
