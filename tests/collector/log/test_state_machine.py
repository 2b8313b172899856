"""A log against a model of one: appends with overlaps, gaps and refusals, crashes, trims."""

import asyncio
import shutil
import tempfile
from collections.abc import Coroutine
from pathlib import Path
from typing import Any, TypeVar

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from collector.log.engine import Retention
from collector.log.sqlite import SqliteLog
from collector.log.store import Limits
from collector.log.verify import verify
from tests.collector.log.batches import AT_NS, S, batch, everything, settle

T = TypeVar("T")
Key = tuple[str, str]
KEYS = st.sampled_from([("fra", "e1"), ("fra", "e2"), ("sfo", "e1")])


class LogMachine(RuleBasedStateMachine):
    """The model: what was stored, in order, and how far each source is."""

    def __init__(self) -> None:
        super().__init__()
        self.loop = asyncio.new_event_loop()
        self.place = Path(tempfile.mkdtemp(prefix="mailcanary-log-"))
        self.directory = self.place / "log"
        self.copies = 0
        self.entries: list[tuple[Key, int]] = []
        self.highs: dict[Key, int] = {}
        self.missing: dict[Key, int] = {}
        self.now_ns = AT_NS
        self.trimmed = 0
        self.last_cursor = 0

    def wait(self, awaited: Coroutine[Any, Any, T]) -> T:
        return self.loop.run_until_complete(awaited)

    @initialize(
        limits=st.sampled_from(
            [Limits(), Limits(segment_bytes=1), Limits(segment_s=50), Limits(journal_bytes=1 << 16)]
        )
    )
    def begin(self, limits: Limits) -> None:
        self.limits = limits
        self.log = SqliteLog.open(self.directory, limits)

    @rule(
        key=KEYS,
        back=st.integers(0, 8),
        gap=st.integers(0, 3),
        count=st.integers(1, 12),
        refuse=st.sets(st.integers(0, 11), max_size=3),
    )
    def append(self, key: Key, back: int, gap: int, count: int, refuse: set[int]) -> None:
        high = self.highs.get(key, 0)
        first = max(1, high + 1 - back) if back else high + 1 + gap
        last = first + count - 1
        refused = {first + offset for offset in refuse if offset < count}
        self.now_ns += 20 * S
        one = batch(first, last, source=key[0], epoch=key[1], refused=refused, at_ns=self.now_ns)
        answer = self.wait(self.log.append(one))
        new = [seq for seq in range(first, last + 1) if seq > high]
        kept = [seq for seq in new if seq not in refused]
        assert answer.duplicates == count - len(new)
        assert (answer.accepted, answer.refused) == (len(kept), len(new) - len(kept))
        assert answer.high_water == max(high, last)
        skipped = max(0, first - high - 1)
        assert (answer.gap is not None) == (skipped > 0)
        assert (answer.cursor is not None) == bool(kept)
        self.entries += [(key, seq) for seq in kept]
        self.highs[key] = max(high, last)
        self.missing[key] = self.missing.get(key, 0) + skipped

    @rule(seconds=st.integers(0, 400))
    def trim(self, seconds: int) -> None:
        self.trimmed += self.wait(self.log.trim(Retention(age_s=seconds), self.now_ns))

    @rule()
    def reopen(self) -> None:
        self.wait(self.log.close())
        self.log = SqliteLog.open(self.directory, self.limits)

    @rule()
    def crash(self) -> None:
        """Go on with the files as they are at this moment, journals and all."""
        self.copies += 1
        # A journal that is moved while the files are copied is in neither copy.
        self.wait(settle(self.log))
        copy = self.place / f"copy-{self.copies}"
        shutil.copytree(self.directory, copy)
        self.wait(self.log.close())
        self.directory = copy
        self.log = SqliteLog.open(copy, self.limits)

    @invariant()
    def the_log_holds_what_the_model_does(self) -> None:
        if not self.highs:
            return
        found = self.wait(everything(self.log, limit=5))
        kept = [((entry.source, entry.epoch), entry.seq) for entry in found]
        assert kept == self.entries[self.trimmed :]
        cursors = [entry.cursor for entry in found]
        assert cursors == sorted(set(cursors))
        marks = self.wait(self.log.marks())
        assert {key: mark.high_water for key, mark in marks.items()} == self.highs
        assert {key: mark.missing for key, mark in marks.items()} == self.missing
        bounds = self.wait(self.log.bounds())
        assert bounds.last >= self.last_cursor
        self.last_cursor = bounds.last
        assert (bounds.first > bounds.last) == (not kept)

    def teardown(self) -> None:
        self.wait(self.log.close())
        self.loop.run_until_complete(self.loop.shutdown_default_executor())
        self.loop.close()
        report = verify(self.directory)
        shutil.rmtree(self.place)
        assert report.problems == []


LogMachine.TestCase.settings = settings(max_examples=40, stateful_step_count=25)
TestLogMachine = LogMachine.TestCase
