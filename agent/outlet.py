"""Takes the spool's events away, in order, and lets the spool forget what is safe elsewhere."""

import asyncio
from collections.abc import Callable, Sequence

import structlog

from agent.events_file import EventsOut
from agent.spool.store import Record, Store
from agent.spool.writer import CanWait, Spool
from probes.contract.errors import SpoolError

log = structlog.get_logger(__name__)

_BATCH = 1000
_POLL_S = 0.2


class Outlet:
    """Moves events from the spool to where they are wanted, each at least once and in order."""

    def __init__(self, spool: Spool, out: EventsOut) -> None:
        self._spool = spool
        self._out = out
        self._sent: int | None = None
        self._behind = False
        self._writing: asyncio.Task[None] | None = None

    async def run(self, works: Callable[[], None] = lambda: None) -> None:
        """Move events for ever; ``works`` is called each time that neither side has failed.

        Raises:
            SpoolError: one side failed; the next run resumes where the other side stands.
        """
        while True:
            # What comes during the write goes with the next round: to ask for it at once would be a
            # commit and a write more for a few events.
            moved = await self._move()
            works()
            if moved < _BATCH:
                await asyncio.sleep(_POLL_S)

    async def drain(self) -> None:
        """Move all that is there now.

        Raises:
            SpoolError: as :meth:`run`.
        """
        while await self._move():
            pass

    async def _move(self) -> int:
        """Move one batch; gives how many events it was."""
        await self._settle()
        records = await self._next()
        if records:
            self._writing = asyncio.create_task(self._write(records))
            await self._settle()
        self._behind = len(records) == _BATCH
        return len(records)

    async def _settle(self) -> None:
        """Wait for the write under way.

        Its thread cannot be stopped: when a caller is cancelled the next one waits for it, so that
        no event is written twice.
        """
        if self._writing is not None:
            await asyncio.wait([self._writing])
            writing, self._writing = self._writing, None
            writing.result()

    async def _write(self, records: Sequence[Record]) -> None:
        try:
            await asyncio.to_thread(self._out.write, self._spool.epoch, records)
        except SpoolError:
            self._sent = None
            raise
        self._sent = records[-1].seq

    async def _next(self) -> list[Record]:
        if self._sent is None:
            self._sent = await asyncio.to_thread(self._out.resume, self._spool.epoch)
        sent = self._sent

        def advance(store: Store) -> list[Record]:
            # What was written before is marked in the transaction that reads on: half the commits.
            if sent > store.shipped():
                store.mark_shipped(sent)
            return store.read_after(max(sent, store.shipped()), _BATCH)

        return await self._spool.run(advance if self._behind else CanWait(advance))
