"""Ships the spool's events to the collector, strictly in order, each until it is safe there."""

import asyncio
import contextlib
import gzip
import random
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Protocol

import structlog

from agent.backoff import Backoff
from agent.shipper.failures import Failure, Fate, ShipError
from agent.spool.store import Record, Store
from agent.spool.writer import Spool
from probes.contract.wire import MAX_BATCH_EVENTS, WIRE_VERSION, BatchHeader, Ingested, encode_batch

log = structlog.get_logger(__name__)

BATCH_EVENTS = 5_000
BATCH_BYTES = 4 << 20
"""Of a batch before it is compressed; one event may be longer."""
POLL_S = 0.25
STOPPED_S = 300.0
"""How often a collector is asked again that only a person can mend, unless a beat was heard."""


class Takes(Protocol):
    """Where batches go."""

    async def post_events(self, body: bytes) -> Ingested:
        """Hand over a gzipped batch.

        Raises:
            ShipError: it was not taken, or it is not known whether it was.
        """


@dataclass(slots=True)
class Shipping:
    """How the shipping goes: ``starting``, ``ok``, ``retrying`` or ``stopped``, and why.

    Times are of the wall clock: of the last batch that was taken, of each kind's last failure, and
    of the next try while one is waited for.
    """

    state: str = "starting"
    detail: str | None = None
    kind: str | None = None
    shipped_seq: int = 0
    success_ns: int | None = None
    failed_ns: dict[str, int] = field(default_factory=dict)
    retry_ns: int | None = None


