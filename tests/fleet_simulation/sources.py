"""The agents: what they write into their spools, and the real shipper that empties these."""

import asyncio
import random
import shutil
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path as FilePath
from typing import TypeVar

import msgspec

from agent.shipper.ship import Shipper
from agent.spool import schema
from agent.spool.store import Store
from agent.spool.writer import Operation, run_batch
from probes.contract.errors import SpoolError
from probes.contract.events import Event, Intent, Tick, Unknown, encode
from probes.contract.names import Path
from probes.contract.stages import Reason, Result, Stage
from probes.contract.wire import Ingested
from tests.agent.fakes import InlineSpool
from tests.collector.rollup.histories import (
    PATHS,
    arrival,
    bounce,
    egress,
    expiry,
    intent,
    listed,
    queue_look,
    submission,
)
from tests.fleet_simulation.scenario import SEAT, Death
from tests.fleet_simulation.wire import Line
from tests.fleet_simulation.world import Key, Mortal, World, failed_commit

T = TypeVar("T")
BEFORE_TRYING_AGAIN_S = 1.0


class _NotingStore(Store):
    """A store that tells what it has committed, and fails when the world says so."""

    world: World
    agent: str
    _fresh: list[tuple[int, bytes]]
    _gone: set[int]

    def begin(self) -> None:
        self._fresh, self._gone = [], set()
        super().begin()

    def append(self, event: Event, at_ns: int) -> int:
        seq = super().append(event, at_ns)
        self._fresh.append((seq, encode(event)))
        return seq

    def _drop_through(self, last: int) -> int:
        rows = self._db.execute("SELECT seq FROM events WHERE seq <= ?", (last,))
        self._gone.update(seq for (seq,) in rows)
        return super()._drop_through(last)

    def commit(self) -> None:
        fault = self.world.spell("spool")
        if fault in ("full", "io"):
            raise failed_commit(fault)
        super().commit()
        self._note()
        if fault is not None:
            raise failed_commit(fault)

    def _note(self) -> None:
        key: Key = self.agent, self.epoch
        truth = self.world.truth
        bodies = truth.bodies.setdefault(key, {})
        for seq, body in self._fresh:
            if seq in bodies:
                self.world.violate(f"{key} used number {seq} twice")
            bodies[seq] = body
        if self._gone:
            truth.dropped.setdefault(key, set()).update(self._gone)
        shipped, durable = self.shipped(), truth.durable.get(key, 0)
        if shipped > durable:
            self.world.violate(f"{key} forgets up to {shipped}, the log has {durable} on its disk")


class FleetSpool(InlineSpool):
    """An agent's spool in one life of it; implements :class:`agent.spool.writer.Spool`."""

    def __init__(self, directory: FilePath, process: Mortal) -> None:
        super().__init__(directory)
        self.store = noting = _NotingStore(self._opened.connection, self.epoch)
        noting.world, noting.agent = process.world, process.name
        self._process = process

    async def run(self, operation: Operation[T]) -> T:
        """Run the operation in a transaction of its own."""
        await self._process.world.pass_time(0.004)
        if not self._process.alive:
            raise asyncio.CancelledError
        result: T = run_batch(self.store, [operation])[0]
        if not self._process.passes("committed"):
            raise asyncio.CancelledError
        return result


class _Marked:
    """Where batches go; a process may die as the answer comes."""

    def __init__(self, to: Line, process: Mortal) -> None:
        self._to = to
        self._process = process

    async def post_events(self, body: bytes) -> Ingested:
        answer = await self._to.post_events(body)
        if not self._process.passes("answered"):
            raise asyncio.CancelledError
        return answer


