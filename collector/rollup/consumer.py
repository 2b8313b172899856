"""The rollup as a consumer of the log: a batch in, one transaction out."""

import contextlib
import sqlite3
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import IO

from collector.log.engine import Entry, Extent
from collector.rollup.core import Core
from collector.rollup.file import (
    FILE_NAME,
    RollupDamagedError,
    RollupError,
    explained,
    move_aside,
    open_file,
    take_lock,
)
from collector.rollup.state import Counters
from collector.rollup.store import Store


class RollupConsumer:
    """Keeps ``rollup.sqlite3`` in ``directory``. All methods are one thread's.

    ``tell`` takes a sentence for the log whenever a file had to be moved aside.
    """

    name = "rollup"

    def __init__(self, directory: Path, tell: Callable[[str], None] = lambda _text: None) -> None:
        self.file = directory / FILE_NAME
        self._tell = tell
        self._lock: IO[str] | None = None
        self._connection: sqlite3.Connection | None = None
        self._core: Core | None = None
        self._store: Store | None = None
        self._damage: RollupDamagedError | None = None
        self.counters = Counters()

    def open(self, log_id: str, bounds: Extent) -> int:
        """Open the file; gives the cursor that it stands at.

        A file that is damaged, that was made from another log, or that is ahead of its log (which
        was restored from an older backup) is moved aside, and all is counted from the log again.

        Raises:
            RollupError: the file cannot be used now, a newer version wrote it, or another process
                is at work on it.
        """
        try:
            if self._lock is None:
                self._lock = take_lock(self.file)
            return self._taken_up(log_id, bounds)
        except BaseException:
            self.close()
            raise

    def _taken_up(self, log_id: str, bounds: Extent) -> int:
        try:
            if self._damage is not None:
                raise self._damage
            return self._open(log_id, bounds)
        except RollupDamagedError as error:
            self._damage = None
            self._let_go()
            moved = move_aside(self.file, "damaged")
            self._tell(f"{error}; moved to {moved.name}, counting from the log again")
            return self._open(log_id, bounds)

    def _open(self, log_id: str, bounds: Extent) -> int:
        self._let_go()
        self._connection = open_file(self.file)
        store = Store(self._connection, self.file)
        known, start = store.log_id(), store.load()
        if known not in (None, log_id) or start.cursor > bounds.last:
            self._let_go()
            moved = move_aside(self.file, "of-another-log")
            self._tell(f"{self.file}: is not of this log; moved to {moved.name}")
            return self._open(log_id, bounds)
        if known is None:
            store.set_log_id(log_id)
        self._store, self._core = store, Core(store, start)
        self.counters = start.counters
        return start.cursor

    def take(self, entries: Sequence[Entry]) -> None:
        """Count the entries and advance the cursor, in one transaction.

        Raises:
            RollupError: nothing was written; open the file again before the next try.
        """
        if self._core is None or self._store is None:
            raise RollupError(f"{self.file}: not open")
        try:
            # What it reads of the file meanwhile may be damaged, too; of events nothing is raised.
            with explained(self.file):
                self._core.take(entries)
            self._store.save(self._core.changes(), self._core.registry)
        except RollupDamagedError as error:
            # Opening alone need not come across it again.
            self._damage = error
            raise
        self._core.shrink()

    def close(self) -> None:
        """Close the file; nothing is lost."""
        self._let_go()
        if self._lock is not None:
            self._lock.close()
            self._lock = None

    def _let_go(self) -> None:
        """Close the file, which stays ours."""
        if self._connection is not None:
            with contextlib.suppress(sqlite3.Error):
                self._connection.close()
        self._connection = self._core = self._store = None
