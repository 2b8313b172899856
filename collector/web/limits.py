"""How often an address may fail, and what counts as one."""

import ipaddress
import math
import time
from collections.abc import Callable

from collector.allowance import Allowance


def block_of(address: str) -> str:
    """What counts as one peer: an IPv4 address, or the /64 that an IPv6 host has to itself."""
    try:
        ip = ipaddress.ip_address(address)
    except ValueError:
        return address
    if isinstance(ip, ipaddress.IPv4Address):
        return str(ip)
    if ip.ipv4_mapped is not None:
        return str(ip.ipv4_mapped)
    return str(ipaddress.ip_network((ip, 64), strict=False).network_address)


class FailureLimit:
    """Lets each address fail ``burst`` times at once, and once every ``every_s`` seconds."""

    def __init__(
        self,
        *,
        burst: int = 10,
        every_s: float = 6.0,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._allowed = Allowance(burst, every_s, monotonic)

    def failed(self, address: str) -> int | None:
        """Count a failure: ``None`` when it was one of those allowed, else in how many whole
        seconds the next one is."""
        block = block_of(address)
        if wait_s := self._allowed.wait_s(block):
            return max(1, math.ceil(wait_s))
        self._allowed.spend(block)
        return None
