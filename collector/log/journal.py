"""How what was committed comes from a segment's journal into its file: not as a part of commits.

SQLite writes a commit to the journal (``-wal``) alone. Moving it into the file takes two fsyncs and
as long as there is much of it. Once all is moved and nobody reads in the journal, the next commit
writes over it from its beginning. While commits follow each other closely there is always something
that came after a move had begun, so in the end the writer moves the last bit itself.
"""

import queue
import sqlite3
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import structlog

from collector.log import files, schema

_logger = structlog.get_logger("collector.log")
_FRAME_BYTES = schema.PAGE_BYTES + 24
_READERS_MS = 20
"""How long the writer waits for readers to leave the journal."""
_RETRY_S = 1.0


@dataclass(frozen=True, slots=True)
class _Known:
    """What a pass has found, and how much had been written by then."""

    written: int
    length: int
    left: int


class Journal:
    """The journal of one segment. ``limit`` is the length at which the writer takes a hand in it.

    :meth:`wrote`, :meth:`tidy` and :meth:`finish` are the writer's, :meth:`work` is for whoever
    moves journals. ``length`` is not told by SQLite, so the writer adds up what it writes, and each
    pass puts it right.
    """

    def __init__(
        self, file: Path, limit: int, clock_s: Callable[[], float] = time.monotonic
    ) -> None:
        self.file = file
        self.problem: str | None = None
        self.sealed = False
        self._limit = limit
        # So much is worth a pass of its own, and so little the writer moves between two commits.
        self._pass, self._bit = limit // 4, limit // 16
        self._clock_s = clock_s
        self._written, self._tried = 0, -self._pass
        length = files.journal_bytes(file)
        self._known = _Known(0, length, length)
        self._connection: sqlite3.Connection | None = None
        self._last: sqlite3.Connection | None = None
        self._lock = threading.Lock()
        self._handed_over = self._still = self._held = False
        self._retry_s = float("-inf")

    @property
    def length(self) -> int:
        """Its length in bytes, about."""
        known = self._known
        return known.length + self._written - known.written

    @property
    def left(self) -> int:
        """How much of it is not in the segment's file yet, about."""
        known = self._known
        return known.left + self._written - known.written

    def wrote(self, pages: int) -> None:
        """Count what a commit has added."""
        self._written += pages * _FRAME_BYTES

    def tidy(self, put: "Callable[[Journal], None]") -> None:
        """See to it between two commits: have it moved when it is worth it, or move the rest.

        ``put`` gives it to whoever moves journals. Raises nothing: see :attr:`problem`.
        """
        if self._clock_s() < self._retry_s:
            return
        length, left = self.length, self.left
        long = length >= self._limit
        if self._last is None and long and (left <= self._bit or length >= 2 * self._limit):
            # A reader that stays in the journal is not waited for with every commit.
            if self._written - self._tried >= self._pass:
                self._tried = self._written
                self._move("RESTART")
            return
        wanted = self._last is not None or left >= (self._bit if long else self._pass)
        if wanted and not self._handed_over:
            self._handed_over = True
            put(self)

    def work(self) -> None:
        """Move what there is: all of it when the segment is finished and no reader in the way."""
        self._move("PASSIVE" if self._last is None else "TRUNCATE")
        self._handed_over = False

    def finish(self, last: sqlite3.Connection) -> None:
        """Nothing more is written to the segment; ``last`` was the writer's connection."""
        self._last = last

    def freeze(self) -> None:
        """Leave it as it is from now on, with its connections open: its file is being replaced."""
        with self._lock:
            self._still = True

    def close(self) -> None:
        """Let go of it; a connection that is the last one of all moves the rest."""
        with self._lock:
            self._still = True
            self._let_go()

    def _let_go(self) -> None:
        for connection in (self._connection, self._last):
            if connection is not None:
                connection.close()
        self._connection = self._last = None

    def _move(self, mode: str) -> None:
        with self._lock:
            if self._still:
                return
            try:
                if self._checkpoint(mode) and mode == "TRUNCATE":
                    self._still = self.sealed = True
                    self._let_go()
            except sqlite3.Error as error:
                self._retry_s = self._clock_s() + _RETRY_S
                self._tell(str(schema.explain(error, self.file)))

    def _checkpoint(self, mode: str) -> bool:
        """Let SQLite move what it can; whether the journal is at its end with that."""
        connection = self._connection or self._last
        if connection is None:
            connection = self._connection = schema.open_writer(self.file)
        connection.execute(f"PRAGMA busy_timeout={_READERS_MS if mode == 'RESTART' else 0:d}")
        # Whether what is committed from here on is among what is moved is not told: it counts as
        # left.
        written = self._written
        busy, log, moved = connection.execute(f"PRAGMA wal_checkpoint({mode})").fetchone()
        ended = mode != "PASSIVE" and not busy
        length, left = (0, 0) if ended else (log * _FRAME_BYTES, (log - moved) * _FRAME_BYTES)
        self._known = _Known(written, length, left)
        if mode != "PASSIVE":
            self._held = bool(busy)
        most = 2 * self._limit
        self._tell(
            f"{self.file}: found {length >> 20} MiB in its journal that a reader holds on to, "
            f"allowed are {most >> 20} MiB"
            if self._held and length >= most
            else None
        )
        return ended

    def _tell(self, problem: str | None) -> None:
        if problem is not None and self.problem is None:
            _logger.warning("log: what was written stays in the journal", problem=problem)
        elif problem is None and self.problem is not None:
            _logger.info("log: the journal is moved again", file=str(self.file))
        self.problem = problem


class Mover:
    """Moves journals, in a thread of its own."""

    def __init__(self) -> None:
        self._jobs: queue.SimpleQueue[Journal | threading.Event | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._work, name="log-journal", daemon=True)
        self._thread.start()

    def put(self, journal: Journal) -> None:
        """Have a journal moved soon."""
        self._jobs.put(journal)

    def wait(self) -> None:
        """Return when everything is done that was put before."""
        done = threading.Event()
        self._jobs.put(done)
        done.wait()

    def close(self) -> None:
        """End, when everything is done that was put before."""
        self._jobs.put(None)
        self._thread.join()

    def _work(self) -> None:
        while (job := self._jobs.get()) is not None:
            if isinstance(job, Journal):
                job.work()
            else:
                job.set()