class Shipper:
    """Takes events out of the spool once the collector has them.

    One batch is under way at a time, and none is skipped: a batch that fails is sent again, whole
    or in parts. Counters: ``events_shipped``, ``events_refused`` by the collector (it keeps them as
    dead letters), ``events_dropped_<kind>`` (no collector will ever take them), ``ship_failures``.
    """

    def __init__(
        self,
        agent: str,
        spool: Spool,
        to: Takes,
        *,
        wall_ns: Callable[[], int],
        rng: random.Random,
        counters: Counter[str],
    ) -> None:
        self._agent = agent
        self._spool = spool
        self._to = to
        self._wall_ns = wall_ns
        self._counters = counters
        self._backoff = Backoff(rng, first_s=1.0, most_s=60.0, jitter=1.0)
        self._most = BATCH_EVENTS
        self._confirmed = 0
        self._heard = asyncio.Event()
        self.status = Shipping()

    async def run(self) -> None:
        """Ship for ever.

        Raises:
            SpoolError: the spool cannot be read or written; the next run goes on.
        """
        while True:
            failure = await self.drain()
            if failure is None:
                await asyncio.sleep(POLL_S)
                continue
            wait_s = self._wait_s(failure)
            self.status.retry_ns = self._wall_ns() + round(wait_s * 1e9)
            if failure.fate is Fate.STOP:
                await self._mended(wait_s)
            else:
                await asyncio.sleep(wait_s)
            self.status.retry_ns = None

    def try_again(self) -> None:
        """The collector hears this agent: what only a person could mend may be mended."""
        self._heard.set()

    async def _mended(self, seconds: float) -> None:
        self._heard.clear()
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._heard.wait(), seconds)

    async def drain(self) -> Failure | None:
        """Ship all that is there now; gives the failure that ended it, if one did.

        Raises:
            SpoolError: as :meth:`run`.
        """
        while records := await self._next():
            failure = await self._ship(records)
            if failure is not None:
                return failure
        return None

    async def _next(self) -> list[Record]:
        confirmed, most = self._confirmed, self._most

        def advance(store: Store) -> tuple[list[Record], int]:
            # What was confirmed is forgotten in the transaction that reads on: half the commits.
            if confirmed > store.shipped():
                store.mark_shipped(confirmed)
            shipped = store.shipped()
            return store.read_after(shipped, most), shipped

        records, self.status.shipped_seq = await self._spool.run(advance)
        return _first_part(records)

    async def _ship(self, records: Sequence[Record]) -> Failure | None:
        header = BatchHeader(
            version=WIRE_VERSION,
            agent=self._agent,
            epoch=self._spool.epoch,
            first_seq=records[0].seq,
            count=len(records),
            sent_at_ns=self._wall_ns(),
        )
        body = await asyncio.to_thread(_pack, header, records)
        try:
            answer = await self._to.post_events(body)
        except ShipError as error:
            return self._failed(error.failure, records)
        return self._taken(answer, records)

    def _taken(self, answer: Ingested, records: Sequence[Record]) -> Failure | None:
        last = records[-1].seq
        if answer.epoch != self._spool.epoch or answer.high_water < last:
            text = f"the collector confirmed {answer.epoch}/{answer.high_water}, sent was {last}"
            return self._failed(Failure(Fate.RETRY, "protocol", text), records)
        self._confirmed = last
        self._counters["events_shipped"] += len(records)
        self._counters["events_refused"] += len(answer.refused)
        if answer.refused:
            first = answer.refused[0]
            log.error(
                "the collector refused events: it keeps them as dead letters",
                refused=len(answer.refused),
                first_seq=first.seq,
                reason=first.reason,
                detail=first.detail,
            )
        if answer.gap is not None:
            log.warning("the collector misses events that this spool dropped", gap=answer.gap)
        self._backoff.reset()
        self._most = min(BATCH_EVENTS, self._most * 2)
        self.status.success_ns = self._wall_ns()
        self._say("ok")
        return None

    def _failed(self, failure: Failure, records: Sequence[Record]) -> Failure | None:
        self._counters["ship_failures"] += 1
        self.status.failed_ns[failure.kind] = self._wall_ns()
        if failure.fate is Fate.SMALLER:
            if len(records) > 1:
                # In parts: at the latest, the event that is at fault is alone.
                self._most = max(1, len(records) // 2)
                return None
            if failure.final:
                self._drop(records[0], failure)
                return None
        self._say("stopped" if failure.fate is Fate.STOP else "retrying", failure)
        return failure

    def _drop(self, record: Record, failure: Failure) -> None:
        self._counters[f"events_dropped_{failure.kind}"] += 1
        log.error(
            "EVENT DROPPED: the collector does not take it, by itself either",
            seq=record.seq,
            bytes=len(record.body),
            problem=failure.text,
            body=record.body[:2000].decode(errors="replace"),
        )
        self._confirmed = record.seq

    def _wait_s(self, failure: Failure) -> float:
        if failure.fate is Fate.STOP:
            return STOPPED_S
        return self._backoff.next_s(at_least_s=failure.retry_after_s)

    def _say(self, state: str, failure: Failure | None = None) -> None:
        """Tell of a change: of the state, or of what kind of failure it is that goes on."""
        kind, detail = (None, None) if failure is None else (failure.kind, failure.text)
        if (state, kind) != (self.status.state, self.status.kind):
            level = log.info if state == "ok" else log.warning if state == "retrying" else log.error
            level("shipping", state=state, kind=kind, detail=detail)
        self.status.state, self.status.kind, self.status.detail = state, kind, detail


def _first_part(records: list[Record]) -> list[Record]:
    """The records up to the first hole in their numbers and the bound of a batch; at least one."""
    size = 0
    for number, record in enumerate(records[:MAX_BATCH_EVENTS]):
        size += len(record.body) + 1
        if number and size > BATCH_BYTES:
            return records[:number]
    for number, (one, other) in enumerate(pairwise(records), start=1):
        if other.seq != one.seq + 1:
            return records[:number]
    return records


def _pack(header: BatchHeader, records: Sequence[Record]) -> bytes:
    # Level 1: a few per cent more bytes, a third of the CPU.
    return gzip.compress(encode_batch(header, [record.body for record in records]), 1, mtime=0)
