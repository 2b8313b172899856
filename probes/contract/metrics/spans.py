"""When an arrival took place, as far as it is known."""

import math

import msgspec

from probes.contract.events import Interval
from probes.contract.units import NS_PER_S


class Span(msgspec.Struct, frozen=True):
    """A time point known to lie in ``[lo_ns, hi_ns]``, nanoseconds since the Unix epoch."""

    lo_ns: int
    hi_ns: int


def arrival_span(sent_ns: int, delay: Interval) -> Span:
    """When a canary sent at ``sent_ns`` arrived; rounded outward to whole nanoseconds.

    Raises:
        ValueError: when ``delay`` is no finite interval.
    """
    if not (math.isfinite(delay.lo) and math.isfinite(delay.hi) and delay.lo <= delay.hi):
        raise ValueError(f"delay {delay}: allowed is a finite interval with lo <= hi")
    return Span(
        sent_ns + math.floor(delay.lo * NS_PER_S),
        sent_ns + math.ceil(delay.hi * NS_PER_S),
    )


def late_time(arrived: Span, earlier: Span) -> Interval:
    """Seconds from an ``earlier`` arrival to this one (RFC 4737 section 4.3), as an interval.

    That ``earlier`` came first is known from the mailbox's order, so nothing below zero is left.
    """
    lo = max(0, arrived.lo_ns - earlier.hi_ns)
    hi = max(lo, arrived.hi_ns - earlier.lo_ns)
    return Interval(lo / NS_PER_S, hi / NS_PER_S)
