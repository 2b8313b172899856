"""When the wait for a canary is over: lost only against a complete check, unknown at the end."""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence

from agent.air import Air
from agent.assignment import Terms
from agent.clock import Clock, Moment, WallGuard
from agent.mailbox.watch import MailboxWatch
from agent.spool.flight import Flight
from agent.spool.store import Store
from agent.spool.writer import Spool
from probes.contract.errors import SpoolError
from probes.contract.events import Expiry

_UNREAD = "the mailbox was not read for as long as it is remembered"
_MOVED = "the mailbox has moved to another account or other folders since"


def _expiry(flight: Flight, at_ns: int, watermark_ns: int, why_unknown: str) -> Expiry:
    return Expiry(
        canary=flight.canary,
        path=flight.path,
        at_ns=at_ns,
        lost=not why_unknown,
        watermark_ns=None if why_unknown else watermark_ns,
        detail=why_unknown,
    )


def _shows(watch: MailboxWatch, terms: Terms | None) -> bool:
    """Whether what was sent under those terms can only lie where the watch looks."""
    if terms is None:
        return True
    return not terms.moved and watch.shows(terms.mailbox)


class Expirer:
    """Ends the waits of all mailboxes.

    A canary is lost when every folder of its mailbox was checked completely, the check begun after
    ``loss_after``, and none showed it. One whose mailbox could not be read for as long as canaries
    are remembered is unknown: nobody looked. So is one whose mailbox is another now than the one it
    was sent to: nobody looked there.

    ``hear`` is called as :class:`agent.mailbox.watch.Reader` says.
    """

    def __init__(
        self,
        air: Air,
        watches: Mapping[str, MailboxWatch],
        *,
        clock: Clock,
        spool: Spool,
        counters: Counter[str],
        remember_s: float,
        guard: WallGuard,
        hear: Callable[[Sequence[Expiry]], object] = lambda _: None,
    ) -> None:
        self._air = air
        self._watches = watches
        self._clock = clock
        self._spool = spool
        self._counters = counters
        self._remember_s = remember_s
        self._guard = guard
        self._hear = hear

    def assign(self, remember_s: float) -> None:
        """Canaries are remembered for so long from now on."""
        self._remember_s = remember_s

    async def lost(self) -> int:
        """End the waits that a watermark has passed; gives how many.

        Raises:
            SpoolError: nothing was ended; to be tried again.
        """
        now = self._clock.now()
        ended = 0
        for name, box in list(self._air.mailboxes().items()):
            watch = self._watches.get(name)
            mark = None if watch is None else watch.watermark(now.boot_id)
            if watch is None or mark is None:
                continue
            over = box.overdue(mark.boot_ns)
            if not over:
                continue
            try:
                await self._end(
                    _expiry(flight, now.wall_ns, mark.wall_ns, "" if shown else _MOVED)
                    for flight in over
                    for shown in (_shows(watch, box.terms(flight.canary)),)
                )
            except SpoolError:
                for flight in over:
                    box.wait_again(flight, mark)
                raise
            ended += len(over)
        return ended

    async def given_up(self) -> int:
        """End the waits that have lasted as long as canaries are remembered; gives how many.

        Raises:
            SpoolError: nothing was ended; to be tried again.
        """
        now = self._clock.now()
        ended = 0
        for box in list(self._air.mailboxes().values()):
            over = box.older_than(self._remember_s, now)
            if over:
                await self._end(_expiry(flight, now.wall_ns, 0, _UNREAD) for flight in over)
                ended += len(over)
        await self._forget(now)
        return ended

    async def _forget(self, now: Moment) -> None:
        """Forget the flights whose wait was over so long ago, by a clock that may be believed."""
        remember_ns = round(self._remember_s * 1e9)
        believed_ns = self._guard.believed_ns(now)
        wall_ns = 0 if believed_ns is None else believed_ns - remember_ns
        before = Moment(wall_ns, now.boot_ns - remember_ns, now.boot_id)
        await self._spool.run(lambda store: store.forget_flights(before))

    async def _end(self, ended: Iterable[Expiry]) -> None:
        events = list(ended)

        def write(store: Store) -> None:
            for event in events:
                store.end_wait(event)
            self._hear(events)

        await self._spool.run(write)
        for event in events:
            self._air.mailbox(event.path.mailbox).forget(event.canary)
            self._counters["waits_lost" if event.lost else "waits_given_up"] += 1
