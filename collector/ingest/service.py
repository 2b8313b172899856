"""Takes a batch in: unpacked, judged, on the disk, answered."""

import asyncio
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Protocol

import structlog

from collector.ingest.admission import Admission, Room
from collector.ingest.batch import read_batch
from collector.ingest.epochs import Epochs
from collector.ingest.inflate import BodyError, PastLimitError, gunzip
from collector.ingest.judge import judge
from collector.ingest.quota import cost, cost_of_new
from collector.log.engine import Appended, Batch, Log
from probes.contract.names import Path
from probes.contract.wire import MAX_PLAIN_BYTES, BatchHeader, Ingested, RefusalReason

log = structlog.get_logger(__name__)

_USUAL_RATIO = 40
"""Events pack some twenty times; what packs better is unpacked again with more room."""
_COPIES = 3
"""A batch lies in memory as a whole, cut into lines, and packed for the log."""


class WrongAgentError(BodyError):
    """A batch that speaks for an agent other than the one whose token sent it."""


class Assignments(Protocol):
    """What agents may speak of."""

    def allows(self, path: Path) -> bool:
        """Whether the path was ever assigned to its agent."""

    def sits(self, agent: str, relay: str) -> bool:
        """Whether the agent ever sat on the relay."""


class Ingest:
    """The way into the log. Used from one event loop.

    ``now_ns`` is the wall clock. The counters only ever grow: ``events`` by what became of them
    (``accepted``, ``duplicate``, ``refused``, ``missing``), ``refused`` by reason, ``bytes_of``
    what each agent's events take in the log.
    """

    def __init__(
        self,
        to: Log,
        assigned: Assignments,
        now_ns: Callable[[], int],
        room: Room | None = None,
    ) -> None:
        self._log = to
        self._assigned = assigned
        self.now_ns = now_ns
        self.admission = Admission(room)
        self._epochs = Epochs(self.admission.room.new_epochs, self.admission.room.epochs)
        self.batches = 0
        self.gaps = 0
        self.events = Counter(dict.fromkeys(("accepted", "duplicate", "refused", "missing"), 0))
        self.refused = Counter(dict.fromkeys(RefusalReason, 0))
        self.bytes_of: Counter[str] = Counter()
        # Unpacking leaves the interpreter to others; judging does not, so more would not help.
        self._threads = ThreadPoolExecutor(2, thread_name_prefix="ingest")

    async def take(self, agent: str, body: bytes, *, gzipped: bool, received_ns: int) -> Ingested:
        """Take in a batch of ``agent``'s; the answer is given when all of it is on the disk.

        Whoever calls has a place of :attr:`admission`.

        Raises:
            BodyError: the body is no batch, too large a one, or another agent's. Nothing was taken.
            BusyError: the agent has begun too many epochs for another one. Nothing was taken.
            LogError: the log cannot take it now. Nothing was taken.
        """
        size = len(body)
        if gzipped:
            size = min(MAX_PLAIN_BYTES, max(64 << 10, size * _USUAL_RATIO))
        try:
            batch, appended = await self._take(agent, body, gzipped, size)
        except PastLimitError:
            if size >= MAX_PLAIN_BYTES:
                raise
            batch, appended = await self._take(agent, body, gzipped, MAX_PLAIN_BYTES)
        self._count(batch, appended)
        return Ingested(
            epoch=batch.epoch,
            high_water=appended.high_water,
            accepted=appended.accepted,
            duplicates=appended.duplicates,
            refused=[letter.refusal for letter in batch.dead],
            gap=appended.gap,
            received_at_ns=received_ns,
            answered_at_ns=self.now_ns(),
        )

    async def _take(
        self, agent: str, body: bytes, gzipped: bool, limit: int
    ) -> tuple[Batch, Appended]:
        loop = asyncio.get_running_loop()
        # Held until it is on the disk: while that is slow, batches are what fills the memory.
        async with self.admission.memory.hold(limit * _COPIES):
            batch = await loop.run_in_executor(
                self._threads, self._read, agent, body, gzipped, limit
            )
            return batch, await self._store(batch)

    async def _store(self, batch: Batch) -> Appended:
        """Write it down, within what its agent may have."""
        agent, quota = batch.source, self.admission.quota
        if not self._epochs.loaded:
            self._epochs.load(await self._log.marks())
        new = not self._epochs.knows(agent, batch.epoch)
        if new:
            self._begin(batch)
        # Before it is written, and given back if it is not: whoever gives up waiting has had it.
        taken = cost(batch)
        quota.take(agent, taken)
        try:
            appended = await self._log.append(batch)
        except Exception:
            quota.give(agent, taken)
            if new:
                self._epochs.forget(agent, batch.epoch)
            raise
        if new:
            # Again: another batch of it that came to nothing may have made it forgotten.
            self._epochs.begin(agent, batch.epoch, batch.ingested_at_ns)
        stored = cost_of_new(batch, appended) if appended.duplicates else taken
        quota.give(agent, taken - stored)
        self.bytes_of[agent] += stored
        return appended

    def _begin(self, batch: Batch) -> None:
        found = self._epochs.too_many(batch.source, batch.ingested_at_ns)
        if found is not None:
            raise self.admission.busy("epochs", batch.source, *found)
        self._epochs.begin(batch.source, batch.epoch, batch.ingested_at_ns)

    def _read(self, agent: str, body: bytes, gzipped: bool, limit: int) -> Batch:
        # No name for what is unpacked: it is to be gone when its lines are judged.
        header, lines = read_batch(gunzip(body, limit) if gzipped else body)
        _check_agent(header, agent)
        return judge(header, lines, self._assigned.allows, self._assigned.sits, self.now_ns())

    def _count(self, batch: Batch, appended: Appended) -> None:
        self.batches += 1
        self.events["accepted"] += appended.accepted
        self.events["duplicate"] += appended.duplicates
        self.events["refused"] += appended.refused
        told = log.bind(agent=batch.source, epoch=batch.epoch)
        if appended.gap is not None:
            first, last = appended.gap.first_seq, appended.gap.last_seq
            self.gaps += 1
            self.events["missing"] += last - first + 1
            told.warning("events are missing", first=first, last=last)
        # Duplicates come before what is new; those refused before were counted then.
        new = batch.dead[len(batch.dead) - appended.refused :]
        self.refused.update(letter.refusal.reason for letter in new)
        if new:
            first_one = new[0].refusal
            told.warning(
                "events were refused",
                events=len(new),
                first=first_one.seq,
                reason=str(first_one.reason),
                detail=first_one.detail,
            )

    def close(self) -> None:
        """End the threads."""
        self._threads.shutdown(wait=False)


def _check_agent(header: BatchHeader, agent: str) -> None:
    if header.agent != agent:
        raise WrongAgentError(
            f"line 1: agent: found {header.agent}, allowed is {agent}, whose token it is"
        )
