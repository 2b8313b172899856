"""A mail estate in one process: relays, their destinations, and mailboxes with IMAP.

::

    async with Estate(relays=["relay-a1", "relay-a2"], mailboxes=["acme/inbox"]) as estate:
        filtered = await estate.order(OutboundFiltered(), relays=["relay-a1"])
        ...
        await filtered.clear()

Everything listens on loopback addresses of its own (127.20.0.0/14), on free ports, without root.
The addresses follow from the order of the relays and mailboxes; the ports are known once the
estate has started.
"""

import random
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from types import TracebackType
from typing import Any, Self

from lab import document
from lab.board import Board, Order
from lab.destination import Destination
from lab.directory import Directory
from lab.extras import LabError
from lab.faults import Fault, Scope
from lab.mailboxes import Mailbox, MailStore
from lab.relay import Relay
from lab.specs import (
    AgentSpec,
    MailboxSpec,
    RelaySpec,
    as_agent,
    as_mailbox,
    as_relay,
)
from lab.truth import Pulse, Truth
from probes.contract.stages import Stage

RELAY_NET, EGRESS_NET, DESTINATION_NET, IMAP_NET = 20, 21, 22, 23


def loopback(net: int, index: int) -> str:
    """The ``index``-th (from 0) address of 127.net.0.0/16, none of them ending in 0 or 255."""
    return f"127.{net}.{index // 250}.{index % 250 + 1}"


class Handle:
    """A fault that was ordered."""

    def __init__(self, estate: "Estate", order: Order[Fault]) -> None:
        self._estate = estate
        self.order = order

    async def clear(self) -> None:
        """End the fault; a second time does nothing."""
        self._estate.withdraw(self.order)


class Estate:
    """The public face of the lab. All of it lives in the event loop that starts it.

    A bounce mailbox ``monitor/<agent>-bounces`` is added for every agent; its address is the
    agent's sender address. ``clock`` gives ns since the epoch; ``seed`` feeds the jitters.
    """

    def __init__(
        self,
        relays: Sequence[RelaySpec | str],
        mailboxes: Sequence[MailboxSpec | str],
        agents: Sequence[AgentSpec | str] = ("lab",),
        *,
        clock: Callable[[], int] = time.time_ns,
        seed: int = 0,
    ) -> None:
        self.agents = tuple(as_agent(spec) for spec in agents)
        self.truth = Truth()
        self._board = Board()
        self._pulse = Pulse()
        self._clock = clock
        self._rng = random.Random(seed)  # noqa: S311 - jitter, no secret
        self._store = MailStore()
        self.mailboxes: dict[str, Mailbox] = {}
        bounces = [_bounce_spec(agent.name) for agent in self.agents]
        for spec in [*(as_mailbox(spec) for spec in mailboxes), *bounces]:
            self._add_mailbox(_complete(spec))
        self._directory = Directory(self.mailboxes.values())
        self.relays: dict[str, Relay] = {}
        for relay in map(as_relay, relays):
            self._add_relay(relay)

    def _add_mailbox(self, spec: MailboxSpec) -> None:
        if spec.name in self.mailboxes:
            raise LabError(f"mailbox {spec.name} is there twice")
        host = loopback(IMAP_NET, len(self.mailboxes))
        self.mailboxes[spec.name] = Mailbox(spec, host, self._store, self._board)

    def _add_relay(self, spec: RelaySpec) -> None:
        if spec.name in self.relays:
            raise LabError(f"relay {spec.name} is there twice")
        index = len(self.relays)
        destination = Destination(
            spec.name,
            loopback(DESTINATION_NET, index),
            board=self._board,
            directory=self._directory,
            truth=self.truth,
            pulse=self._pulse,
            clock=self._clock,
        )
        self.relays[spec.name] = Relay(
            spec,
            host=loopback(RELAY_NET, index),
            egress=loopback(EGRESS_NET, index),
            destination=destination,
            board=self._board,
            directory=self._directory,
            truth=self.truth,
            pulse=self._pulse,
            clock=self._clock,
            rng=self._rng,
        )

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.close()

    async def start(self) -> None:
        """Start all servers.

        Raises:
            OSError: when an address cannot be bound; nothing stays open then.
        """
        try:
            for mailbox in self.mailboxes.values():
                await mailbox.start()
            for relay in self.relays.values():
                relay.start()
        except BaseException:
            await self.close()
            raise

    async def close(self) -> None:
        """Stop all servers, end all connections and tasks; queued mail is forgotten."""
        for relay in self.relays.values():
            await relay.close()
        for mailbox in self.mailboxes.values():
            await mailbox.close()

    async def order(
        self,
        fault: Fault,
        *,
        relays: Iterable[str] | None = None,
        mailboxes: Iterable[str] | None = None,
    ) -> Handle:
        """Put a fault into force; it is in force when this returns. ``None`` means all.

        Raises:
            LabError: when a name is unknown, or the fault cannot be ordered for what was named.
        """
        order = Order(
            fault,
            None if relays is None else _known(relays, self.relays, "relay"),
            None if mailboxes is None else _known(mailboxes, self.mailboxes, "mailbox"),
            self._clock(),
        )
        _check_scope(order)
        self._board.add(order)
        self._refresh()
        return Handle(self, order)

    def withdraw(self, order: Order[Fault]) -> None:
        """End a fault; one that has ended already is no error."""
        self._board.remove(order)
        self._refresh()

    async def clear(self) -> None:
        """End all faults."""
        for order in self._board.orders:
            self._board.remove(order)
        self._refresh()

    @property
    def faults(self) -> tuple[Order[Fault], ...]:
        """The faults in force, the earliest first."""
        return self._board.orders

    async def until(self, condition: Callable[[], bool]) -> None:
        """Return as soon as ``condition``, on the truth or on queues, holds; it does not poll."""
        await self._pulse.until(condition)

    def _refresh(self) -> None:
        for relay in self.relays.values():
            relay.refresh()
        for mailbox in self.mailboxes.values():
            mailbox.refresh()
        self._pulse.beat()

    @property
    def secrets(self) -> dict[str, str]:
        """The secrets that :meth:`config_document` names, by name."""
        found = {document.secret_name(box.name): box.password for box in self.mailboxes.values()}
        for relay in self.relays.values():
            if relay.spec.users:
                name = document.relay_secret_name(relay.name)
                found[name] = next(iter(relay.spec.users.values()))
        return found

    def config_document(
        self,
        *,
        interval: str = "1s",
        deadline: str = "5s",
        loss_after: str = "30s",
        remember: str = "1h",
        rules: Sequence[Mapping[str, Any]] | None = None,
        timeouts: Mapping[str, str] | None = None,
    ) -> dict[str, Any]:
        """The started estate as a configuration, ready to be written as YAML.

        ``rules`` are the ``canaries`` of every customer, by default all relays, agents and
        mailboxes of the customer.
        """
        chosen = (
            [{"relays": "all", "agents": "all", "mailboxes": "all"}] if rules is None else rules
        )
        return {
            "version": 1,
            "defaults": {
                "interval": interval,
                "deadline": deadline,
                "loss_after": loss_after,
                "remember": remember,
            },
            "timeouts": dict(timeouts)
            if timeouts is not None
            else {"connect": "1s", "banner": "2s", "command": "2s", "accept": "2s"},
            "relays": [document.relay_entry(relay) for relay in self.relays.values()],
            "agents": [
                document.agent_entry(spec, self.mailboxes[document.bounce_mailbox(spec.name)])
                for spec in self.agents
            ],
            "customers": document.customer_entries(
                self.mailboxes.values(), [dict(rule) for rule in chosen]
            ),
        }


