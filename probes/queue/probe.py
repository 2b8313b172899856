"""The probe that reads the mail server's queue."""

import asyncio
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from probes.contract.check_plan import CheckPlan
from probes.contract.checks import Finding
from probes.contract.units import NS_PER_S
from probes.queue import exim, postfix
from probes.queue.conclusion import conclude_listing, no_program
from probes.queue.lines import Lines
from probes.queue.model import QueueCommand
from probes.queue.program import MAX_BYTES, run
from probes.queue.tally import Tally


@dataclass(frozen=True, slots=True)
class QueueTarget:
    """The queue of a relay, and the envelope senders of canaries, in lower case."""

    relay: str
    canary_senders: frozenset[str]


class QueueProbe:
    """Looks at what waits in the queue of the mail server on this host, and why.

    ``command`` lists it; ``None`` where there is none. ``now_ns`` is the wall clock, in
    nanoseconds since 1970. ``max_bytes`` of the listing are read.
    """

    def __init__(
        self,
        command: QueueCommand | None,
        *,
        now_ns: Callable[[], int] = time.time_ns,
        max_bytes: int = MAX_BYTES,
    ) -> None:
        self._command = command
        self._now_ns = now_ns
        self._max_bytes = max_bytes

    async def targets(self, plan: CheckPlan) -> Sequence[QueueTarget]:
        """The queue, which is one."""
        return [QueueTarget(plan.relay, plan.canary_senders)]

    async def probe(self, target: QueueTarget, deadline_s: float) -> Finding:
        """What waits there; a listing that takes longer is cut, and what was seen is in it."""
        command = self._command
        if command is None:
            return no_program(target.relay)
        loop = asyncio.get_running_loop()
        began = loop.time()
        now_ns = self._now_ns()
        lines = Lines()
        listing: postfix.PostfixListing | exim.EximListing
        if command.form == "postfix":
            tally = Tally(target.canary_senders, postfix.QUEUES)
            listing = postfix.PostfixListing(tally.take, tally.skip)
        else:
            tally = Tally(target.canary_senders, exim.QUEUES)
            listing = exim.EximListing(tally.take, tally.skip, now_ns / NS_PER_S)

        def take(chunk: bytes) -> None:
            for line in lines.feed(chunk):
                listing.line(line)

        ending = await run(command.argv, take, deadline_s, self._max_bytes)
        if ending.cut is None:
            # What is left of a listing that was cut is the piece of a line, and no entry.
            for line in lines.end():
                listing.line(line)
            listing.end()
        return conclude_listing(command, target.relay, tally, ending, loop.time() - began, now_ns)

    def conclude(self, findings: Sequence[Finding]) -> Sequence[Finding]:
        """Nothing: the finding stands for itself."""
        del findings
        return []
