"""Batches as agents send them, and what a collector needs to take them in."""

import contextlib
import gzip
from collections.abc import AsyncIterator, Iterable, Sequence
from pathlib import Path as FilePath

import msgspec

from collector.ingest.admission import Room
from collector.ingest.service import Ingest
from collector.log.sqlite import SqliteLog
from probes.contract.events import Check, Event, Intent, encode
from probes.contract.names import Path
from probes.contract.wire import BATCH_TYPE, BatchHeader

NOW_NS = 1_800_000_000_000_000_000
GOLDEN = FilePath(__file__).parents[2] / "probes" / "contract" / "golden"
PATH = Path("sfo", "relay-a1", "acme/inbox")
HEAD = {"Content-Type": BATCH_TYPE}
GZIP = {**HEAD, "Content-Encoding": "gzip"}


def golden(name: str) -> bytes:
    """An event as an agent writes it."""
    return (GOLDEN / f"{name}.json").read_bytes().rstrip(b"\n")


def intent(number: int = 1, path: Path = PATH) -> Event:
    """A canary of ``path`` is about to be sent."""
    return Intent(
        canary=f"{number:032x}",
        path=path,
        path_seq=number,
        mailbox_seq=number,
        stream_epoch="e1",
        due_ns=NOW_NS,
        at_ns=NOW_NS,
        deadline_s=60.0,
        loss_after_s=1800.0,
    )


def check(agent: str = "sfo", at_ns: int = NOW_NS, relay: str | None = "relay-a1") -> Event:
    """A probe from the relay's own side."""
    return Check(agent=agent, probe="dns", at_ns=at_ns, ok=True, relay=relay)


def lines(first: int, last: int, agent: str = "sfo") -> list[bytes]:
    """Good events, one for each number."""
    path = Path(agent, PATH.relay, PATH.mailbox)
    return [encode(intent(number, path)) for number in range(first, last + 1)]


def header(count: int, first: int = 1, agent: str = "sfo", epoch: str = "e1") -> BatchHeader:
    """A batch's first line."""
    return BatchHeader(
        version=1, agent=agent, epoch=epoch, first_seq=first, count=count, sent_at_ns=NOW_NS
    )


def body(events: Sequence[bytes], first: int = 1, agent: str = "sfo", epoch: str = "e1") -> bytes:
    """A batch, whatever its lines are."""
    return raw_body(header(len(events), first, agent, epoch), events)


def raw_body(head: object, events: Iterable[bytes]) -> bytes:
    """The same with any header."""
    return b"\n".join((msgspec.json.encode(head), *events, b""))


def packed(events: Sequence[bytes], first: int = 1, agent: str = "sfo", epoch: str = "e1") -> bytes:
    """A batch, gzipped."""
    return gzip.compress(body(events, first, agent, epoch), 1)


class RelayA1:
    """Every agent may use relay-a1, and those of the tests sit there."""

    def allows(self, path: Path) -> bool:
        return path.relay == "relay-a1" and path.mailbox.startswith("acme/")

    def sits(self, agent: str, relay: str) -> bool:
        return relay == "relay-a1" and agent in ("sfo", "fra", "on-relay-a1")


ALLOWED = RelayA1()


@contextlib.asynccontextmanager
async def running(
    directory: FilePath, room: Room | None = None
) -> AsyncIterator[tuple[Ingest, SqliteLog]]:
    """The way into a log on the disk."""
    log = SqliteLog.open(directory / "log")
    ingest = Ingest(log, ALLOWED, lambda: NOW_NS, room)
    try:
        yield ingest, log
    finally:
        ingest.close()
        await log.close()
