"""A log that another process writes, read straight from its files.

The writer tells its followers what there is: :func:`outlook` of its view. All else, the entries
themselves, they read from the disk, so that a follower costs the writer next to nothing.
"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import msgspec

from collector.log import files
from collector.log.engine import Entry, LogError
from collector.log.reader import DamagedSegmentError, Reader
from collector.log.schema import Head
from collector.log.store import Segment, View


class Stretch(msgspec.Struct, frozen=True, array_like=True):
    """A segment, as far as a follower needs to know it. It changes when the file is another."""

    first: int
    still: bool
    salvaged: bool


class Outlook(msgspec.Struct, frozen=True, tag="outlook"):
    """What there is to read: the cursor of the newest entry, and the segments in their order.

    ``segments`` is ``None`` where they are those that were told last.
    """

    last: int
    segments: tuple[Stretch, ...] | None


@dataclass(frozen=True, slots=True)
class Reach:
    """A :class:`collector.log.engine.Extent`."""

    first: int
    last: int


def stretch(segment: Segment) -> Stretch:
    """A segment as followers are told of it."""
    return Stretch(segment.first, segment.still, segment.head.salvaged)


def outlook(view: View, told: View | None = None) -> Outlook:
    """What a view's followers are told, after they were told of the view ``told``."""
    if told is not None and told.segments == view.segments:
        return Outlook(view.last_entry, None)
    return Outlook(view.last_entry, tuple(map(stretch, view.segments)))


def reach(view: View) -> Reach:
    """Between which cursors the entries of a view lie."""
    return Reach(view.segments[0].first, view.last_entry)


class FollowedLog:
    """Reads the log in ``directory``, as far as it was told of it; of one event loop.

    ``damaged`` is called with every segment that cannot be read for damage. It is the writer's to
    repair, and known by its new outlook.
    """

    def __init__(
        self, directory: Path, log_id: str, told: Outlook, damaged: Callable[[Stretch], None]
    ) -> None:
        self.log_id = log_id
        self._directory = directory
        self._damaged = damaged
        self._view = View((), 0, 0, 0)
        self._reader = Reader(lambda: self._view)
        self._waiters: set[tuple[int, asyncio.Future[None]]] = set()
        self.tell(told)

    def _segment(self, told: Stretch) -> Segment:
        head = Head(self.log_id, told.first, 0, 0, 0, 0, 0, told.salvaged)
        return Segment(
            told.first, files.segment_file(self._directory, told.first), head, told.still
        )

    def tell(self, told: Outlook) -> None:
        """Note what there is now."""
        segments = self._view.segments
        if told.segments is not None:
            segments = tuple(map(self._segment, told.segments))
        self._view = View(segments, told.last, 0, 0)
        for after, future in self._waiters:
            if told.last > after and not future.done():
                future.set_result(None)

    async def read(self, after: int, limit: int) -> list[Entry]:
        """See :class:`collector.log.engine.LogReading`."""
        try:
            return await asyncio.to_thread(self._reader.read, after, limit)
        except DamagedSegmentError:
            # The file may be one that was repaired meanwhile; a new connection sees the new one.
            pass
        try:
            return await asyncio.to_thread(self._reader.read, after, limit)
        except DamagedSegmentError as error:
            self._damaged(stretch(error.segment))
            raise LogError(str(error)) from error

    async def wait_past(self, after: int) -> None:
        """See :class:`collector.log.engine.LogReading`."""
        if self._view.last_entry > after:
            return
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        waiter = (after, future)
        self._waiters.add(waiter)
        try:
            await future
        finally:
            self._waiters.discard(waiter)

    async def bounds(self) -> Reach:
        """See :class:`collector.log.engine.LogReading`."""
        return reach(self._view)

    def close(self) -> None:
        """Release the files."""
        self._reader.close()
