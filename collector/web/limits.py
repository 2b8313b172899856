"""How often an address may fail: a token bucket for each, in bounded memory."""

import ipaddress
import math
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass

MAX_ADDRESSES = 10_000


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


@dataclass(slots=True)
class _Bucket:
    level: float
    at_ns: int


class FailureLimit:
    """Lets each address fail ``burst`` times at once, and once every ``every_s`` seconds."""

    def __init__(
        self, clock_ns: Callable[[], int], *, burst: int = 10, every_s: float = 6.0
    ) -> None:
        self._clock_ns = clock_ns
        self._burst = float(burst)
        self._every_ns = every_s * 1e9
        self._buckets: OrderedDict[str, _Bucket] = OrderedDict()

    def failed(self, address: str) -> int | None:
        """Count a failure: ``None`` when it was one of those allowed, else in how many whole
        seconds the next one is."""
        now_ns = self._clock_ns()
        block = block_of(address)
        bucket = self._buckets.pop(block, None) or _Bucket(self._burst, now_ns)
        self._buckets[block] = bucket
        if len(self._buckets) > MAX_ADDRESSES:
            # The one that was quiet for longest has refilled most.
            self._buckets.popitem(last=False)
        elapsed_ns = max(0, now_ns - bucket.at_ns)
        bucket.level = min(self._burst, bucket.level + elapsed_ns / self._every_ns)
        bucket.at_ns = now_ns
        if bucket.level >= 1.0:
            bucket.level -= 1.0
            return None
        return max(1, math.ceil((1.0 - bucket.level) * self._every_ns / 1e9))
