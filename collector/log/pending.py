"""What one commit is going to write: computed from the marks and the batches, touching neither."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from itertools import groupby

from collector.log.engine import Appended, Batch, DeadLetter, Item
from collector.log.rows import SKIPPED, Chunk, Dead, Missing, Origin, Origins, pack
from collector.log.schema import PAGE_BYTES
from probes.contract.wire import Gap

CHUNK_EVENTS = 500
CHUNK_BYTES = 1 << 20
MAX_SEQ = (1 << 63) - 1


def check_batch(batch: Batch) -> None:
    """Refuse a batch whose events are not all of first to last, each once.

    Raises:
        ValueError: it is such a batch.
    """
    if not 1 <= batch.first_seq <= batch.last_seq <= MAX_SEQ:
        raise ValueError(
            f"found events {batch.first_seq} to {batch.last_seq}, allowed are 1 and above, in order"
        )
    seqs = [item.seq for item in batch.items]
    if batch.dead:
        seqs += [letter.refusal.seq for letter in batch.dead]
        seqs.sort()
    if len(seqs) != batch.last_seq - batch.first_seq + 1 or seqs != list(
        range(batch.first_seq, batch.last_seq + 1)
    ):
        raise ValueError(
            f"found {len(seqs)} events that are not just those from {batch.first_seq} to "
            f"{batch.last_seq}, allowed is each of them once"
        )
    if any(a.seq > b.seq for a, b in zip(batch.items, batch.items[1:], strict=False)):
        raise ValueError("found events out of order, allowed are rising numbers")


@dataclass(slots=True)
class Pending:
    """The rows of a commit, and how the sources stand after it."""

    origins: Origins
    """Those before the commit; never changed."""
    cursor: int
    """The next free one."""
    last_entry: int
    chunks: list[Chunk] = field(default_factory=list)
    dead: list[Dead] = field(default_factory=list)
    gaps: list[Missing] = field(default_factory=list)
    touched: Origins = field(default_factory=dict)
    entries: int = 0
    bytes: int = 0
    oldest_at_ns: int = 0
    newest_at_ns: int = 0

    def pages(self) -> int:
        """About how many pages the commit changes: what lies in them, and those that lead there."""
        large = [len(one.content) for one in self.chunks if len(one.content) > PAGE_BYTES // 8]
        return 4 + sum(1 + size // PAGE_BYTES for size in large) + self.bytes // PAGE_BYTES

    def add(self, batch: Batch) -> Appended:
        """Take a batch into the commit.

        Raises:
            ValueError: an event is not a single line; the commit is spoilt.
        """
        origin = self._origin(batch)
        high = origin.high_water
        duplicates = max(0, min(batch.last_seq, high) - batch.first_seq + 1)
        if batch.last_seq <= high:
            return Appended(high, 0, 0, duplicates, None, None)
        gap: Gap | None = None
        if batch.first_seq > high + 1:
            gap = Gap(first_seq=high + 1, last_seq=batch.first_seq - 1)
        items: Sequence[Item] = batch.items
        dead: Sequence[DeadLetter] = batch.dead
        if duplicates:
            items = [item for item in items if item.seq > high]
            dead = [letter for letter in dead if letter.refusal.seq > high]
        cursor = self._place(origin, batch.ingested_at_ns, items, dead)
        if gap is not None:
            missing = Missing(batch.ingested_at_ns, origin.id, gap.first_seq, gap.last_seq, SKIPPED)
            self.gaps.append(missing)
            origin.missing += gap.last_seq - gap.first_seq + 1
        origin.high_water = batch.last_seq
        origin.first_at_ns = origin.first_at_ns or batch.ingested_at_ns
        origin.last_at_ns = batch.ingested_at_ns
        self.touched[batch.source, batch.epoch] = origin
        self.oldest_at_ns = self.oldest_at_ns or batch.ingested_at_ns
        self.newest_at_ns = max(self.newest_at_ns, batch.ingested_at_ns)
        return Appended(batch.last_seq, len(items), len(dead), duplicates, gap, cursor)

    def _origin(self, batch: Batch) -> Origin:
        """How the batch's source stands; a copy that the commit may change."""
        key = batch.source, batch.epoch
        if key in self.touched:
            return self.touched[key]
        if key in self.origins:
            return replace(self.origins[key])
        new = sum(1 for other in self.touched if other not in self.origins)
        number = len(self.origins) + new + 1
        return Origin(number, batch.source, batch.epoch, 0, 0, 0, 0, 0)

    def _place(
        self, origin: Origin, at_ns: int, items: Sequence[Item], dead: Sequence[DeadLetter]
    ) -> int | None:
        """Give the events their cursors, in their order; the last entry's."""
        last: int | None = None
        for run in _runs(items, dead):
            if isinstance(run, DeadLetter):
                refusal = run.refusal
                self.dead.append(
                    Dead(
                        self.cursor,
                        at_ns,
                        origin.id,
                        refusal.seq,
                        str(refusal.reason),
                        refusal.detail,
                        run.body,
                    )
                )
                self.bytes += len(run.body)
                self.cursor += 1
                continue
            for part in _parts(run):
                chunk = pack(self.cursor, at_ns, origin.id, part)
                self.chunks.append(chunk)
                self.bytes += len(chunk.content)
                self.cursor += chunk.events
                self.entries += chunk.events
                last = self.last_entry = self.cursor - 1
        return last


def _runs(
    items: Sequence[Item], dead: Sequence[DeadLetter]
) -> Iterable[Sequence[Item] | DeadLetter]:
    """The events in the order of their numbers; those that follow each other together."""
    if not dead:
        yield items
        return
    merged: list[Item | DeadLetter] = [*items, *dead]
    merged.sort(key=lambda one: one.seq if isinstance(one, Item) else one.refusal.seq)
    for alive, group in groupby(merged, key=lambda one: isinstance(one, Item)):
        if alive:
            yield [one for one in group if isinstance(one, Item)]
        else:
            yield from (one for one in group if isinstance(one, DeadLetter))


def _parts(run: Sequence[Item]) -> Iterable[Sequence[Item]]:
    """A run in pieces that a reader can hold."""
    total = sum([len(item.body) for item in run])
    if len(run) <= CHUNK_EVENTS and total <= CHUNK_BYTES:
        yield run
        return
    part: list[Item] = []
    size = 0
    for item in run:
        if part and (len(part) == CHUNK_EVENTS or size + len(item.body) > CHUNK_BYTES):
            yield part
            part, size = [], 0
        part.append(item)
        size += len(item.body)
    yield part
