"""From a host name to a TCP connection: every address in turn, each failure kept."""

import socket
from collections.abc import Awaitable, Callable, Sequence
from ipaddress import IPv4Address, IPv6Address
from typing import TypeVar

from probes.connecting import connect_reason, words
from probes.contract.events import Attempt
from probes.contract.stages import Reason, Result
from probes.resolver import Endpoint as Endpoint  # noqa: PLC0414 - part of what this module offers
from probes.resolver import Lookups, OwnFaultError, literal
from probes.smtp.model import SmtpTarget, SubmissionError
from probes.stalls import Patience

T = TypeVar("T")
Resolve = Callable[[str, int, int], Awaitable[Sequence[Endpoint]]]
"""From host, port and family (``AF_UNSPEC`` for any) to endpoints, in the order to try them.

Raises OSError or UnicodeError when the name has none, and OwnFaultError when this host could not
look it up.
"""

RELAYS = Lookups("relays", 32)
"""Looks up the relays' names, apart from all others."""

PATIENCE_S = 2.0
"""Seconds that a lookup waits for a thread: none of them is the relay's, so there must be few."""

_TELLING = (Reason.TIMEOUT, Reason.REFUSED, Reason.RESET, Reason.UNREACHABLE, Reason.LOCAL)
"""Of several addresses' reasons, the first of these speaks for all."""


async def resolve(host: str, port: int, family: int) -> list[Endpoint]:
    """What the system's resolver says, in its order (RFC 6724), each address once.

    Raises:
        OSError: when there is none (``socket.gaierror``).
        UnicodeError: when ``host`` cannot be a domain name.
        OwnFaultError: when this host lacks what it takes to ask.
    """
    lookup = await RELAYS.begin(host, family, PATIENCE_S)
    return await lookup.endpoints(port)


async def begin_lookup(
    target: SmtpTarget, lookups: Lookups = RELAYS, patience_s: float = PATIENCE_S
) -> Resolve:
    """A resolver for one attempt on ``target``, whose lookup has begun already.

    So nothing of the wait for a thread is measured as the relay's; an address waits for none.

    Raises:
        OwnFaultError: when no thread was free for ``patience_s`` seconds.
    """
    if literal(target.host, target.port) is not None:
        return resolve
    lookup = await lookups.begin(target.host, _family(target.source_address), patience_s)

    async def finish(host: str, port: int, family: int) -> list[Endpoint]:
        if (host, family) != (lookup.host, lookup.family):
            raise AssertionError(f"the lookup is of {lookup.host}, not of {host}")
        return await lookup.endpoints(port)

    return finish


def _family(source: IPv4Address | IPv6Address | None) -> int:
    """The addresses that can be reached from ``source``."""
    if source is None:
        return socket.AF_UNSPEC
    return socket.AF_INET if source.version == 4 else socket.AF_INET6


async def find(
    host: str, port: int, source: IPv4Address | IPv6Address | None, resolver: Resolve
) -> list[Endpoint]:
    """The endpoints of ``host`` that can be reached from ``source``.

    Raises:
        SubmissionError: when there is none; ``unsent`` when that is this host's own fault.
    """
    wanted = _family(source)
    known = literal(host, port)
    try:
        endpoints = [known] if known else await resolver(host, port, wanted)
    except OwnFaultError as error:
        raise SubmissionError(Result.UNSENT, Reason.LOCAL, f"{host}: {error}") from error
    except (OSError, UnicodeError) as error:
        text = error.strerror if isinstance(error, OSError) else None
        raise SubmissionError(
            Result.UNREACHABLE, Reason.NO_ADDRESS, f"{host}: {text or error}"
        ) from error
    usable = [e for e in endpoints if wanted in (socket.AF_UNSPEC, e.family)]
    if not usable:
        kind = f"IPv{source.version} " if source is not None else ""
        raise SubmissionError(Result.UNREACHABLE, Reason.NO_ADDRESS, f"{host}: no {kind}address")
    return usable


async def connect(
    endpoints: Sequence[Endpoint],
    open_one: Callable[[Endpoint], Awaitable[T]],
    limit: float,
    monotonic: Callable[[], float],
    attempts: list[Attempt],
) -> T:
    """The first connection that comes about, the endpoints tried in order (RFC 5321 section 5.1).

    ``limit`` is in seconds and per address; time for which the loop stands still is not counted.
    Every failed address is appended to ``attempts``.

    Raises:
        SubmissionError: when none comes about; ``unsent`` when that was this host's own fault.
    """
    for endpoint in endpoints:
        began = monotonic()
        try:
            async with Patience(limit):
                return await open_one(endpoint)
        except TimeoutError as error:
            # The kernel's own timeout has an errno, ours has none.
            text = words(error) if error.errno else f"timed out after {limit:g} s"
            reason = Reason.TIMEOUT
        except OSError as error:
            reason, text = connect_reason(error), words(error)
        attempts.append(Attempt(endpoint.sockaddr[0], reason, text, monotonic() - began))
    raise _nowhere(attempts)


def _nowhere(attempts: Sequence[Attempt]) -> SubmissionError:
    """The one failure that many attempts make."""
    reason = min((attempt.reason for attempt in attempts), key=_TELLING.index)
    if len(attempts) == 1:
        text = attempts[0].detail
    else:
        text = "; ".join(f"{attempt.address} {attempt.detail}" for attempt in attempts)
    # A relay is not to be blamed for this host's missing address or file descriptors.
    result = Result.UNSENT if reason is Reason.LOCAL else Result.UNREACHABLE
    return SubmissionError(result, reason, text)