class Source:
    """One agent, from life to life."""

    def __init__(
        self,
        name: str,
        world: World,
        directory: FilePath,
        to: Line,
        paths: Callable[[], set[Path]],
    ) -> None:
        self.name = name
        self.counters: Counter[str] = Counter()
        self._world = world
        self._rng = random.Random(f"{world.scenario.seed} {name}")  # noqa: S311 - must repeat
        self._directory = directory / "0"
        self._to = to
        self._paths = paths
        self._number = 1000 * (1 + world.scenario.agents.index(name))
        self._seqs: Counter[Path] = Counter()
        self._air: list[Intent] = []
        self._epochs = 0
        self.lives = 0
        self.spool: FleetSpool | None = None
        """That of the present life."""
        self.done = asyncio.Event()

    async def run(self) -> None:
        """All lives, until all that it wrote is shipped."""
        for death in self._world.scenario.deaths[self.name]:
            if death.at_s > self._world.loop.time():
                await self._live(death)
                await asyncio.sleep(death.down_s)
        await self._live(None)

    def fill(self, events: Sequence[Event]) -> None:
        """Have these in the spool before the first life: of a time without a collector."""
        spool = FleetSpool(self._directory, Mortal(self.name, self._world, None))
        spool.store.begin()
        for event in events:
            spool.store.append(event, self._world.now_ns())
        spool.store.commit()
        spool.close()

    async def _live(self, death: Death | None) -> None:
        self.lives += 1
        process = Mortal(self.name, self._world, death)
        self._to.forget()
        spool = self.spool = FleetSpool(self._directory, process)
        self._epochs += 1
        self._world.alias(spool.epoch, f"{self.name}-{self._epochs}")
        process.start(self._write(spool))
        process.start(self._ship(spool, process))
        process.start(self._trim(spool))
        done = process.start(self.done.wait())
        died = self._world.loop.create_task(process.died.wait())
        try:
            await asyncio.wait({done, died}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            died.cancel()
            process.alive = False
            self._leave(spool, death)
            await process.bury()

    def _leave(self, spool: FleetSpool, death: Death | None) -> None:
        """Leave the files as a killed process does: closing them would tidy up the journal."""
        old = self._directory
        self._directory = old.with_name(str(self.lives))
        self._directory.mkdir()
        for file in old.iterdir():
            if not file.name.endswith("-shm"):
                shutil.copy(file, self._directory)
        spool.close()
        if death is not None and death.end == "damage":
            self._world.truth.damaged.add((self.name, spool.epoch))
            self._world.trace(f"{self.name}: spool damaged")
            file = self._directory / schema.FILE_NAME
            file.write_bytes(b"\xa5" * 100 + file.read_bytes()[100:])
            file.with_name(file.name + "-wal").unlink(missing_ok=True)

    async def _ship(self, spool: FleetSpool, process: Mortal) -> None:
        shipper = Shipper(
            self.name,
            spool,
            _Marked(self._to, process),
            wall_ns=self._world.now_ns,
            rng=self._rng,
            counters=self.counters,
        )
        while True:
            shipper._most = min(shipper._most, self._world.scenario.batch)
            try:
                await shipper.run()
            except SpoolError as error:
                self._world.trace(f"{self.name}: shipper: {error}")
                await asyncio.sleep(BEFORE_TRYING_AGAIN_S)

    async def _trim(self, spool: FleetSpool) -> None:
        for at_s, name, part in self._world.scenario.trims:
            if name != self.name or at_s < self._world.loop.time():
                continue
            await asyncio.sleep(at_s - self._world.loop.time())

            def keep_newest(store: Store, part: float = part) -> int:
                rows = store._db.execute("SELECT seq FROM events ORDER BY seq").fetchall()
                chosen = rows[: int(len(rows) * part)]
                return store._drop_through(chosen[-1][0]) if chosen else 0

            try:
                gone = await spool.run(keep_newest)
            except SpoolError:
                continue
            self._world.trace(f"{self.name}: spool dropped {gone}")

    async def _write(self, spool: FleetSpool) -> None:
        """Write events down until the schedule's end, and one more when all faults are over."""
        scenario, rng = self._world.scenario, self._rng
        while self._world.loop.time() < scenario.active_s:
            await asyncio.sleep(rng.expovariate(1 / scenario.busy_s))
            events = [self._event() for _ in range(rng.choice((1, 1, 2, 5)))]
            await self._append(spool, events)
        await asyncio.sleep(1.0)
        await self._append(spool, [self._intent()])
        while True:
            rows = await spool.run(lambda store: (store.depth().rows, store.shipped()))
            if rows[0] == 0:
                self.done.set()
            await asyncio.sleep(2.0)

    async def _append(self, spool: FleetSpool, events: list[Event | Unknown]) -> None:
        def write(store: Store) -> list[int]:
            at_ns = self._world.now_ns()
            return [store.append(event, at_ns) for event in events]  # type: ignore[arg-type]  # kept as they are

        try:
            seqs = await spool.run(write)
        except SpoolError as error:
            self._world.trace(f"{self.name}: not written: {error}")
        else:
            kinds = [type(event).__name__ for event in events]
            self._world.trace(f"{self.name}: wrote {seqs[0]}-{seqs[-1]} {kinds}")

    # --- what happens to its canaries -------------------------------------------------------

    def _event(self) -> Event | Unknown:
        rng = self._rng
        kind = rng.random()
        if kind < 0.08:
            return self._bad()
        if kind < 0.12:
            raw = b'{"kind":"of-a-later-version","agent":"%s","n":%d}'
            return Unknown(kind="", raw=raw % (self.name.encode(), rng.randrange(1000)))
        if kind < 0.2:
            return self._check()
        if kind < 0.5 or not self._air:
            return self._intent()
        sent = rng.choice(self._air[-8:])
        if kind < 0.7:
            result = rng.choice((Result.ACCEPTED, Result.ACCEPTED, Result.REJECTED))
            if result is Result.REJECTED:
                return submission(sent, result, Stage.RCPT)
            return submission(sent, result, queue_id=f"Q{int(sent.canary, 16) % 50}")
        if kind < 0.92:
            low = rng.choice((0.5, 1.0, 61.0))
            return arrival(sent, low, low + rng.random(), junk=rng.random() < 0.1)
        if kind < 0.96:
            return expiry(sent, lost=rng.random() < 0.5)
        return bounce(sent)

    def _check(self) -> Event:
        """A look from the relay on which it sits: at a host, or at the queue."""
        rng, now_s = self._rng, self._world.loop.time()
        if rng.random() < 0.5 or not self._air:
            reason = rng.choice((None, Reason.TIMEOUT))
            return egress(now_s, ok=reason is None, reason=reason, agent=self.name, relay=SEAT)
        found = [
            listed(
                sent,
                f"Q{int(sent.canary, 16) % 50}",
                stage=Stage.EGRESS_RCPT,
                reason=rng.choice((Reason.TIMEOUT, Reason.GREYLISTED)),
            )
            for sent in rng.sample(self._air[-8:], min(3, len(self._air[-8:])))
        ]
        return queue_look(now_s, *found, agent=self.name, relay=SEAT)

    def _intent(self) -> Intent:
        path = self._rng.choice(sorted(self._paths()))
        self._number += 1
        self._seqs[path] += 1
        sent = intent(self._number, path, self._world.loop.time(), revision="r1")
        self._air.append(sent)
        return sent

    def _bad(self) -> Event | Unknown:
        rng = self._rng
        self._number += 1
        stranger = rng.choice([path for path in PATHS if path.agent != self.name])
        choices: list[Event | Unknown] = [
            Unknown(kind="", raw=b"no event %d" % self._number),
            Unknown(kind="", raw=b'{"kind":"intent","canary":"%d"}' % self._number),
            Unknown(kind="", raw=b'{"kind":"later","agent":"mallory","n":%d}' % self._number),
            intent(self._number, stranger, 0.0),
            intent(self._number, Path(self.name, "relay-z", "acme/inbox"), 0.0),
            Tick(at_ns=self._number),
            egress(self._number, agent=self.name, relay="relay-z"),
            msgspec.structs.replace(egress(self._number, agent=self.name), relay=None),
        ]
        if self._world.scenario.oversize:
            choices.append(Unknown(kind="", raw=b'{"kind":"x","y":"%s"}' % (b"y" * (1 << 20))))
        event = rng.choice(choices)
        self._world.truth.bad.add(encode(event))
        return event
