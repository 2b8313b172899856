"""Which addresses a host that a customer named may have; pure.

It knows networks, not machines: a public address of the agent's own host looks like any other.
"""

import ipaddress

from agent.policy.models import Addresses

Address = ipaddress.IPv4Address | ipaddress.IPv6Address

_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")
"""The well-known prefix (RFC 6052): behind it the last 32 bits are an IPv4 address."""


def _faces(address: Address) -> tuple[Address, ...]:
    """The address, and the IPv4 address that a packet to it may end up at: all must be allowed."""
    if isinstance(address, ipaddress.IPv4Address):
        return (address,)
    if address.ipv4_mapped is not None:
        # Not an IPv6 address at all: the kernel connects by IPv4.
        return (address.ipv4_mapped,)
    if address.sixtofour is not None:
        return (address, address.sixtofour)
    if address in _NAT64:
        return (address, ipaddress.IPv4Address(int(address) & 0xFFFFFFFF))
    return (address,)


def denied(address: str, rules: Addresses) -> str | None:
    """The network of the policy that denies ``address``; ``None`` when it is allowed.

    ``allow`` beats ``deny``. An address that stands for an IPv4 one (6to4, NAT64) must be allowed
    in both its faces. Text that is no IP address is denied, as no rule can vouch for it. The zone
    of a link-local address (``fe80::1%eth0``) does not matter.
    """
    try:
        parsed = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return "no IP address"
    for face in _faces(parsed):
        # An address is never in a network of the other version, so both lists may hold both.
        if any(face in network for network in rules.allow):
            continue
        for network in rules.deny:
            if face in network:
                return str(network)
    return None
