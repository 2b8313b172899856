"""A mailbox that gives one canary back again and again: few events, and all of it is deleted."""

import asyncio
from functools import partial

from tests.agent.fakes import InlineSpool, canary_mail
from tests.agent.mailbox.benches import Bench, play, virtual_clock


def test_copies_that_are_not_told_are_deleted_like_the_others(inline_spool: InlineSpool) -> None:
    async def story() -> None:
        bench = Bench(inline_spool, virtual_clock())
        async with bench.watching():
            await asyncio.sleep(1)
            made = bench.fly(1)
            for _ in range(1000):
                bench.inbox.deliver(partial(canary_mail, made))
            await asyncio.sleep(60)
        assert [event.uid for event in bench.arrivals()] == list(range(1, 11))
        assert bench.counters["copies_not_told"] == 990
        assert bench.inbox.mails == {}
        assert inline_spool.store.cleanup(bench.name, "INBOX", 7) == []

    play(story)
