"""Who counts what comes hears of it as it is written down, in virtual time."""

import asyncio
from functools import partial

from probes.contract.events import Arrival, Bounce
from tests.agent.fakes import BOUNCES, InlineSpool, bounce_mail, dsn, other_mail
from tests.agent.mailbox.benches import Bench, play, virtual_clock


def test_arrivals_and_bounces_are_heard_as_they_are_written(inline_spool: InlineSpool) -> None:
    heard: list[Arrival | Bounce] = []

    async def story() -> None:
        inbox = Bench(inline_spool, virtual_clock())
        returned = Bench(inline_spool, inbox.clock, name=BOUNCES, takes_bounces=True)
        for bench in (inbox, returned):
            bench.reader.hear = heard.extend
        async with inbox.watching(), returned.watching():
            await asyncio.sleep(1)
            whole = dsn(inbox.fly(1))
            returned.inbox.deliver(partial(bounce_mail, whole), whole)
            inbox.fly(2)
            inbox.deliver(1)
            inbox.inbox.deliver(other_mail)
            await asyncio.sleep(60)
        assert sorted(type(event).__name__ for event in heard) == ["Arrival", "Bounce"]
        assert [event for event in heard if isinstance(event, Arrival)] == inbox.arrivals()
        assert [event for event in heard if isinstance(event, Bounce)] == returned.bounces()

    play(story)


def test_what_the_spool_does_not_take_is_not_heard_of(inline_spool: InlineSpool) -> None:
    heard: list[Arrival | Bounce] = []

    async def story() -> None:
        bench = Bench(inline_spool, virtual_clock())
        bench.reader.hear = heard.extend
        async with bench.watching():
            await asyncio.sleep(1)
            bench.fly(1)
            bench.deliver()
            inline_spool.problem = "spool: could not write (disk full)"
            await asyncio.sleep(60)
            assert heard == []
            inline_spool.problem = None
            await asyncio.sleep(60)
        assert heard == bench.arrivals() != []

    play(story)