def _known(names: Iterable[str], known: Mapping[str, object], what: str) -> frozenset[str]:
    wanted = frozenset([names] if isinstance(names, str) else names)
    unknown = sorted(wanted - known.keys())
    if unknown:
        raise LabError(f"no {what} {', '.join(unknown)}; there are {', '.join(known)}")
    return wanted


def _check_scope(order: Order[Fault]) -> None:
    fault = order.fault
    name = type(fault).__name__
    if fault.scope is Scope.RELAY and order.mailboxes is not None:
        raise LabError(f"{name} concerns whole connections: it cannot pick out mailboxes")
    if fault.scope is Scope.MAILBOX and order.relays is not None:
        raise LabError(f"{name} concerns mailboxes: it cannot pick out relays")
    stage = getattr(fault, "stage", None)
    if order.mailboxes is not None and stage in (Stage.BANNER, Stage.EHLO, Stage.MAIL):
        raise LabError(f"{name} at {stage}: no recipient, so no mailbox, is known yet")


def _bounce_spec(agent: str) -> MailboxSpec:
    return MailboxSpec(
        name=document.bounce_mailbox(agent),
        address=f"canary-{agent}@{document.BOUNCE_CUSTOMER}.example",
    )


def _complete(spec: MailboxSpec) -> MailboxSpec:
    customer, slash, box = spec.name.partition("/")
    if not (customer and slash and box):
        raise LabError(f"mailbox {spec.name!r}: its name must be customer/mailbox")
    address = spec.address or f"{box}@{customer}.example"
    return MailboxSpec(
        name=spec.name,
        address=address,
        user=spec.user or address,
        password=spec.password or f"password-of-{customer}-{box}",
        authserv_id=spec.authserv_id or f"mx.{customer}.example",
        inbox=spec.inbox,
        junk=spec.junk,
        labels=spec.labels,
        max_per_minute=spec.max_per_minute,
        tls_context=spec.tls_context,
    )
