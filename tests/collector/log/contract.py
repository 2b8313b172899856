"""What every engine of the log has to do. An engine's test module subclasses this.

``make`` opens the log of one test; the same call after ``close`` opens it again.
"""

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from collector.log.engine import Batch, Item, Log, LogError, Retention
from probes.contract.wire import Gap
from tests.collector.log.batches import (
    AT_NS,
    S,
    batch,
    body,
    everything,
    identities,
    letter,
)

Make = Callable[[], Awaitable[Log]]


class LogContract:
    """The suite; ``make`` is a fixture of the subclass."""

    async def test_an_event_comes_back_as_it_went_in(self, make: Make) -> None:
        log = await make()
        answer = await log.append(batch(1, 3))
        assert (answer.high_water, answer.accepted, answer.refused, answer.duplicates) == (
            3,
            3,
            0,
            0,
        )
        entries = await everything(log)
        assert identities(entries) == [("fra", "e1", seq) for seq in (1, 2, 3)]
        assert [entry.body for entry in entries] == [body("fra", "e1", seq) for seq in (1, 2, 3)]
        assert {(entry.kind, entry.ingested_at_ns) for entry in entries} == {("tick", AT_NS)}
        assert answer.cursor == entries[-1].cursor
        assert [e.cursor for e in entries] == sorted({e.cursor for e in entries})
        await log.close()

    async def test_twice_is_once(self, make: Make) -> None:
        log = await make()
        await log.append(batch(1, 3))
        again = await log.append(batch(1, 3))
        assert (again.accepted, again.duplicates, again.high_water, again.cursor) == (0, 3, 3, None)
        overlap = await log.append(batch(2, 5))
        assert (overlap.accepted, overlap.duplicates, overlap.high_water) == (2, 2, 5)
        assert identities(await everything(log)) == [("fra", "e1", seq) for seq in range(1, 6)]
        assert await log.gaps() == []
        await log.close()

    async def test_a_gap_is_kept_and_told(self, make: Make) -> None:
        log = await make()
        await log.append(batch(1, 2))
        answer = await log.append(batch(5, 6, at_ns=AT_NS + S))
        assert answer.gap == Gap(first_seq=3, last_seq=4)
        assert answer.high_water == 6
        late = await log.append(batch(3, 4))
        assert (late.accepted, late.duplicates) == (0, 2)
        await log.append(batch(9, 9))
        assert await log.gaps() == [
            ("fra", "e1", Gap(first_seq=7, last_seq=8)),
            ("fra", "e1", Gap(first_seq=3, last_seq=4)),
        ]
        assert len(await log.gaps(limit=1)) == 1
        mark = (await log.marks())["fra", "e1"]
        assert (mark.high_water, mark.missing) == (9, 4)
        assert (mark.first_at_ns, mark.last_at_ns) == (AT_NS, AT_NS)
        await log.close()

    async def test_a_refused_event_lies_among_the_dead_letters(self, make: Make) -> None:
        log = await make()
        answer = await log.append(batch(1, 5, refused=[2, 5]))
        assert (answer.accepted, answer.refused, answer.high_water) == (3, 2, 5)
        assert [entry.seq for entry in await everything(log)] == [1, 3, 4]
        assert await log.dead_letters() == [letter("fra", "e1", 5), letter("fra", "e1", 2)]
        assert await log.dead_letters(limit=1) == [letter("fra", "e1", 5)]
        assert (await log.bounds()).dead_letters == 2
        again = await log.append(batch(1, 6, refused=[2, 5, 6]))
        assert (again.accepted, again.refused, again.duplicates) == (0, 1, 5)
        assert again.cursor is None
        await log.close()

    async def test_each_source_and_epoch_has_its_own_numbers(self, make: Make) -> None:
        log = await make()
        names = [("fra", "e1"), ("fra", "e2"), ("sfo", "e1")]
        for source, epoch in names:
            await log.append(batch(1, 2, source=source, epoch=epoch))
        assert {key: mark.high_water for key, mark in (await log.marks()).items()} == dict.fromkeys(
            names, 2
        )
        await log.close()

    async def test_an_empty_log_has_nothing(self, make: Make) -> None:
        log = await make()
        assert await log.read(0, 10) == []
        assert await log.marks() == {}
        bounds = await log.bounds()
        assert bounds.first > bounds.last
        assert bounds.oldest_at_ns is None
        await log.close()

    async def test_reads_go_on_from_a_cursor(self, make: Make) -> None:
        log = await make()
        for first in range(1, 2001, 400):
            await log.append(batch(first, first + 399))
        entries = await everything(log, limit=7)
        assert [entry.seq for entry in entries] == list(range(1, 2001))
        middle = entries[1234].cursor
        assert [e.seq for e in await log.read(middle, 2)] == [1236, 1237]
        assert await log.read(entries[-1].cursor, 10) == []
        assert await log.read(entries[-1].cursor + 1000, 10) == []
        await log.close()

    async def test_what_was_answered_is_there_after_reopening(self, make: Make) -> None:
        log = await make()
        log_id = log.log_id
        await log.append(batch(1, 3))
        await log.append(batch(5, 6, refused=[6]))
        before = (await everything(log), await log.marks(), await log.gaps(), await log.bounds())
        letters = await log.dead_letters()
        await log.close()
        log = await make()
        assert log.log_id == log_id
        after = (await everything(log), await log.marks(), await log.gaps(), await log.bounds())
        assert after[:3] == before[:3]
        assert (after[3].first, after[3].last) == (before[3].first, before[3].last)
        assert await log.dead_letters() == letters
        answer = await log.append(batch(4, 7))
        assert (answer.accepted, answer.duplicates) == (1, 3)
        assert answer.cursor is not None
        assert answer.cursor > before[0][-1].cursor
        await log.close()

    async def test_concurrent_callers_are_all_served(self, make: Make) -> None:
        log = await make()

        async def agent(number: int) -> None:
            for first in range(1, 51, 10):
                answer = await log.append(batch(first, first + 9, source=f"a{number}"))
                assert answer.high_water == first + 9

        await asyncio.gather(*(agent(number) for number in range(20)))
        entries = await everything(log)
        assert sorted(identities(entries)) == sorted(
            (f"a{number}", "e1", seq) for number in range(20) for seq in range(1, 51)
        )
        await log.close()

    async def test_the_same_batch_by_two_callers_at_once_is_once(self, make: Make) -> None:
        log = await make()
        answers = await asyncio.gather(*(log.append(batch(1, 10)) for _ in range(5)))
        assert sum(answer.accepted for answer in answers) == 10
        assert {answer.high_water for answer in answers} == {10}
        assert len(await everything(log)) == 10
        await log.close()

    async def test_a_cancelled_caller_undoes_nothing(self, make: Make) -> None:
        log = await make()
        task = asyncio.create_task(log.append(batch(1, 2)))
        await asyncio.sleep(0)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        again = await log.append(batch(1, 3))
        assert again.accepted + again.duplicates == 3
        assert [entry.seq for entry in await everything(log)] == [1, 2, 3]
        await log.close()

    async def test_waiting_ends_with_the_entry_that_is_waited_for(self, make: Make) -> None:
        log = await make()
        answer = await log.append(batch(1, 1))
        assert answer.cursor is not None
        await log.wait_past(answer.cursor - 1)
        waiting = [asyncio.create_task(log.wait_past(answer.cursor)) for _ in range(3)]
        await log.append(batch(2, 2, refused=[2]))
        assert not any(task.done() for task in waiting)
        await log.append(batch(3, 3))
        await asyncio.gather(*waiting)
        assert [entry.seq for entry in await log.read(answer.cursor, 5)] == [3]
        await log.close()

    @pytest.mark.parametrize(
        "wrong",
        [
            Batch("fra", "e1", 0, 0, [Item(0, "tick", b"{}")], [], AT_NS),
            Batch("fra", "e1", 2, 1, [], [], AT_NS),
            Batch("fra", "e1", 1, 2, [Item(1, "tick", b"{}")], [], AT_NS),
            Batch("fra", "e1", 1, 2, [Item(1, "tick", b"{}"), Item(1, "tick", b"{}")], [], AT_NS),
            Batch("fra", "e1", 1, 2, [Item(2, "tick", b"{}"), Item(1, "tick", b"{}")], [], AT_NS),
            Batch("fra", "e1", 1, 1, [Item(1, "tick", b"{}")], [letter("fra", "e1", 1)], AT_NS),
            Batch("fra", "e1", 1, 1, [Item(1, "tick", b"{\n}")], [], AT_NS),
            Batch("fra", "e1", 1 << 63, 1 << 63, [Item(1 << 63, "tick", b"{}")], [], AT_NS),
        ],
    )
    async def test_a_batch_that_is_none_is_its_callers_fault_alone(
        self, make: Make, wrong: Batch
    ) -> None:
        log = await make()
        good, bad, also_good = await asyncio.gather(
            log.append(batch(1, 2, source="sfo")),
            log.append(wrong),
            log.append(batch(1, 2, source="ams")),
            return_exceptions=True,
        )
        assert isinstance(bad, ValueError)
        assert not isinstance(good, BaseException)
        assert not isinstance(also_good, BaseException)
        assert good.accepted == also_good.accepted == 2
        assert ("fra", "e1") not in await log.marks()
        await log.close()

    async def test_odd_kinds_and_names_are_kept(self, make: Make) -> None:
        log = await make()
        kinds = ['a"b', "a\nb,c", "\u00e4\u2028", ""]
        items = [Item(seq, kind, b"{}") for seq, kind in enumerate(kinds, 1)]
        await log.append(Batch("f'ra", "e\u00e9", 1, len(kinds), items, [], AT_NS))
        entries = await everything(log)
        assert [entry.kind for entry in entries] == kinds
        assert {(entry.source, entry.epoch) for entry in entries} == {("f'ra", "e\u00e9")}
        await log.close()

    async def test_retention_by_age_drops_the_oldest_and_keeps_the_marks(self, make: Make) -> None:
        log = await make()
        for hour in range(10):
            await log.append(batch(hour * 10 + 1, hour * 10 + 10, at_ns=AT_NS + hour * 3600 * S))
        entries = await everything(log)
        now_ns = AT_NS + 10 * 3600 * S
        gone = await log.trim(Retention(age_s=4 * 3600.0), now_ns)
        left = await everything(log)
        assert 0 < gone < 100
        assert left == entries[gone:]
        assert all(e.ingested_at_ns >= now_ns - 6 * 3600 * S for e in left)
        bounds = await log.bounds()
        assert entries[gone - 1].cursor < bounds.first <= left[0].cursor
        assert bounds.last == left[-1].cursor
        assert bounds.oldest_at_ns == left[0].ingested_at_ns
        assert (await log.marks())["fra", "e1"].high_water == 100
        assert (await log.append(batch(1, 100))).duplicates == 100
        await log.close()

    async def test_retention_may_leave_nothing_and_the_log_goes_on(self, make: Make) -> None:
        log = await make()
        await log.append(batch(1, 10))
        last = (await everything(log))[-1].cursor
        later = AT_NS + 365 * 86400 * S
        assert await log.trim(Retention(age_s=60.0), later) == 10
        assert await everything(log) == []
        bounds = await log.bounds()
        assert bounds.first == last + 1
        assert bounds.last == last
        answer = await log.append(batch(11, 11, at_ns=later))
        assert answer.cursor is not None
        assert answer.cursor > last
        await log.close()

    async def test_a_closed_log_says_so(self, make: Make) -> None:
        log = await make()
        waiting = asyncio.create_task(log.wait_past(0))
        await asyncio.sleep(0)
        await log.close()
        await log.close()
        for call in (waiting, log.append(batch(1, 1)), log.read(0, 1), log.marks()):
            with pytest.raises(LogError, match="closed"):
                await call
