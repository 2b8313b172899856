"""Takes a batch in: unpacked, judged, on the disk, answered."""

import asyncio
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import structlog

from collector.ingest.admission import Admission, Room
from collector.ingest.batch import read_batch
from collector.ingest.inflate import BodyError, gunzip
from collector.ingest.judge import Allows, judge
from collector.log.engine import Batch, Log
from probes.contract.wire import MAX_PLAIN_BYTES, BatchHeader, Ingested

log = structlog.get_logger(__name__)


class WrongAgentError(BodyError):
    """A batch that speaks for an agent other than the one whose token sent it."""


class Ingest:
    """The way into the log. Used from one event loop.

    ``now_ns`` is the wall clock. ``counters`` only ever grow: ``events_accepted``,
    ``events_duplicate``, ``events_refused_<reason>``, ``batches``, ``gaps``, ``events_missing``.
    """

    def __init__(
        self, to: Log, allows: Allows, now_ns: Callable[[], int], room: Room | None = None
    ) -> None:
        self._log = to
        self._allows = allows
        self._now_ns = now_ns
        self.admission = Admission(room or Room())
        self.counters: Counter[str] = Counter()
        # Unpacking leaves the interpreter to others; judging does not, so more would not help.
        self._threads = ThreadPoolExecutor(2, thread_name_prefix="ingest")

    async def take(self, agent: str, body: bytes, *, gzipped: bool, received_ns: int) -> Ingested:
        """Take in a batch of ``agent``'s; the answer is given when all of it is on the disk.

        Whoever calls has a place of :attr:`admission`.

        Raises:
            BodyError: the body is no batch, too large a one, or another agent's. Nothing was taken.
            LogError: the log cannot take it now. Nothing was taken.
        """
        loop = asyncio.get_running_loop()
        async with self.admission.turn():
            header, batch = await loop.run_in_executor(
                self._threads, self._read, agent, body, gzipped, received_ns
            )
        appended = await self._log.append(batch)
        refused = [letter.refusal for letter in batch.dead]
        if appended.gap is not None:
            self.counters["gaps"] += 1
            missing = appended.gap.last_seq - appended.gap.first_seq + 1
            self.counters["events_missing"] += missing
            log.warning("events are missing", agent=agent, epoch=batch.epoch, gap=appended.gap)
        self._count(batch, appended.accepted, appended.refused, appended.duplicates)
        return Ingested(
            epoch=header.epoch,
            high_water=appended.high_water,
            accepted=appended.accepted,
            duplicates=appended.duplicates,
            refused=refused,
            gap=appended.gap,
            received_at_ns=received_ns,
            answered_at_ns=self._now_ns(),
        )

    def _read(
        self, agent: str, body: bytes, gzipped: bool, received_ns: int
    ) -> tuple[BatchHeader, Batch]:
        plain = gunzip(body, MAX_PLAIN_BYTES) if gzipped else body
        header, lines = read_batch(plain)
        if header.agent != agent:
            raise WrongAgentError(
                f"line 1: agent: found {header.agent!r}, allowed is {agent}, whose token it is"
            )
        return header, judge(header, lines, self._allows, received_ns)

    def _count(self, batch: Batch, accepted: int, refused: int, duplicates: int) -> None:
        self.counters["batches"] += 1
        self.counters["events_accepted"] += accepted
        self.counters["events_duplicate"] += duplicates
        if refused:
            for letter in batch.dead:
                self.counters[f"events_refused_{letter.refusal.reason}"] += 1
            log.warning(
                "events were refused",
                agent=batch.source,
                epoch=batch.epoch,
                refused=refused,
                first=batch.dead[0].refusal,
            )

    def close(self) -> None:
        """End the threads."""
        self._threads.shutdown(wait=False)
