"""The labels of everything named by the configuration's revisions, and the tags of a path.

A canary's labels are those of the revision that its intent names. A revision that is not known
(its event is older than the log) gives way to the newest one that knows the path's relay, agent and
mailbox; where there is none, the path has its names and no labels.
"""

from collections.abc import Iterable, Mapping
from typing import Any, Literal

import msgspec

from probes.contract.names import Path
from probes.contract.units import parse_duration

REMEMBER_S = 518400.0
"""How long a canary is remembered unless a configuration says otherwise."""
KEPT = 256
"""Revisions that are remembered."""

Labels = tuple[str, ...]
"""Written ``relay:provider=aws``, in rising order."""


class Named(msgspec.Struct, frozen=True, array_like=True):
    """The labels of each thing that one revision names.

    ``remember_s`` is for how many seconds a canary is remembered under it, ``domains`` are those of
    the mailboxes' addresses, in lower case.
    """

    remember_s: float
    relays: dict[str, Labels]
    agents: dict[str, Labels]
    customers: dict[str, Labels]
    mailboxes: dict[str, Labels]
    domains: dict[str, str] = {}

    def labels_of(self, path: Path) -> Labels | None:
        """The labels of a path's four parts; ``None`` when one of these is not named here."""
        parts = (
            self.relays.get(path.relay),
            self.agents.get(path.agent),
            self.customers.get(path.customer),
            self.mailboxes.get(path.mailbox),
        )
        found: list[str] = []
        for part in parts:
            if part is None:
                return None
            found.extend(part)
        return tuple(sorted(found))


class _Thing(msgspec.Struct, frozen=True):
    name: str
    labels: dict[str, str] = {}


class _Mailbox(_Thing, frozen=True):
    address: str = ""


class _Customer(_Thing, frozen=True):
    mailboxes: tuple[_Mailbox, ...] = ()


class _Defaults(msgspec.Struct, frozen=True):
    remember: str | None = None


class _Document(msgspec.Struct, frozen=True):
    """What a rollup needs of a configuration; what else one has, and may have some day, is let be.

    The collector has checked it before it wrote it down, and what checks it takes longer to load
    than all else that a rollup needs.
    """

    version: Literal[1]
    defaults: _Defaults = _Defaults()
    relays: tuple[_Thing, ...] = ()
    agents: tuple[_Thing, ...] = ()
    customers: tuple[_Customer, ...] = ()


def named_by(document: Mapping[str, Any]) -> Named | None:
    """What a revision's document names; ``None`` when it is no configuration that we can read."""
    try:
        config = msgspec.convert(document, _Document)
        written = config.defaults.remember
        remember_s = REMEMBER_S if written is None else parse_duration(written)
    except (msgspec.ValidationError, ValueError):
        return None
    return Named(
        remember_s=remember_s,
        relays={relay.name: _labels("relay", relay.labels) for relay in config.relays},
        agents={agent.name: _labels("agent", agent.labels) for agent in config.agents},
        customers={
            customer.name: _labels("customer", customer.labels) for customer in config.customers
        },
        mailboxes={
            f"{customer.name}/{box.name}": _labels("mailbox", box.labels)
            for customer in config.customers
            for box in customer.mailboxes
        },
        domains={
            f"{customer.name}/{box.name}": domain_of(box.address)
            for customer in config.customers
            for box in customer.mailboxes
        },
    )


def domain_of(address: str) -> str:
    """The domain of an address, in lower case."""
    return address.rpartition("@")[2].lower()


def _labels(kind: str, labels: Mapping[str, str]) -> Labels:
    return tuple(sorted(f"{kind}:{key}={value}" for key, value in labels.items()))


class Revisions:
    """The newest :data:`KEPT` revisions, oldest first."""

    def __init__(self, known: Iterable[tuple[str, Named]] = ()) -> None:
        self._known: dict[str, Named] = {}
        for revision, named in known:
            self.add(revision, named)

    def add(self, revision: str, named: Named) -> list[str]:
        """Note that a revision came into force; gives the revisions that are forgotten for it."""
        self._known.pop(revision, None)
        before = next(reversed(self._known.values()), None)
        if before is not None and before.domains == named.domains:
            # They hardly change: one of all for as many revisions as have it.
            named = msgspec.structs.replace(named, domains=before.domains)
        self._known[revision] = named
        too_old = list(self._known)[:-KEPT]
        for old in too_old:
            del self._known[old]
        return too_old

    def may_get(self, mailbox: str, address: str) -> bool:
        """Whether a mail to ``address`` may be one for ``mailbox``, under whichever revision.

        Relays write addresses anew, seldom their domains; what no revision names may be anything.
        """
        domain = domain_of(address)
        found = {named.domains.get(mailbox) for named in self._known.values()} - {None, ""}
        return domain in found or not found

    def labels_of(self, path: Path, revision: str) -> Labels:
        """The labels of a canary on that path, sent under that revision."""
        own = self._known.get(revision)
        if own is not None and (labels := own.labels_of(path)) is not None:
            return labels
        for named in reversed(self._known.values()):
            if (labels := named.labels_of(path)) is not None:
                return labels
        return ()


_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(Named)


def pack(named: Named) -> bytes:
    """What a revision names, as it lies in the file."""
    return _encoder.encode(named)


def unpack(data: bytes) -> Named:
    """What :func:`pack` wrote.

    Raises:
        msgspec.MsgspecError: ``data`` is nothing of the sort.
    """
    return _decoder.decode(data)
