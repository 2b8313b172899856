"""The collector in one life of it: the real ingest into the real log, and the real rollup."""

import asyncio
import contextlib
from collections.abc import Sequence
from pathlib import Path as FilePath
from typing import Any, NamedTuple

import msgspec

from collector.config.assigned import Assigned
from collector.ingest.admission import Admission, BusyError, Room
from collector.ingest.inflate import BodyError, BodyTooLargeError
from collector.ingest.service import Ingest, WrongAgentError
from collector.log import files
from collector.log.engine import (
    Appended,
    Batch,
    Bounds,
    Item,
    LogError,
    LogFullError,
    Mark,
    Retention,
)
from collector.log.opening import open_segments
from collector.log.pending import check_batch
from collector.log.reader import Reader
from collector.log.store import Limits, Store
from collector.rollup.consumer import RollupConsumer
from collector.rollup.file import RollupError
from probes.contract.events import Config, Event, Tick, encode
from probes.contract.wire import ProblemDetails
from tests.fleet_simulation.world import Disk, KilledError, Mortal

COLLECTOR = "collector"
_ALL = 1_000_000


class Answer(NamedTuple):
    """An HTTP response, as far as a shipper looks at it."""

    status: int
    retry_after: str | None
    body: bytes


def open_log(directory: FilePath, process: Mortal) -> "DiskStore":
    """The log in a directory, on a disk that fails to order."""
    lock = files.take_lock(directory)
    for leftover in files.list_leftovers(directory):
        leftover.unlink()
    active, finished = open_segments(directory)
    limits = Limits(process.world.scenario.segment_s)
    return DiskStore(process, directory, lock, limits, active, finished)


class DiskStore(Store):
    """The log's store, whose commits and new segments may fail."""

    def __init__(self, process: Mortal, *rest: Any) -> None:
        self._process = process
        super().__init__(*rest)

    def _take(self, active: Any) -> None:
        world = self._process.world

        def note(connection: Any) -> None:
            rows = connection.execute("SELECT source, epoch, high_water FROM origins")
            world.truth.durable.update({(row[0], row[1]): row[2] for row in rows})

        if not isinstance(active, Disk):
            active = Disk(active, lambda: world.spell("log"), note)
        super()._take(active)

    def roll(self, first: int | None = None) -> None:
        """As the store does it, where there is room."""
        world = self._process.world
        if world.spell("log") in ("full", "io"):
            raise LogFullError("no room for a segment")
        if not self._process.passes("roll"):
            # Half a file, as a crash leaves it.
            files.segment_file(self.directory, self.next_cursor).with_suffix(
                files.SUFFIX + files.TEMPORARY
            ).write_bytes(b"SQLite format 3")
            raise KilledError
        super().roll(first)
        world.trace("log: a new segment")
        if not self._process.passes("rolled"):
            raise KilledError


class InlineLog:
    """The log without its threads; of :class:`collector.log.engine.Log` what ingest needs.

    Like the real one it commits everything that waits at once, one commit at a time.
    """

    def __init__(self, store: Store, process: Mortal) -> None:
        self.store = store
        self.log_id = store.head.log_id
        self._process = process
        self._world = process.world
        self._jobs: list[tuple[Batch, asyncio.Future[Appended]]] = []
        self._busy = False
        self.lock = asyncio.Lock()

    async def marks(self) -> dict[tuple[str, str], Mark]:
        """See :class:`collector.log.engine.Log`."""
        return self.store.marks()

    async def append(self, batch: Batch) -> Appended:
        """See :class:`collector.log.engine.Log`."""
        check_batch(batch)
        future: asyncio.Future[Appended] = self._world.loop.create_future()
        self._jobs.append((batch, future))
        self._next()
        return await future

    def _next(self) -> None:
        if self._jobs and not self._busy:
            self._busy = True
            self._world.loop.call_later(self._world.rng.uniform(0.0, 0.02), self._commit)

    def _commit(self) -> None:
        if not self._process.passes("commit-before"):
            return
        jobs, self._jobs = self._jobs, []
        result: list[Appended] | LogError
        try:
            result = self.store.commit([batch for batch, _ in jobs])
        except KilledError:
            return
        except LogError as error:
            result = error
        except Exception as error:  # noqa: BLE001 - whatever it is, it must not be
            self._world.violate(f"fault inside the log: {error!r}")
            result = LogError(str(error))
        if not self._process.passes("commit-after"):
            return
        self._world.loop.call_later(self._world.rng.uniform(0.0, 0.005), self._answer, jobs, result)

    def _answer(
        self,
        jobs: Sequence[tuple[Batch, "asyncio.Future[Appended]"]],
        result: "list[Appended] | LogError",
    ) -> None:
        self._busy = False
        if not self._process.alive:
            return
        for number, (_, future) in enumerate(jobs):
            if future.done():
                continue
            if isinstance(result, LogError):
                future.set_exception(result)
            else:
                future.set_result(result[number])
        self._next()


