"""Which addresses a host that a customer named may have; pure."""

import ipaddress

from agent.policy.models import Addresses

Address = ipaddress.IPv4Address | ipaddress.IPv6Address


def _plain(address: Address) -> Address:
    """An IPv4 address that comes dressed as an IPv6 one, undressed: the policy must see it."""
    if isinstance(address, ipaddress.IPv6Address):
        if address.ipv4_mapped is not None:
            return address.ipv4_mapped
        if address.sixtofour is not None:
            return address.sixtofour
    return address


def denied(address: str, rules: Addresses) -> str | None:
    """The network of the policy that denies ``address``; ``None`` when it is allowed.

    ``allow`` beats ``deny``. Text that is no IP address is denied, as no rule can vouch for it.
    """
    try:
        plain = _plain(ipaddress.ip_address(address.partition("%")[0]))
    except ValueError:
        return "no IP address"
    if any(plain in network for network in rules.allow if network.version == plain.version):
        return None
    for network in rules.deny:
        if network.version == plain.version and plain in network:
            return str(network)
    return None
