"""The probe: what a round looks at, one look, and what a round comes to."""

import time
from collections.abc import Callable, Sequence

from probes.contract.check_plan import CheckPlan
from probes.contract.checks import Finding
from probes.egress import pattern
from probes.egress.aim import Finder, targets
from probes.egress.look import look
from probes.egress.model import EgressTarget, Seen, finding
from probes.egress.mx import SYSTEM_MX, Mx, MxMemory
from probes.egress.sources import vantages
from probes.resolver import Lookups

DESTINATIONS = Lookups("destinations", 16)
"""Looks up the names of the hosts that mail goes on to, apart from all others."""

_PROVEN = 10_000
"""Controls that are remembered: far more than anybody has looked at."""


class EgressProbe:
    """Looks outward from the relay (``probes.probing.Probe``). Used from one event loop.

    Of earlier rounds it keeps the hosts of domains, for up to a day, in case their lookup fails; by
    which families there was a route, so that one that goes away is told; and which controls have
    worked, since only those that fail now tell of a dead network. ``mx`` is who is asked for a
    domain's hosts, ``lookups`` for their addresses, ``monotonic`` a clock in seconds.
    """

    def __init__(
        self,
        *,
        mx: Mx = SYSTEM_MX,
        lookups: Lookups = DESTINATIONS,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._finder = Finder(MxMemory(mx, monotonic), lookups, monotonic)
        self._monotonic = monotonic
        self._routed: dict[int, str] = {}
        self._proven: dict[pattern.Control, None] = {}

    async def targets(self, plan: CheckPlan) -> list[EgressTarget]:
        """Every host at every port from every source, as far as both have an address of a kind.

        Lasts ``plan.timeout_s`` seconds at most.
        """
        hosts = await self._finder.find(plan.destinations, plan.timeout_s)
        endpoints = [endpoint for host in hosts for endpoint in host.endpoints]
        found = vantages(plan.sources, endpoints, self._routed)
        if not plan.sources:
            self._routed |= {one.family: one.shown for one in found if one.shown}
        return targets(hosts, found)

    async def probe(self, target: EgressTarget, deadline_s: float) -> Finding:
        """One look. A host that was not found is told at once."""
        if target.endpoint is None:
            return finding(target, Seen(failure=target.failure))
        return await look(target, target.endpoint, deadline_s, self._monotonic)

    def conclude(self, findings: Sequence[Finding]) -> list[Finding]:
        """What a round comes to, for each source."""
        found = pattern.conclude(findings, self._proven)
        for control in pattern.working(findings):
            self._proven[control] = None
        while len(self._proven) > _PROVEN:
            del self._proven[next(iter(self._proven))]
        return found
