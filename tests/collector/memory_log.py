"""A log in memory, as far as its readers need one."""

import asyncio
from collections.abc import Sequence

from collector.log.engine import (
    Appended,
    Batch,
    Bounds,
    DeadLetter,
    Entry,
    LogError,
    Mark,
    Retention,
)
from probes.contract.wire import Gap


class MemoryLog:
    """Holds entries; ``broken`` makes every read fail."""

    def __init__(self, entries: Sequence[Entry] = (), log_id: str = "log-1") -> None:
        self.log_id = log_id
        self.entries = list(entries)
        self.broken = False
        self._changed = asyncio.Condition()

    async def put(self, entries: Sequence[Entry]) -> None:
        async with self._changed:
            self.entries.extend(entries)
            self._changed.notify_all()

    def drop(self, through: int) -> None:
        """What retention does."""
        self.entries = [entry for entry in self.entries if entry.cursor > through]

    async def append(self, batch: Batch) -> Appended:
        raise LogError(f"{batch.source}: allowed is put")

    async def read(self, after: int, limit: int) -> list[Entry]:
        if self.broken:
            raise LogError("broken")
        return [entry for entry in self.entries if entry.cursor > after][:limit]

    async def wait_past(self, after: int) -> None:
        async with self._changed:
            await self._changed.wait_for(lambda: bool(self.entries) and self._last() > after)

    def _last(self) -> int:
        return self.entries[-1].cursor

    async def marks(self) -> dict[tuple[str, str], Mark]:
        return {}

    async def gaps(self, limit: int = 1000) -> list[tuple[str, str, Gap]]:
        return [][:limit]

    async def dead_letters(self, limit: int = 1000) -> list[DeadLetter]:
        return [][:limit]

    async def bounds(self) -> Bounds:
        if not self.entries:
            return Bounds(1, 0, 0, 1, 0, None)
        oldest = self.entries[0]
        return Bounds(oldest.cursor, self._last(), 0, 1, 0, oldest.ingested_at_ns)

    async def trim(self, retention: Retention, now_ns: int) -> int:
        raise LogError(f"not trimmed to {retention} at {now_ns}: allowed is drop")

    async def close(self) -> None:
        """Nothing to release."""