class Sink:
    """The collector's process."""

    def __init__(
        self, process: Mortal, directory: FilePath, assigned: Assigned, revisions: dict[str, Any]
    ) -> None:
        self.process = process
        self._world = world = process.world
        self._directory = directory
        self._assigned = assigned
        self._revisions = revisions
        self.store = open_log(directory / "log", process)
        world.alias(self.store.head.log_id, "log-1")
        self._log = InlineLog(self.store, process)
        self._reader = Reader(lambda: self.store.view)
        self._consumer = RollupConsumer(directory, world.trace)
        self._ingest = Ingest(self._log, assigned, world.now_ns)  # type: ignore[arg-type]  # all that it uses
        room = Room(per_minute=world.scenario.per_minute)
        self._ingest.admission = Admission(room, world.loop.time)
        self.caught_up = asyncio.Event()

    def start(self) -> None:
        """Do what a collector does besides answering."""
        self.process.start(self._roll_up())
        self.process.start(self._keep_house())
        self.process.start(self._report())

    async def serve(self, agent: str, body: bytes) -> Answer:
        """``POST /api/v1/events``, from an agent whose token is good."""
        ingest = self._ingest
        received_ns = self._world.now_ns()
        try:
            with ingest.admission.place(agent, len(body)):
                await self._world.pass_time(0.01)
                taken = await ingest.take(agent, body, gzipped=True, received_ns=received_ns)
        except BusyError as error:
            return _problem(429 if error.mine else 503, str(error), str(error.retry_after_s))
        except WrongAgentError as error:
            return _problem(403, str(error))
        except BodyError as error:
            return _problem(413 if isinstance(error, BodyTooLargeError) else 400, str(error))
        except LogError as error:
            return _problem(503, str(error), "30" if isinstance(error, LogFullError) else "5")
        return Answer(200, None, msgspec.json.encode(taken))

    # --- its own events ---------------------------------------------------------------------

    async def _report(self) -> None:
        """Say which revisions came into force, and what time it is, each until it is in the log."""
        told_s = 0.0
        while True:
            await asyncio.sleep(0.5)
            events: list[Event] = [
                Config(revision=name, at_ns=self._world.now_ns(), document=document)
                for name, document in self._revisions.items()
                if name not in self._told()
            ]
            if self._world.scenario.ticks and self._world.loop.time() - told_s >= 10.0:
                told_s = self._world.loop.time()
                events.append(Tick(at_ns=self._world.now_ns()))
            for event in events:
                with contextlib.suppress(LogError):
                    await self._append(event)

    def _told(self) -> set[str]:
        mark = self._world.truth.durable.get((COLLECTOR, self._log.log_id), 0)
        bodies = self._world.truth.bodies.get((COLLECTOR, self._log.log_id), {})
        told = [msgspec.json.decode(body) for seq, body in bodies.items() if seq <= mark]
        return {event.get("revision", "") for event in told}

    async def _append(self, event: Event) -> None:
        key = COLLECTOR, self._log.log_id
        mark = self.store.marks().get(key)
        seq = 1 if mark is None else mark.high_water + 1
        body = encode(event)
        kind = type(event).__name__.lower()
        self._world.truth.bodies.setdefault(key, {})[seq] = body
        items = [Item(seq, kind, body)]
        await self._log.append(Batch(*key, seq, seq, items, [], self._world.now_ns()))

    # --- retention --------------------------------------------------------------------------

    async def _keep_house(self) -> None:
        """Drop old segments, and keep for the judge what goes with them."""
        while True:
            await asyncio.sleep(4.0)
            if self._world.scenario.keep_s > 1e5:
                continue
            truth, reader = self._world.truth, self._reader
            entries = reader.read(0, _ALL)
            dead, gaps = reader.dead_letters(_ALL), reader.gaps(_ALL)
            with contextlib.suppress(LogError):
                self.store.trim(Retention(self._world.scenario.keep_s), self._world.now_ns())
            first = self.store.view.segments[0].first
            gone = [entry for entry in entries if entry.cursor < first]
            truth.old_entries += gone
            truth.missed |= {entry.cursor for entry in gone if entry.cursor > truth.rolled_up}
            truth.old_dead += dead[len(reader.dead_letters(_ALL)) :]
            truth.old_gaps += gaps[len(reader.gaps(_ALL)) :]
            if gone:
                self._world.trace(f"log: dropped up to cursor {gone[-1].cursor}")

    # --- the rollup -------------------------------------------------------------------------

    async def _roll_up(self) -> None:
        """Feed the rollup as its runner does; one that fails is opened again."""
        consumer = self._consumer
        while True:
            try:
                cursor = consumer.open(self._log.log_id, self._bounds())
                await self._feed(consumer, cursor)
            except RollupError as error:
                self._world.trace(f"rollup: {error}")
                consumer.close()
            await self._world.pass_time(1.0)

    async def _feed(self, consumer: RollupConsumer, cursor: int) -> None:
        world, store = self._world, consumer._store
        assert store is not None

        def note(connection: Any) -> None:
            row = connection.execute("SELECT value FROM meta WHERE key='cursor'").fetchone()
            world.truth.rolled_up = 0 if row is None else row[0]

        store._db = Disk(store._db, lambda: world.spell("rollup"), note)  # type: ignore[assignment]  # as one
        while True:
            self.caught_up.clear()
            entries = []
            if self.store.view.last_entry > cursor:
                entries = self._reader.read(cursor, world.scenario.feed)
            if not entries:
                # Read to the end; or retention has dropped all that was left.
                self.caught_up.set()
                await asyncio.sleep(0.5)
                continue
            await world.pass_time(0.02)
            consumer.take(entries)
            cursor = entries[-1].cursor
            if not self.process.passes("rolled-up"):
                return

    def _bounds(self) -> Bounds:
        view = self.store.view
        first = view.segments[0].first
        return Bounds(first, view.last_entry, 0, len(view.segments), view.dead, None)

    def close(self) -> None:
        """Release the files."""
        self._consumer.close()
        self._reader.close()
        self.store.close()
        self._ingest.close()


def _problem(status: int, detail: str, retry_after: str | None = None) -> Answer:
    problem = ProblemDetails(title="", status=status, detail=detail)
    return Answer(status, retry_after, msgspec.json.encode(problem))
