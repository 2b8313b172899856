"""Reading a log across its segments, on connections of its own that hold up nobody."""

import bisect
import sqlite3
import threading
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from collector.log import files, rows, schema
from collector.log.engine import DeadLetter, Entry
from collector.log.schema import DamagedError
from collector.log.store import Segment, View
from probes.contract.wire import Gap, Refusal, RefusalReason

T = TypeVar("T")
READ_BYTES = 16 << 20
"""A read gives fewer entries than it may once they are as long as this."""
_IDLE = 8


class DamagedSegmentError(Exception):
    """A segment cannot be read because its file is broken."""

    def __init__(self, segment: Segment, why: str) -> None:
        super().__init__(f"{segment.file}: found damage ({why}), allowed is a segment")
        self.segment = segment


class Reader:
    """Reads a log; may be used by several threads at once. ``view`` gives what there is now."""

    def __init__(self, view: Callable[[], View]) -> None:
        self._view = view
        self._idle: list[tuple[Segment, sqlite3.Connection]] = []
        self._lock = threading.Lock()
        self._closed = False

    def read(self, after: int, limit: int) -> list[Entry]:
        """Up to ``limit`` entries past ``after``; none only when there are none.

        Raises:
            DamagedSegmentError: the segment with the next entries is broken.
            LogError: it cannot be read.
        """
        segments = self._view().segments
        firsts = [segment.first for segment in segments]
        start = max(0, bisect.bisect_right(firsts, after + 1) - 1)
        entries: list[Entry] = []
        size = 0
        for segment in segments[start:]:
            try:
                size = self._from(segment, after, limit, entries, size)
            except DamagedSegmentError:
                if entries:
                    return entries
                raise
            if len(entries) >= limit or size >= READ_BYTES:
                break
        return entries

    def _from(
        self, segment: Segment, after: int, limit: int, entries: list[Entry], size: int
    ) -> int:
        """Append what one segment has; how many bytes there are then."""

        def take(connection: sqlite3.Connection) -> int:
            total = size
            following = after + 1
            names: dict[int, tuple[str, str]] = {}
            while len(entries) < limit and total < READ_BYTES:
                try:
                    chunks = rows.read_chunks(
                        connection, following, limit - len(entries), READ_BYTES - total
                    )
                    if any(chunk.origin not in names for chunk in chunks):
                        # Read after the chunks: a new source is written with its first one.
                        origins = rows.load_origins(connection).values()
                        names = {one.id: (one.source, one.epoch) for one in origins}
                    for chunk in chunks:
                        found = rows.unpack(chunk, *names[chunk.origin])
                        entries.extend(found[max(0, following - chunk.cursor) :])
                        total += chunk.length
                        following = chunk.cursor + chunk.events
                except (KeyError, TypeError, ValueError) as error:
                    raise DamagedError(str(error)) from error
                if not chunks:
                    break
            del entries[limit:]
            return total

        return self.on(segment, take, size)

    def segment_after(self, segment: Segment) -> Segment | None:
        """The one that follows."""
        return next((one for one in self._view().segments if one.first > segment.first), None)

    def on(self, segment: Segment, action: Callable[[sqlite3.Connection], T], gone: T) -> T:
        """Do something with a segment; ``gone`` when retention has dropped it meanwhile.

        Raises:
            DamagedSegmentError, LogError: it cannot be read.
        """
        try:
            connection = self._take(segment)
        except sqlite3.Error as error:
            return self._failed(segment, error, gone)
        try:
            result = action(connection)
        except DamagedError as error:
            connection.close()
            raise DamagedSegmentError(segment, str(error)) from error
        except sqlite3.Error as error:
            connection.close()
            return self._failed(segment, error, gone)
        except BaseException:
            connection.close()
            raise
        self._give_back(segment, connection)
        return result

    def _failed(self, segment: Segment, error: sqlite3.Error, gone: T) -> T:
        if not segment.file.exists():
            return gone
        if schema.is_damage(error) or (
            isinstance(error, sqlite3.OperationalError)
            and ("no such table" in str(error) or "decode" in str(error))
        ):
            raise DamagedSegmentError(segment, str(error)) from error
        raise schema.explain(error, segment.file) from error

    def _take(self, segment: Segment) -> sqlite3.Connection:
        with self._lock:
            for index, (idle, connection) in enumerate(self._idle):
                if idle == segment:
                    del self._idle[index]
                    return connection
        return schema.open_reader(segment.file, still=segment.still)

    def _give_back(self, segment: Segment, connection: sqlite3.Connection) -> None:
        with self._lock:
            self._idle.append((segment, connection))
            current = set(self._view().segments)
            # Those of segments that are gone, finished or repaired are of no more use.
            drop = [pair for pair in self._idle if self._closed or pair[0] not in current]
            self._idle = [pair for pair in self._idle if pair not in drop]
            drop += self._idle[:-_IDLE]
            self._idle = self._idle[-_IDLE:]
        for _, old in drop:
            old.close()

    def close(self) -> None:
        """Close the connections."""
        with self._lock:
            self._closed = True
            idle, self._idle = self._idle, []
        for _, connection in idle:
            connection.close()

    def _backwards(
        self, action: Callable[[sqlite3.Connection, int], list[T]], limit: int
    ) -> list[T]:
        """What ``action`` finds from the newest segment to the oldest, up to ``limit``."""
        found: list[T] = []
        for segment in reversed(self._view().segments):
            if len(found) >= limit:
                break
            left = limit - len(found)
            found += self.on(segment, lambda connection, left=left: action(connection, left), [])  # type: ignore[misc]  # bound now
        return found

    def gaps(self, limit: int) -> list[tuple[str, str, Gap]]:
        """The newest gaps.

        Raises:
            DamagedSegmentError, LogError: they cannot be read.
        """

        def take(connection: sqlite3.Connection, left: int) -> list[tuple[str, str, Gap]]:
            cursor = connection.execute(
                "SELECT source, epoch, first_seq, last_seq FROM gaps JOIN origins "
                "ON origins.id = gaps.origin ORDER BY gaps.id DESC LIMIT ?",
                (left,),
            )
            return [(row[0], row[1], Gap(first_seq=row[2], last_seq=row[3])) for row in cursor]

        return self._backwards(take, limit)

    def dead_letters(self, limit: int) -> list[DeadLetter]:
        """The newest dead letters.

        Raises:
            DamagedSegmentError, LogError: they cannot be read.
        """

        def take(connection: sqlite3.Connection, left: int) -> list[DeadLetter]:
            cursor = connection.execute(
                "SELECT ingested_at_ns, source, epoch, seq, reason, detail, body FROM dead "
                "JOIN origins ON origins.id = dead.origin ORDER BY cursor DESC LIMIT ?",
                (left,),
            )
            return [
                DeadLetter(
                    at_ns,
                    source,
                    epoch,
                    Refusal(seq=seq, reason=RefusalReason(reason), detail=detail),
                    bytes(body),
                )
                for at_ns, source, epoch, seq, reason, detail, body in cursor
            ]

        return self._backwards(take, limit)

    def oldest_at_ns(self) -> int | None:
        """When the oldest kept entry was taken in.

        Raises:
            DamagedSegmentError, LogError: it cannot be read.
        """
        entries = self.read(0, 1)
        return entries[0].ingested_at_ns if entries else None


def look(directory: Path) -> View:
    """What there is in a directory that this process does not own.

    Segments that cannot be read stand in it with an empty head.
    """
    segments = []
    firsts = files.list_segments(directory)
    for first in firsts:
        file = files.segment_file(directory, first)
        still = first != firsts[-1] and files.journal_bytes(file) == 0
        segments.append(Segment(first, file, schema.Head("", first, 0, 0, 0, 0, 0), still))
    return View(tuple(segments), 0, 0, 0)
