"""What comes while a disk takes long is measured to its own announcement, in virtual time."""

import asyncio
from functools import partial

from probes.contract.stages import Reason
from probes.imap import ImapFailure, ImapStage
from tests.agent.fakes import InlineSpool, canary_mail
from tests.agent.mailbox.benches import Bench, play, virtual_clock

CLOSED = ImapFailure(ImapStage.CHECK, Reason.CLOSED, "the server has gone")


async def two_come(bench: Bench, takes_s: float) -> None:
    """Two canaries come, the second one while the first is being written down; they fly 0.2 s."""
    await asyncio.sleep(1)
    first = bench.fly(1)
    await asyncio.sleep(0.2)
    bench.spool.takes_s = takes_s
    bench.inbox.deliver(partial(canary_mail, first))
    await asyncio.sleep(0.3)
    second = bench.fly(2)
    await asyncio.sleep(0.2)
    bench.inbox.deliver(partial(canary_mail, second))
    await asyncio.sleep(0.1)


def test_a_slow_write_blurs_no_delay(inline_spool: InlineSpool) -> None:
    async def story() -> None:
        bench = Bench(inline_spool, virtual_clock())
        async with bench.watching():
            await two_come(bench, takes_s=5.0)
            checked = bench.watch.folders["INBOX"].checked
            assert bench.arrivals() == []
            assert len(bench.watch.air) == 2
            await asyncio.sleep(4.0)
            # Nothing new is promised before the first one is durable.
            assert bench.watch.folders["INBOX"].checked == checked
            await asyncio.sleep(30.0)
        one, two = bench.arrivals()
        assert (one.uid, two.uid) == (1, 2)
        assert 0.2 <= one.delay.hi <= 0.23
        assert 0.2 <= two.delay.hi <= 0.23
        # Not in the last complete check, which was long before it was sent.
        assert two.delay.lo == 0.0
        assert bench.inbox.deleted == [1, 2]

    play(story)


def test_a_slow_write_that_fails_is_done_again_with_what_came_meanwhile(
    inline_spool: InlineSpool,
) -> None:
    async def story() -> None:
        bench = Bench(inline_spool, virtual_clock())
        async with bench.watching():
            await two_come(bench, takes_s=5.0)
            checked = bench.watch.folders["INBOX"].checked
            inline_spool.problem = "spool: could not write (disk full)"
            await asyncio.sleep(20)
            status = bench.watch.folders["INBOX"]
            assert status.state == "spool"
            assert status.checked == checked
            assert len(bench.watch.air) == 2
            assert bench.counters["canaries_arrived"] == 0
            inline_spool.problem, inline_spool.takes_s = None, 0.0
            await asyncio.sleep(60)
            assert len(bench.watch.air) == 0
        assert [event.uid for event in bench.arrivals()] == [1, 2]
        assert bench.counters["canaries_arrived"] == 2

    play(story)


def test_what_was_written_while_the_connection_broke_counts_once(
    inline_spool: InlineSpool,
) -> None:
    async def story() -> None:
        bench = Bench(inline_spool, virtual_clock())
        async with bench.watching():
            await two_come(bench, takes_s=1.0)
            bench.inbox.dies = CLOSED
            await asyncio.sleep(2)
            assert [event.uid for event in bench.arrivals()] == [1]
            assert len(bench.watch.air) == 1
            bench.inbox.dies = None
            await asyncio.sleep(60)
        assert [event.uid for event in bench.arrivals()] == [1, 2]
        assert bench.counters["canaries_arrived"] == 2

    play(story)


def test_the_looks_meanwhile_are_within_the_budget(inline_spool: InlineSpool) -> None:
    async def story() -> None:
        bench = Bench(inline_spool, virtual_clock(), commands_per_minute=60)
        async with bench.watching():
            await two_come(bench, takes_s=30.0)
            notices = bench.inbox.notices
            await asyncio.sleep(20)
            assert bench.inbox.notices - notices <= 21

    play(story)


def test_a_watch_that_ends_during_a_write_leaves_nothing_running(
    inline_spool: InlineSpool,
) -> None:
    async def story() -> None:
        bench = Bench(inline_spool, virtual_clock())
        async with bench.watching():
            await two_come(bench, takes_s=5.0)
        others = asyncio.all_tasks() - {asyncio.current_task()}
        await asyncio.sleep(0)
        assert all(task.done() for task in others)

    play(story)
