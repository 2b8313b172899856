"""Which faults are in force, and for whom."""

from collections.abc import Hashable
from dataclasses import dataclass, field
from typing import Generic, TypeGuard, TypeVar

from lab.faults import Fault, Side

F = TypeVar("F", bound=Fault)
F_co = TypeVar("F_co", bound=Fault, covariant=True)


@dataclass(frozen=True, eq=False)
class Order(Generic[F_co]):
    """A fault in force. ``None`` for relays or mailboxes means all of them."""

    fault: F_co
    relays: frozenset[str] | None
    mailboxes: frozenset[str] | None
    since_ns: int
    memory: dict[Hashable, float] = field(default_factory=dict, repr=False)
    """What the fault has to remember while it is in force, such as greylisted triplets."""

    def concerns(self, relay: str | None, mailbox: str | None) -> bool:
        """Whether this is about (relay, mailbox); one that is not known matches only "all"."""
        return (self.relays is None or relay in self.relays) and (
            self.mailboxes is None or mailbox in self.mailboxes
        )


def _is_kind(order: Order[Fault], kind: type[F]) -> TypeGuard[Order[F]]:
    return isinstance(order.fault, kind)


class Board:
    """The orders in force; the latest one wins."""

    def __init__(self) -> None:
        self._orders: list[Order[Fault]] = []

    @property
    def orders(self) -> tuple[Order[Fault], ...]:
        """All orders in force, the earliest first."""
        return tuple(self._orders)

    def add(self, order: Order[Fault]) -> None:
        """Put an order into force."""
        self._orders.append(order)

    def remove(self, order: Order[Fault]) -> None:
        """End an order; one that has ended already is no error."""
        if order in self._orders:
            self._orders.remove(order)

    def find_all(
        self,
        kind: type[F],
        *,
        relay: str | None = None,
        mailbox: str | None = None,
        at: Side | None = None,
    ) -> list[Order[F]]:
        """All orders of a kind that concern (relay, mailbox) on that side, the latest first."""
        return [
            order
            for order in reversed(self._orders)
            if _is_kind(order, kind)
            and order.concerns(relay, mailbox)
            and (at is None or getattr(order.fault, "at", at) is at)
        ]

    def find(
        self,
        kind: type[F],
        *,
        relay: str | None = None,
        mailbox: str | None = None,
        at: Side | None = None,
    ) -> F | None:
        """The latest fault of a kind that concerns (relay, mailbox) on that side."""
        found = self.find_all(kind, relay=relay, mailbox=mailbox, at=at)
        return found[0].fault if found else None
