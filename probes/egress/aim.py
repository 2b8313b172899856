"""From destinations to targets: their hosts, the hosts' addresses, and where to look from."""

import asyncio
import socket
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

from probes.contract.config.models import Destination
from probes.contract.stages import Reason
from probes.egress.model import EgressTarget, Failure, Vantage
from probes.egress.mx import MxError, MxMemory
from probes.resolver import Endpoint, Lookups, OwnFaultError, literal
from probes.stalls import Patience, stalls

PATIENCE_S = 2.0
"""Seconds that a lookup waits for a thread at most."""


@dataclass(frozen=True, slots=True)
class Host:
    """A host of a destination, and its addresses; without any, ``failure`` says why."""

    destination: Destination
    name: str
    endpoints: tuple[Endpoint, ...] = ()
    failure: Failure | None = None
    resolve_s: float = 0.0
    note: str | None = None


class Finder:
    """Finds hosts and addresses, all at once; ``limit_s`` is for both together."""

    def __init__(
        self,
        memory: MxMemory,
        lookups: Lookups,
        monotonic: Callable[[], float],
        patience_s: float = PATIENCE_S,
    ) -> None:
        self._memory = memory
        self._lookups = lookups
        self._monotonic = monotonic
        self._patience_s = patience_s

    async def find(self, destinations: Iterable[Destination], limit_s: float) -> list[Host]:
        """The hosts of all destinations, in their order; one that has none is a host, too."""
        seen = stalls()
        seen.watch()
        try:
            found = await asyncio.gather(*(self._hosts(one, limit_s) for one in destinations))
        finally:
            seen.unwatch()
        return [host for hosts in found for host in hosts]

    async def _hosts(self, destination: Destination, limit_s: float) -> list[Host]:
        began = self._monotonic()
        names, note = list(dict.fromkeys(destination.hosts)), None
        if destination.domain is not None:
            try:
                names, note = await self._memory.hosts(destination.domain, limit_s / 2)
            except MxError as error:
                took_s = self._monotonic() - began
                missing = error.failure
                return [Host(destination, destination.domain, (), missing, resolve_s=took_s)]
        left_s = max(limit_s - (self._monotonic() - began), limit_s / 2)
        looked_up = (self._host(destination, name, note, began, left_s) for name in names)
        return await asyncio.gather(*looked_up)

    async def _host(
        self, destination: Destination, name: str, note: str | None, began: float, limit_s: float
    ) -> Host:
        found: tuple[Endpoint, ...] = ()
        failure = None
        try:
            found = await self._endpoints(name, destination.port, limit_s)
        except OwnFaultError as error:
            failure = Failure(Reason.LOCAL, str(error))
        except TimeoutError:
            failure = Failure(Reason.TIMEOUT, f"no address within {limit_s:g} s")
        except (OSError, UnicodeError) as error:
            said = error.strerror if isinstance(error, OSError) else None
            failure = Failure(Reason.NO_ADDRESS, f"no address: {said or error}")
        else:
            if not found:
                failure = Failure(Reason.NO_ADDRESS, "no address")
        return Host(destination, name, found, failure, self._monotonic() - began, note)

    async def _endpoints(self, name: str, port: int, limit_s: float) -> tuple[Endpoint, ...]:
        known = literal(name, port)
        if known is not None:
            return (known,)
        patience_s = min(self._patience_s, limit_s / 2)
        lookup = await self._lookups.begin(name, socket.AF_UNSPEC, patience_s)
        async with Patience(limit_s):
            return tuple(await lookup.endpoints(port))


def targets(hosts: Sequence[Host], vantages: Sequence[Vantage]) -> list[EgressTarget]:
    """Each host at each port from each vantage whose family it has.

    A host that has no address at all is a target from each vantage, at the mail port.
    """
    return [each for vantage in vantages for host in hosts for each in _aimed(host, vantage)]


def _aimed(host: Host, vantage: Vantage) -> Iterator[EgressTarget]:
    destination = host.destination
    first = next((each for each in host.endpoints if each.family == vantage.family), None)
    if first is None and host.endpoints:
        return
    ports = [destination.port, *(destination.controls if first else ())]
    for port in dict.fromkeys(ports):
        endpoint = None
        if first is not None:
            endpoint = Endpoint(first.family, (first.sockaddr[0], port, *first.sockaddr[2:]))
        yield EgressTarget(
            destination=destination.name,
            reference=destination.reference,
            host=host.name,
            port=port,
            control=port != destination.port,
            vantage=vantage,
            endpoint=endpoint,
            failure=host.failure,
            resolve_s=host.resolve_s,
            note=host.note,
        )
