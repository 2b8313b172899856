"""Batches as agents would send them, and what a log gives back in a form to compare."""

import asyncio
import base64
import random
from collections.abc import Iterable

from collector.log.engine import Batch, DeadLetter, Entry, Item, Log
from collector.log.sqlite import SqliteLog
from probes.contract.wire import Refusal, RefusalReason

AT_NS = 1_700_000_000_000_000_000
S = 1_000_000_000


def body(source: str, epoch: str, seq: int, padding: int = 0) -> bytes:
    """An event; its padding is such that packing makes it hardly any shorter."""
    of = f"{source}/{epoch}"
    noise = random.Random(f"{of}/{seq}").randbytes(padding)  # noqa: S311 - the same each time
    padded = base64.b85encode(noise)[:padding].decode()
    return f'{{"kind":"tick","at_ns":{seq},"of":"{of}{padded}"}}'.encode()


def batch(
    first: int,
    last: int,
    *,
    source: str = "fra",
    epoch: str = "e1",
    refused: Iterable[int] = (),
    at_ns: int = AT_NS,
    padding: int = 0,
) -> Batch:
    """Events ``first`` to ``last``; those in ``refused`` as dead letters."""
    no = set(refused)
    seqs = range(first, last + 1)
    return Batch(
        source=source,
        epoch=epoch,
        first_seq=first,
        last_seq=last,
        items=[
            Item(seq, "tick", body(source, epoch, seq, padding)) for seq in seqs if seq not in no
        ],
        dead=[letter(source, epoch, seq, at_ns) for seq in seqs if seq in no],
        ingested_at_ns=at_ns,
    )


def letter(source: str, epoch: str, seq: int, at_ns: int = AT_NS) -> DeadLetter:
    refusal = Refusal(seq=seq, reason=RefusalReason.INVALID, detail="found nonsense")
    return DeadLetter(at_ns, source, epoch, refusal, b'{"kind":\n')


async def everything(log: Log, after: int = 0, limit: int = 700) -> list[Entry]:
    """All entries past a cursor, by as many reads as it takes."""
    found: list[Entry] = []
    while entries := await log.read(found[-1].cursor if found else after, limit):
        assert len(entries) <= limit
        found += entries
    return found


def identities(entries: Iterable[Entry]) -> list[tuple[str, str, int]]:
    return [(entry.source, entry.epoch, entry.seq) for entry in entries]


async def settle(log: SqliteLog) -> None:
    """Return when no journal is being moved, and none is going to be before the next commit."""
    for _ in range(2):
        await log.run(lambda store: store.tidy())
        await asyncio.to_thread(log._mover.wait)
