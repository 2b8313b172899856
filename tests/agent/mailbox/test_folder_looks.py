"""When a folder is looked into, what its delays are worth, and what its watermark promises."""

import asyncio
from functools import partial

import pytest

from agent.mailbox.cadence import Cadence
from tests.agent.fakes import (
    InlineSpool,
    S,
    canary_mail,
    flight,
    other_mail,
)
from tests.agent.mailbox.benches import (
    CLOSED,
    NO_CONNECTION,
    Bench,
    play,
    virtual_clock,
)

# --- what it measures ----------------------------------------------------------------------------


@pytest.mark.parametrize("delay_s", [0.05, 0.5, 3.0, 60.0, 900.0])
def test_the_interval_holds_the_true_delay_and_is_narrow(
    inline_spool: InlineSpool, delay_s: float
) -> None:
    async def story() -> None:
        bench = Bench(inline_spool, virtual_clock())
        bench.inbox.has_idle = False
        async with bench.watching():
            await asyncio.sleep(5)
            bench.fly(1)
            await asyncio.sleep(delay_s)
            bench.deliver()
            await asyncio.sleep(60)
        [event] = bench.arrivals()
        error_s = max(0.02, 0.03 * delay_s)
        assert delay_s <= event.delay.hi <= delay_s + error_s
        # Servers may show a mail a little later than they have it.
        assert delay_s - error_s - 0.3 <= event.delay.lo <= delay_s
        assert event.clock == "boottime"

    play(story)


def test_with_idle_a_stuck_canary_is_seen_the_moment_it_comes(inline_spool: InlineSpool) -> None:
    async def story() -> None:
        bench = Bench(inline_spool, virtual_clock())
        async with bench.watching():
            bench.fly(1)
            await asyncio.sleep(901)
            bench.deliver()
            await asyncio.sleep(1)
        [event] = bench.arrivals()
        assert event.delay.lo <= 901 <= event.delay.hi <= 901.01

    play(story)


def test_junk_is_an_attribute(inline_spool: InlineSpool) -> None:
    async def story() -> None:
        bench = Bench(inline_spool, virtual_clock())
        async with bench.watching(), bench.watching("Junk"):
            await asyncio.sleep(1)
            bench.fly(1)
            bench.deliver(folder="Junk")
            await asyncio.sleep(5)
        [event] = bench.arrivals()
        assert (event.folder, event.junk) == ("Junk", True)
        assert len(bench.air) == 0

    play(story)


def test_copies_in_both_folders_are_two_arrivals(inline_spool: InlineSpool) -> None:
    async def story() -> None:
        bench = Bench(inline_spool, virtual_clock())
        async with bench.watching(), bench.watching("Junk"):
            await asyncio.sleep(1)
            made = bench.fly(1)
            for folder in (bench.inbox, bench.inbox, bench.junk):
                folder.deliver(partial(canary_mail, made))
            await asyncio.sleep(10)
        assert sorted((e.folder, e.uid) for e in bench.arrivals()) == [
            ("INBOX", 1),
            ("INBOX", 2),
            ("Junk", 1),
        ]

    play(story)


def test_many_mails_come_in_batches_and_the_backlog_is_noticed(inline_spool: InlineSpool) -> None:
    async def story() -> None:
        bench = Bench(inline_spool, virtual_clock(), batch=10)
        async with bench.watching():
            await asyncio.sleep(1)
            for number in range(1, 36):
                bench.fly(number)
            bench.inbox.dies = CLOSED
            for number in range(1, 36):
                bench.deliver(number)
            before = bench.watch.folders["INBOX"].checked
            bench.inbox.dies = None
            await asyncio.sleep(60)
            assert bench.watch.folders["INBOX"].backlog == 0
        assert before is not None
        assert [event.uid for event in bench.arrivals()] == list(range(1, 36))
        # Of a check that takes several batches, only the end says that nothing more was there.
        assert {round(event.delay.lo, 6) for event in bench.arrivals()} == {0.0}

    play(story)


# --- when it looks -------------------------------------------------------------------------------


def test_with_nothing_in_flight_it_idles_and_renews_that_in_time(inline_spool: InlineSpool) -> None:
    async def story() -> None:
        bench = Bench(inline_spool, virtual_clock())
        async with bench.watching():
            await asyncio.sleep(3600)
        assert 14 <= bench.inbox.fetches <= 17
        assert 14 <= bench.inbox.idles <= 17
        assert len(bench.inbox.opens) == 1

    play(story)


