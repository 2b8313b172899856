"""The canaries in the air, by mailbox: which is the youngest, and whose wait is over."""

import heapq
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field

from agent.assignment import Terms
from agent.clock import Moment, elapsed
from agent.spool.flight import Flight, FlightState
from agent.wall import WallLog

NS = 1_000_000_000
# Ends of waits that nobody asks about stay in the heap; so many more than needed are put up with.
_SPARE_WAITS = 1000


@dataclass(slots=True)
class Total:
    """How many canaries are awaited in all mailboxes together: asked for with every canary.

    ``bounces`` is how many of them would be returned to each bounce mailbox.
    """

    count: int = 0
    bounces: Counter[str] = field(default_factory=Counter)


class MailboxAir:
    """The awaited canaries of one mailbox.

    A canary is awaited from the moment its final dot was sent: mail cannot arrive before that.
    ``wall`` knows how long boots have run. A wait ends when that long has passed for certain, so
    that nothing is lost too early by a wall clock that is wrong after a reboot.
    """

    def __init__(self, total: Total | None = None, wall: WallLog | None = None) -> None:
        self._total = Total() if total is None else total
        self._wall = WallLog() if wall is None else wall
        self._awaited: dict[str, Flight] = {}
        self._dots: dict[str, int] = {}
        self._since: dict[str, int] = {}
        self._terms: dict[str, Terms] = {}
        self._waits: list[tuple[int, str]] = []
        self._listeners: list[Callable[[], None]] = []

    def __len__(self) -> int:
        return len(self._awaited)

    def on_expect(self, listener: Callable[[], None]) -> None:
        """Call ``listener`` whenever a canary has begun to be awaited."""
        self._listeners.append(listener)

    def deafen(self) -> None:
        """Call none of the listeners any more: nobody of them watches the mailbox now."""
        self._listeners.clear()

    def expect(
        self, flight: Flight, now: Moment, *, dot: Moment | None, terms: Terms | None = None
    ) -> None:
        """Await the canary; ``dot`` is when its final dot was sent, if this run of ours sent it.

        ``terms`` are what it was sent under, as far as that is known.
        """
        if flight.canary not in self._awaited:
            age = elapsed(flight.sent, now, wall_error_s=0.0)
            self._since[flight.canary] = now.boot_ns - round(age.seconds * NS)
            left_s = flight.loss_after_s - self._wall.ran_s(flight.sent, now)
            wait_ends = now.boot_ns + round(left_s * NS)
            heapq.heappush(self._waits, (wait_ends, flight.canary))
        if dot is not None:
            self._since[flight.canary] = self._dots[flight.canary] = dot.boot_ns
        if terms is not None and flight.canary not in self._terms:
            self._terms[flight.canary] = terms
            self._total.bounces[terms.bounces or ""] += 1
        self._total.count += flight.canary not in self._awaited
        self._awaited[flight.canary] = flight
        for listener in self._listeners:
            listener()

    def forget(self, canary: str) -> Flight | None:
        """Stop awaiting the canary; gives its flight if it was awaited."""
        self._dots.pop(canary, None)
        self._since.pop(canary, None)
        terms = self._terms.pop(canary, None)
        if terms is not None:
            self._total.bounces[terms.bounces or ""] -= 1
        flight = self._awaited.pop(canary, None)
        self._total.count -= flight is not None
        if len(self._waits) > 2 * len(self._awaited) + _SPARE_WAITS:
            # Without a watermark nobody asks what is overdue, and none would ever be taken out.
            self._waits = [wait for wait in self._waits if wait[1] in self._awaited]
            heapq.heapify(self._waits)
        return flight

    def get(self, canary: str) -> Flight | None:
        """The awaited flight of that canary."""
        return self._awaited.get(canary)

    def canaries(self) -> list[str]:
        """The ids of all that are awaited."""
        return list(self._awaited)

    def terms(self, canary: str) -> Terms | None:
        """What the awaited canary was sent under; ``None`` when that is not known."""
        return self._terms.get(canary)

    def dot_ns(self, canary: str) -> int | None:
        """When the canary's final dot was sent, on this boot's clock; a bound for its arrival."""
        return self._dots.get(canary)

    def youngest_age_s(self, now: Moment) -> float | None:
        """Seconds since the youngest awaited canary began to be awaited; ``None`` without any."""
        # Dictionaries keep their order, so the last one in is the youngest.
        for canary in reversed(self._awaited):
            return max(0.0, (now.boot_ns - self._since[canary]) / NS)
        return None

    def oldest(self) -> Flight | None:
        """The flight that has been awaited the longest."""
        return next(iter(self._awaited.values()), None)

    def overdue(self, checked_boot_ns: int) -> list[Flight]:
        """Take out the flights whose wait ended before the check begun at ``checked_boot_ns``.

        They stay awaited until they are forgotten.
        """
        over = []
        while self._waits and self._waits[0][0] <= checked_boot_ns:
            _, canary = heapq.heappop(self._waits)
            flight = self._awaited.get(canary)
            if flight is not None:
                over.append(flight)
        return over

    def wait_again(self, flight: Flight, now: Moment) -> None:
        """Put back an overdue flight whose expiry could not be written down."""
        heapq.heappush(self._waits, (now.boot_ns, flight.canary))

    def older_than(self, age_s: float, now: Moment) -> list[Flight]:
        """Flights that have been in the air for longer than ``age_s``, for certain."""
        flights = self._awaited.values()
        return [flight for flight in flights if self._wall.ran_s(flight.sent, now) > age_s]


class Air:
    """All canaries in the air; ``wall`` as in :class:`MailboxAir`."""

    def __init__(self, wall: WallLog | None = None) -> None:
        self._wall = WallLog() if wall is None else wall
        self._mailboxes: dict[str, MailboxAir] = {}
        self._total = Total()

    def __len__(self) -> int:
        return self._total.count

    def mailbox(self, name: str) -> MailboxAir:
        """The mailbox's part of the air, made when first asked for."""
        box = self._mailboxes.get(name)
        if box is None:
            box = self._mailboxes[name] = MailboxAir(self._total, self._wall)
        return box

    def mailboxes(self) -> dict[str, MailboxAir]:
        """Every mailbox's part."""
        return self._mailboxes

    def oldest(self) -> Flight | None:
        """The flight that was sent first of all that are awaited."""
        oldest = (box.oldest() for box in self._mailboxes.values())
        flights = [flight for flight in oldest if flight is not None]
        return min(flights, key=lambda flight: flight.sent.wall_ns, default=None)

    def leave(self, name: str) -> None:
        """Nobody watches that mailbox any more; its part is dropped when nothing is awaited."""
        box = self._mailboxes.get(name)
        if box is not None:
            box.deafen()
            if not len(box):
                del self._mailboxes[name]

    def returning(self, bounces: str) -> int:
        """How many of the awaited canaries would be returned to that bounce mailbox."""
        return self._total.bounces[bounces]

    def expect(
        self, flight: Flight, now: Moment, *, dot: Moment | None, terms: Terms | None = None
    ) -> None:
        """Await the canary in its mailbox; as :meth:`MailboxAir.expect`."""
        box = self.mailbox(flight.path.mailbox)
        box.expect(flight.moved(FlightState.AWAITED), now, dot=dot, terms=terms)

    def forget(self, flight: Flight) -> None:
        """Stop awaiting the canary."""
        self.mailbox(flight.path.mailbox).forget(flight.canary)
