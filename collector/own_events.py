"""The collector's own events: what the configuration was, what time it is, what people did."""

import asyncio
from collections.abc import Callable

from collector.log.engine import Batch, Item, Log
from probes.contract.events import Action, Complaint, Config, Tick, encode

SOURCE = "collector"
"""The source of the collector's own events in the log; no agent may have that name's token."""

OwnEvent = Action | Complaint | Config | Tick


class OwnEvents:
    """Appends the collector's own events, numbered without gaps within the log's id."""

    def __init__(self, log: Log, now_ns: Callable[[], int], last_seq: int) -> None:
        self._log = log
        self._now_ns = now_ns
        self._last_seq = last_seq
        self._one = asyncio.Lock()

    @classmethod
    async def of(cls, log: Log, now_ns: Callable[[], int]) -> "OwnEvents":
        """Go on where the log stands.

        Raises:
            LogError: the log cannot be read.
        """
        mark = (await log.marks()).get((SOURCE, log.log_id))
        return cls(log, now_ns, 0 if mark is None else mark.high_water)

    async def append(self, event: OwnEvent) -> int:
        """Write an event down; gives its sequence number once it is on the disk.

        A caller that is cancelled undoes nothing, and takes the number from nobody else.

        Raises:
            LogError: nothing was written.
        """
        return await asyncio.shield(asyncio.create_task(self._append(event)))

    async def _append(self, event: OwnEvent) -> int:
        async with self._one:
            seq = self._last_seq + 1
            item = Item(seq, type(event).__name__.lower(), encode(event))
            await self._log.append(
                Batch(SOURCE, self._log.log_id, seq, seq, (item,), (), self._now_ns())
            )
            self._last_seq = seq
            return seq