def test_without_idle_it_polls(inline_spool: InlineSpool) -> None:
    async def story() -> None:
        bench = Bench(inline_spool, virtual_clock())
        bench.inbox.has_idle = False
        async with bench.watching():
            await asyncio.sleep(3600)
        assert 115 <= bench.inbox.fetches <= 122
        assert bench.inbox.idles == 0

    play(story)


@pytest.mark.parametrize("has_idle", [True, False])
def test_a_new_flight_wakes_it(inline_spool: InlineSpool, has_idle: bool) -> None:
    async def story() -> None:
        bench = Bench(inline_spool, virtual_clock())
        bench.inbox.has_idle = has_idle
        async with bench.watching():
            await asyncio.sleep(20)
            bench.fly(1)
            await asyncio.sleep(0.1)
            # A check under way ends within 16 ms of any moment.
            assert bench.inbox.fetches >= 5
            bench.deliver()
            await asyncio.sleep(0.05)
            assert len(bench.arrivals()) == 1
            assert bench.arrivals()[0].delay.hi < 0.13

    play(story)


def test_mail_that_nobody_expects_is_seen_when_the_server_tells(inline_spool: InlineSpool) -> None:
    async def story() -> None:
        bench = Bench(inline_spool, virtual_clock())
        async with bench.watching():
            await asyncio.sleep(100)
            late = flight(9, sent=bench.clock.now()).numbered(1, 1, "e0")
            bench.inbox.deliver(partial(canary_mail, late))
            await asyncio.sleep(0.1)
            assert len(bench.arrivals()) == 1

    play(story)


def test_a_slow_cadence_is_kept_however_fast_canaries_start(inline_spool: InlineSpool) -> None:
    async def story() -> None:
        bench = Bench(inline_spool, virtual_clock())
        async with bench.watching(cadence=Cadence(floor_s=0.5, growth=0.1)):
            await asyncio.sleep(2)
            before = bench.inbox.fetches
            for number in range(1, 101):
                bench.fly(number)
                await asyncio.sleep(0.1)
            assert 18 <= bench.inbox.fetches - before <= 22

    play(story)


def test_the_command_budget_is_kept(inline_spool: InlineSpool) -> None:
    async def story() -> None:
        bench = Bench(inline_spool, virtual_clock(), commands_per_minute=60)
        async with bench.watching(), bench.watching("Junk"):
            for number in range(1, 301):
                bench.fly(number)
                await asyncio.sleep(1)
        assert bench.watch.budget.spent <= 300 + 20 + 5
        assert bench.inbox.fetches > 50
        assert bench.junk.fetches > 50

    play(story)


def test_a_flood_of_other_mail_is_not_read_again_after_a_restart(inline_spool: InlineSpool) -> None:
    async def story() -> None:
        bench = Bench(inline_spool, virtual_clock())
        async with bench.watching():
            await asyncio.sleep(1)
            for _ in range(2500):
                bench.inbox.deliver(other_mail)
            await asyncio.sleep(60)
        assert bench.counters["other_mail"] == 2500
        again = bench.restart()
        async with again.watching():
            await asyncio.sleep(1)
        assert again.counters["other_mail"] <= 1000

    play(story)


# --- the watermark -------------------------------------------------------------------------------


def test_the_watermark_waits_for_every_folder(inline_spool: InlineSpool) -> None:
    async def story() -> None:
        bench = Bench(inline_spool, virtual_clock())
        bench.junk.refuses = NO_CONNECTION
        boot = bench.clock.now().boot_id
        async with bench.watching(), bench.watching("Junk"):
            await asyncio.sleep(10)
            assert bench.watch.watermark(boot) is None
            bench.junk.refuses = None
            await asyncio.sleep(60)
            first = bench.watch.watermark(boot)
            assert first is not None
            await asyncio.sleep(300)
            second = bench.watch.watermark(boot)
            assert second is not None
            assert second.boot_ns > first.boot_ns
            bench.junk.dies = CLOSED
            bench.fly(1)
            await asyncio.sleep(600)
            stuck = bench.watch.watermark(boot)
            assert stuck is not None
            assert (bench.clock.now().boot_ns - stuck.boot_ns) / S > 590

    play(story)


def test_what_could_not_be_written_moves_no_watermark(inline_spool: InlineSpool) -> None:
    async def story() -> None:
        bench = Bench(inline_spool, virtual_clock())
        boot = bench.clock.now().boot_id
        async with bench.watching():
            await asyncio.sleep(1)
            bench.fly(1)
            inline_spool.problem = "disk full"
            bench.deliver()
            delivered = bench.clock.now().boot_ns
            await asyncio.sleep(60)
            mark = bench.watch.watermark(boot)
            assert mark is not None
            assert mark.boot_ns <= delivered

    play(story)
