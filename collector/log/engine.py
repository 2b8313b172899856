"""What a log is, whichever engine keeps it; ``docs/log.md`` explains it.

The log is the only truth: an event is in it once, in the order in which it was taken, and all else
can be computed from it again. One suite of tests holds every engine to this contract.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol

from probes.contract.errors import MailcanaryError
from probes.contract.wire import Gap, Refusal


class LogError(MailcanaryError, OSError):
    """The log cannot take or give events now: disk full or read-only, file damaged, newer schema.

    Nothing of the operation was done, so it may be tried again.
    """


class LogFullError(LogError):
    """The log's disk is full: waiting may mend it, a restart does not."""


class Entry(NamedTuple):
    """One event as it stands in the log. ``cursor`` rises with every entry and is never reused.

    It need not rise by one: a dead letter takes a number too, and repair leaves numbers out.
    (source, epoch, seq) is the event's identity; ``body`` is its JSON, byte for byte as reported.
    """

    cursor: int
    ingested_at_ns: int
    source: str
    epoch: str
    seq: int
    kind: str
    body: bytes


class Item(NamedTuple):
    """An event on its way into the log; ``body`` is one line."""

    seq: int
    kind: str
    body: bytes


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """An event that was refused: where it would have stood, why, and what it was."""

    ingested_at_ns: int
    source: str
    epoch: str
    refusal: Refusal
    body: bytes


@dataclass(frozen=True, slots=True)
class Batch:
    """Consecutive events of a source, ``first_seq`` to ``last_seq``, each in one of both lists."""

    source: str
    epoch: str
    first_seq: int
    last_seq: int
    items: Sequence[Item]
    dead: Sequence[DeadLetter]
    ingested_at_ns: int


@dataclass(frozen=True, slots=True)
class Appended:
    """What became of a batch. ``cursor`` is that of its last new entry, ``None`` when none was new.

    ``high_water`` is the source's mark now; ``refused`` counts the new dead letters.
    """

    high_water: int
    accepted: int
    refused: int
    duplicates: int
    gap: Gap | None
    cursor: int | None


@dataclass(frozen=True, slots=True)
class Mark:
    """How far the events of one (source, epoch) have come, and how many of them were missing."""

    high_water: int
    missing: int
    first_at_ns: int
    last_at_ns: int


@dataclass(frozen=True, slots=True)
class Bounds:
    """What the log holds: entries with ``first <= cursor <= last``; none when ``first > last``.

    ``first`` is where the oldest kept segment begins: a consumer that has read up to a cursor
    below ``first - 1`` has missed some. ``bytes`` is what its files take on the disk.
    """

    first: int
    last: int
    bytes: int
    segments: int
    dead_letters: int
    oldest_at_ns: int | None


@dataclass(frozen=True, slots=True)
class Retention:
    """How long, in seconds, and in how many bytes on the disk the log is kept."""

    age_s: float = 30 * 86400.0
    bytes: int = 20 << 30


class Extent(Protocol):
    """Between which cursors a log's entries lie, as :class:`Bounds` has it."""

    @property
    def first(self) -> int:
        """Where the oldest kept segment begins."""

    @property
    def last(self) -> int:
        """The newest entry's cursor."""


class LogReading(Protocol):
    """As much of a log as those need who read it. Coroutines are called from one event loop."""

    log_id: str
    """Identifies this log; a restored copy keeps it."""

    async def read(self, after: int, limit: int) -> list[Entry]:
        """Up to ``limit`` entries past cursor ``after``, in order; may give fewer, but not none
        while there are any. Where retention dropped some, it goes on with the oldest kept.

        Raises:
            LogError: the log cannot be read.
        """

    async def wait_past(self, after: int) -> None:
        """Return once there is an entry past cursor ``after``."""

    async def bounds(self) -> Extent:
        """Between which cursors its entries lie."""


class Log(LogReading, Protocol):
    """A log. Coroutines are called from one event loop; a cancelled caller undoes nothing."""

    async def append(self, batch: Batch) -> Appended:
        """Write a batch; returns when all of it is on the disk.

        What is at or below the source's mark is a duplicate and changes nothing. A batch that
        begins past the mark leaves a gap, which is kept and told. Callers that wait at the same
        time share one commit.

        Raises:
            ValueError: the batch is not what :class:`Batch` says; nothing was written.
            LogFullError: the disk is full; nothing was written.
            LogError: nothing was written.
        """

    async def marks(self) -> dict[tuple[str, str], Mark]:
        """Every (source, epoch) that ever wrote, retention or not."""

    async def gaps(self, limit: int = 1000) -> list[tuple[str, str, Gap]]:
        """The newest gaps that retention has kept, newest first: source, epoch, missing numbers.

        Events that were lost with a damaged file are among them.
        """

    async def dead_letters(self, limit: int = 1000) -> list[DeadLetter]:
        """The newest dead letters that retention has kept, newest first."""

    async def bounds(self) -> Bounds:
        """What the log holds."""

    async def trim(self, retention: Retention, now_ns: int) -> int:
        """Drop the oldest entries past the bounds, whole segments at a time; gives how many."""

    async def close(self) -> None:
        """End what was begun and release the files."""
