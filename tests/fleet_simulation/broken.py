"""Agents and collectors that are broken on purpose: each must be caught, or nothing is proven."""

import asyncio
import contextlib
import zlib
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import msgspec
import pytest

from agent.shipper.failures import Failure
from agent.shipper.ship import Shipper
from agent.spool.store import Record
from collector.ingest import service
from collector.ingest.batch import read_batch
from collector.ingest.inflate import BodyError, gunzip
from collector.ingest.service import Ingest
from collector.log import rows
from collector.log.engine import Appended, Batch
from collector.log.pending import Pending
from collector.log.store import Store as LogStore
from collector.rollup.core import Core
from collector.rollup.store import Store as RollupStore
from tests.fleet_simulation.scenario import Scenario

Break = Callable[[pytest.MonkeyPatch], None]


def forgets_before_the_answer(patch: pytest.MonkeyPatch) -> None:
    """Takes for shipped what is only on its way."""
    ship = Shipper._ship

    async def hasty(self: Shipper, records: Sequence[Record]) -> Failure | None:
        self._confirmed = records[-1].seq
        return await ship(self, records)

    patch.setattr(Shipper, "_ship", hasty)


def forgets_what_was_refused_a_connection(patch: pytest.MonkeyPatch) -> None:
    """Takes a collector that is away for one that has it."""
    failed = Shipper._failed

    def careless(self: Shipper, failure: Failure, records: Sequence[Record]) -> Failure | None:
        if failure.kind == "connection":
            self._confirmed = records[-1].seq
        return failed(self, failure, records)

    patch.setattr(Shipper, "_failed", careless)


def believes_any_answer(patch: pytest.MonkeyPatch) -> None:
    """Does not look how far the answer says that the collector is."""
    taken = Shipper._taken

    def credulous(self: Shipper, answer: Any, records: Sequence[Record]) -> Failure | None:
        told = msgspec.structs.replace(answer, epoch=self._spool.epoch, high_water=records[-1].seq)
        return taken(self, told, records)

    patch.setattr(Shipper, "_taken", credulous)


def drops_what_a_proxy_refuses(patch: pytest.MonkeyPatch) -> None:
    """Takes whatever somebody in between says for the collector's last word."""
    failed = Shipper._failed

    def obedient(self: Shipper, failure: Failure, records: Sequence[Record]) -> Failure | None:
        return failed(self, replace(failure, final=True), records)

    patch.setattr(Shipper, "_failed", obedient)


def asks_again_and_again(patch: pytest.MonkeyPatch) -> None:
    """Does not mind that its token is refused."""
    patch.setattr(Shipper, "_wait_s", lambda _, failure: max(0.2, failure.retry_after_s))


def ignores_retry_after(patch: pytest.MonkeyPatch) -> None:
    """Comes again when it pleases."""
    wait_s = Shipper._wait_s

    def eager(self: Shipper, failure: Failure) -> float:
        return wait_s(self, replace(failure, retry_after_s=0.0))

    patch.setattr(Shipper, "_wait_s", eager)


def answers_before_the_commit(patch: pytest.MonkeyPatch) -> None:
    """Says that a batch is safe while it still waits for the disk."""

    async def hasty(
        self: Ingest, agent: str, body: bytes, gzipped: bool, limit: int
    ) -> tuple[Batch, Appended]:
        batch = self._read(agent, body, gzipped, limit)

        async def later() -> None:
            with contextlib.suppress(Exception):
                await self._log.append(batch)

        kept.append(asyncio.ensure_future(later()))
        return batch, Appended(batch.last_seq, len(batch.items), len(batch.dead), 0, None, None)

    kept: list[asyncio.Future[None]] = []
    patch.setattr(Ingest, "_take", hasty)


def takes_half_a_body(patch: pytest.MonkeyPatch) -> None:
    """Makes do with what came through, and with a header that says otherwise."""

    def lenient(data: bytes, limit: int) -> bytes:
        try:
            return gunzip(data, limit)
        except BodyError:
            with contextlib.suppress(Exception):
                return zlib.decompressobj(31).decompress(data)
            raise

    def short(plain: bytes) -> Any:
        head, *lines = plain.rpartition(b"\n")[0].split(b"\n")
        header = msgspec.json.decode(head)
        header["count"] = len(lines)
        return read_batch(b"\n".join((msgspec.json.encode(header), *lines, b"")))

    patch.setattr(service, "gunzip", lenient)
    patch.setattr(service, "read_batch", short)


