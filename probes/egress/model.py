"""What a look outward is aimed at."""

from dataclasses import dataclass
from typing import NamedTuple

from probes.contract.checks import EgressSeen, Finding
from probes.contract.stages import Reason, Stage
from probes.resolver import Endpoint


class Vantage(NamedTuple):
    """Where one looks from: bound to ``address``, or, if that is ``None``, to no address.

    ``family`` is ``AF_INET`` or ``AF_INET6``; ``shown`` is the address that findings name, unless a
    connection tells another; ``note`` says why an address that was asked for is not used.
    """

    family: int
    address: str | None
    shown: str | None
    note: str | None = None


class Failure(NamedTuple):
    """Why something did not come about, in a word and in a few."""

    reason: Reason
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class EgressTarget:
    """One host at one port, from one address; without an ``endpoint``, ``failure`` says why.

    ``resolve_s`` are the seconds that it took to find it, ``note`` is what else is to be told.
    """

    destination: str
    reference: bool
    host: str
    port: int
    control: bool
    vantage: Vantage
    endpoint: Endpoint | None
    failure: Failure | None = None
    resolve_s: float = 0.0
    note: str | None = None


@dataclass(slots=True)
class Seen:
    """What a look has come to so far; times in seconds."""

    stage: Stage = Stage.EGRESS_RESOLVE
    failure: Failure | None = None
    source: str | None = None
    connect_s: float | None = None
    banner_s: float | None = None
    code: int | None = None
    banner: str | None = None


def finding(target: EgressTarget, seen: Seen) -> Finding:
    """The result of a look."""
    address = target.endpoint.sockaddr[0] if target.endpoint else None
    where = f"{target.host} ({address})" if address not in (None, target.host) else target.host
    said = [seen.failure.text] if seen.failure else []
    said += [note for note in (target.vantage.note, target.note) if note]
    timings = {"resolve": target.resolve_s, "connect": seen.connect_s, "banner": seen.banner_s}
    return Finding(
        ok=seen.failure is None,
        target=target.destination,
        source=seen.source or target.vantage.shown,
        stage=seen.stage if seen.failure else None,
        reason=seen.failure.reason if seen.failure else None,
        detail=f"{where}, port {target.port}: {'; '.join(said)}" if said else None,
        timings={name: took for name, took in timings.items() if took is not None},
        egress=EgressSeen(
            host=target.host,
            port=target.port,
            address=address,
            control=target.control,
            reference=target.reference,
            banner=seen.banner,
            code=seen.code,
        ),
    )
