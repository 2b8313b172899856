"""When the wait for a canary is over: lost only against a complete check, unknown at the end."""

from collections import Counter
from collections.abc import Mapping

from agent.air import Air
from agent.clock import Clock, at_boot
from agent.mailbox.watch import MailboxWatch
from agent.spool.flight import Flight
from agent.spool.store import Store
from agent.spool.writer import Spool
from probes.contract.errors import SpoolError
from probes.contract.events import Expiry


class Expirer:
    """Ends the waits of all mailboxes.

    A canary is lost when every folder of its mailbox was checked completely, the check begun after
    ``loss_after``, and none showed it. One whose mailbox could not be read for as long as canaries
    are remembered is unknown: nobody looked.
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
        wall_error_s: float,
    ) -> None:
        self._air = air
        self._watches = watches
        self._clock = clock
        self._spool = spool
        self._counters = counters
        self._remember_s = remember_s
        self._wall_error_s = wall_error_s

    async def lost(self) -> int:
        """End the waits that a watermark has passed; gives how many canaries are lost.

        Raises:
            SpoolError: nothing was ended; to be tried again.
        """
        now = self._clock.now()
        ended = 0
        for name, box in list(self._air.mailboxes().items()):
            watch = self._watches.get(name)
            mark = None if watch is None else watch.watermark(now.boot_id)
            if mark is None:
                continue
            over = box.overdue(mark.boot_ns)
            if not over:
                continue
            try:
                await self._end(over, now.wall_ns, lost=True, watermark_ns=mark.wall_ns)
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
            over = box.older_than(self._remember_s, now, self._wall_error_s)
            if over:
                await self._end(over, now.wall_ns, lost=False, watermark_ns=None)
                ended += len(over)
        before = at_boot(now, now.boot_ns - round(self._remember_s * 1e9))
        await self._spool.run(lambda store: store.forget_flights(before))
        return ended

    async def _end(
        self, flights: list[Flight], at_ns: int, *, lost: bool, watermark_ns: int | None
    ) -> None:
        events = [
            Expiry(
                canary=flight.canary,
                path=flight.path,
                at_ns=at_ns,
                lost=lost,
                watermark_ns=watermark_ns,
                detail="" if lost else "the mailbox was not read for as long as it is remembered",
            )
            for flight in flights
        ]

        def write(store: Store) -> None:
            for event in events:
                store.end_wait(event)

        await self._spool.run(write)
        for flight in flights:
            self._air.forget(flight)
        self._counters["waits_lost" if lost else "waits_given_up"] += len(flights)