def takes_copies(patch: pytest.MonkeyPatch) -> None:
    """Does not know what it has already."""
    origin = Pending._origin

    def forgetful(self: Pending, batch: Batch) -> rows.Origin:
        found = origin(self, batch)
        return replace(found, high_water=min(found.high_water, batch.first_seq - 1))

    patch.setattr(Pending, "_origin", forgetful)


def takes_all_epochs_for_one(patch: pytest.MonkeyPatch) -> None:
    """Thinks that a spool that was begun anew goes on with its numbers."""
    origin = Pending._origin

    def confused(self: Pending, batch: Batch) -> rows.Origin:
        found = origin(self, batch)
        known = [one for one in self.origins.values() if one.source == batch.source]
        return replace(found, high_water=max([found.high_water, *(o.high_water for o in known)]))

    patch.setattr(Pending, "_origin", confused)


def tells_no_gap(patch: pytest.MonkeyPatch) -> None:
    """Goes on behind what is missing as if nothing were."""
    add = Pending.add

    def silent(self: Pending, batch: Batch) -> Appended:
        done = add(self, batch)
        self.gaps.clear()
        return done

    patch.setattr(Pending, "add", silent)


def throws_refused_events_away(patch: pytest.MonkeyPatch) -> None:
    """Keeps no dead letter."""
    add = Pending.add

    def wasteful(self: Pending, batch: Batch) -> Appended:
        done = add(self, batch)
        self.dead.clear()
        return done

    patch.setattr(Pending, "add", wasteful)


def marks_in_a_commit_of_their_own(patch: pytest.MonkeyPatch) -> None:
    """Writes events, and afterwards that it has them."""
    write = LogStore._write

    def torn(self: LogStore, pending: Pending) -> None:
        with self._transaction() as connection:
            rows.insert(connection, pending.chunks, pending.dead, pending.gaps)
        # The number of the next event is right: only the marks are late.
        self._cursor = pending.cursor
        bare = replace(pending, chunks=[], dead=[], gaps=[])
        write(self, bare)

    patch.setattr(LogStore, "_write", torn)


def believes_in_commits_that_failed(patch: pytest.MonkeyPatch) -> None:
    """Does not read again what is in the file when a commit has failed."""
    patch.setattr(LogStore, "_refresh", lambda _: None)


def moves_the_cursor_first(patch: pytest.MonkeyPatch) -> None:
    """Writes that the rollup has counted, and then what it has counted."""
    save = RollupStore.save

    def hasty(self: RollupStore, changes: Any, registry: Any) -> None:
        self._save_meta(changes.start)
        save(self, changes, registry)

    patch.setattr(RollupStore, "save", hasty)


def moves_the_cursor_last(patch: pytest.MonkeyPatch) -> None:
    """Writes what the rollup has counted, and then that it has."""
    save, save_meta = RollupStore.save, RollupStore._save_meta

    def hasty(self: RollupStore, changes: Any, registry: Any) -> None:
        save(self, changes, registry)
        save_meta(self, changes.start)

    patch.setattr(RollupStore, "_save_meta", lambda *_: None)
    patch.setattr(RollupStore, "save", hasty)


def forgets_open_canaries(patch: pytest.MonkeyPatch) -> None:
    """Counts from a restart on as if nothing had been in the air."""
    patch.setattr(RollupStore, "canaries", lambda *_: [])
    patch.setattr(Core, "_follow", lambda self, canary: self._canaries.pop(canary.key))


BROKEN: dict[str, Break] = {
    each.__name__: each
    for each in (
        forgets_before_the_answer, forgets_what_was_refused_a_connection, believes_any_answer,
        drops_what_a_proxy_refuses, asks_again_and_again, ignores_retry_after,
        answers_before_the_commit, takes_half_a_body, takes_copies, takes_all_epochs_for_one,
        tells_no_gap, throws_refused_events_away, marks_in_a_commit_of_their_own,
        believes_in_commits_that_failed, moves_the_cursor_first, moves_the_cursor_last,
        forgets_open_canaries,
    )
}  # fmt: skip


def _has(what: str) -> Callable[[Scenario], bool]:
    return lambda scenario: any(spell.what == what for spell in scenario.spells)


WHERE: dict[str, Callable[[Scenario], bool]] = {
    "asks_again_and_again": _has("unauthorised"),
    "believes_any_answer": _has("cached"),
    "drops_what_a_proxy_refuses": _has("nonsense"),
    "ignores_retry_after": _has("busy"),
    "takes_half_a_body": _has("damaged"),
    "takes_all_epochs_for_one": lambda scenario: any(
        death.end == "damage" for deaths in scenario.deaths.values() for death in deaths
    ),
}
"""Which schedules can show a fault at all, for faults that show in few of them."""
