"""The hosts that take a domain's mail, as DNS names them (RFC 5321 section 5.1, RFC 7505)."""

from collections.abc import Awaitable, Callable, Iterable
from functools import partial

import dns.asyncresolver
import dns.exception
import dns.name
import dns.resolver
from dns.rdtypes.ANY.MX import MX

from probes.connecting import connect_reason
from probes.contract.stages import Reason
from probes.egress.model import Failure
from probes.stalls import LATE_S, Patience, stalls

MOST_HOSTS = 5
"""Hosts of a domain that are looked at: the first by preference."""

REMEMBERED_S = 86400.0
"""Seconds for which the hosts of a lookup stand in for those of one that fails."""

Mx = Callable[[str, float], Awaitable[list[str]]]
"""From a domain and a limit in seconds to the hosts that take its mail, in the order of preference.

Raises MxError.
"""


class MxError(Exception):
    """A domain's hosts are not known; ``lasting`` where that is the answer, and not a lack of one.

    Never leaves this package.
    """

    def __init__(self, failure: Failure, *, lasting: bool = False) -> None:
        super().__init__(failure.text)
        self.failure = failure
        self.lasting = lasting


async def ask_mx(
    domain: str, limit_s: float, resolver: dns.asyncresolver.Resolver | None = None
) -> list[str]:
    """Ask ``resolver``, or the system's name servers as they are configured now.

    Hosts of equal preference come by name, so that each round looks at the same ones. A domain
    without MX is its own host; one with a null MX has none, which is an error here.

    Raises:
        MxError: when the hosts are not known.
    """
    seen = stalls()
    seen.watch()
    stood_s = seen.total_s()
    try:
        # The outer limit is for a resolver that does not keep its own; stalls make it longer.
        async with Patience(limit_s):
            return await _ask(domain, limit_s, resolver)
    except (TimeoutError, dns.resolver.LifetimeTimeout) as error:
        text = f"MX of {domain}: name servers did not answer in {limit_s:g} s"
        own = _own_fault(error) or seen.total_s() - stood_s > LATE_S
        raise MxError(Failure(Reason.LOCAL if own else Reason.TIMEOUT, text)) from error
    finally:
        seen.unwatch()


async def _ask(
    domain: str, limit_s: float, resolver: dns.asyncresolver.Resolver | None
) -> list[str]:
    try:
        resolver = resolver or dns.asyncresolver.Resolver()
        answer = await resolver.resolve(
            dns.name.from_text(domain), "MX", lifetime=limit_s, raise_on_no_answer=False
        )
    except dns.resolver.LifetimeTimeout:
        raise
    except dns.resolver.NXDOMAIN as error:
        text = f"MX of {domain}: there is no such domain"
        raise MxError(Failure(Reason.NO_ADDRESS, text), lasting=True) from error
    except dns.resolver.NoResolverConfiguration as error:
        raise MxError(Failure(Reason.LOCAL, f"MX of {domain}: no name servers known")) from error
    except dns.resolver.NoNameservers as error:
        own = _own_fault(error)
        text = f"MX of {domain}: no name server gives an answer ({_last(error)})"
        raise MxError(Failure(Reason.LOCAL if own else Reason.NO_ADDRESS, text)) from error
    except dns.exception.DNSException as error:  # a name that is none, an answer that leads on
        text = f"MX of {domain}: {str(error) or type(error).__name__}"
        raise MxError(Failure(Reason.NO_ADDRESS, text[:200]), lasting=True) from error
    hosts = by_preference(record for record in answer.rrset or () if isinstance(record, MX))
    if hosts is None:
        return [domain]
    if not hosts:
        text = f"MX of {domain}: the domain takes no mail (null MX)"
        raise MxError(Failure(Reason.NO_ADDRESS, text), lasting=True)
    return hosts[:MOST_HOSTS]


def by_preference(records: Iterable[MX]) -> list[str] | None:
    """The hosts of MX records, the most preferred first; ``None`` when there is no record."""
    ordered = sorted((record.preference, record.exchange) for record in records)
    if not ordered:
        return None
    named = [exchange for _, exchange in ordered if exchange != dns.name.root]
    return list(dict.fromkeys(one.to_text(omit_final_dot=True).lower() for one in named))


def _own_fault(error: BaseException) -> bool:
    """Whether this host could not even ask one of the name servers."""
    said = (each[3] for each in _errors(error))
    return any(
        isinstance(one, OSError) and one.errno and connect_reason(one) is Reason.LOCAL
        for one in said
    )


def _last(error: BaseException) -> str:
    """What the last name server said, in a few words."""
    errors = _errors(error)
    said = errors[-1][3] if errors else "none was asked"
    return (str(said) or type(said).__name__)[:100]


def _errors(error: BaseException) -> list[tuple[object, object, object, object, object]]:
    """What dnspython noted of each try: name server, TCP, port, what went wrong, response."""
    kept = getattr(error, "kwargs", {})
    return list(kept.get("errors", ())) if isinstance(kept, dict) else []


class MxMemory:
    """Asks ``mx``, and falls back on what it said within the last day.

    Used from one event loop; ``monotonic`` is in seconds.
    """

    def __init__(self, mx: Mx, monotonic: Callable[[], float]) -> None:
        self._mx = mx
        self._monotonic = monotonic
        self._known: dict[str, tuple[float, list[str]]] = {}

    async def hosts(self, domain: str, limit_s: float) -> tuple[list[str], str | None]:
        """The hosts, and, if they are not of now, a note that says so.

        Raises:
            MxError: when they are not known.
        """
        try:
            hosts = await self._mx(domain, limit_s)
        except MxError as error:
            self._forget(domain if error.lasting else None)
            at_s, hosts = self._known.get(domain, (0.0, []))
            if not hosts:
                raise
            age_s = self._monotonic() - at_s
            return hosts, f"looked up {age_s:.0f} s ago ({error.failure.text})"
        self._known[domain] = self._monotonic(), hosts
        return hosts, None

    def _forget(self, domain: str | None) -> None:
        """Forget that domain, and what is too old."""
        oldest_s = self._monotonic() - REMEMBERED_S
        self._known = {
            name: known
            for name, known in self._known.items()
            if name != domain and known[0] >= oldest_s
        }


SYSTEM_MX: Mx = partial(ask_mx, resolver=None)
