"""What an operation writes is heard of, whatever it is, and what only reads is not."""

from agent.spool.store import Record, Store
from agent.standing.overheard import OverheardSpool
from probes.contract.events import Expiry, decode
from tests.agent.fakes import PATH, HandClock, InlineSpool, canary_id, flight


async def test_what_is_written_is_heard_in_order(
    inline_spool: InlineSpool, clock: HandClock
) -> None:
    heard: list[Record] = []
    spool = OverheardSpool(inline_spool, heard.extend)
    assert spool.epoch == inline_spool.epoch
    draft = flight(1, sent=clock.now())
    await inline_spool.run(lambda store: store.begin_flight(draft, "r1"))
    over = Expiry(canary=canary_id(1), path=PATH, at_ns=1, lost=True, watermark_ns=1)

    def twice(store: Store) -> str:
        store.end_wait(over)
        store.begin_flight(flight(2, sent=clock.now()), "r1")
        return "done"

    assert await spool.run(twice) == "done"
    assert [type(decode(record.body)).__name__ for record in heard] == ["Expiry", "Intent"]
    assert await spool.run(lambda store: len(store.flights())) == 2
    assert len(heard) == 2


async def test_what_left_the_spool_meanwhile_is_no_news(
    inline_spool: InlineSpool, clock: HandClock
) -> None:
    heard: list[Record] = []
    spool = OverheardSpool(inline_spool, heard.extend)
    await inline_spool.run(lambda s: s.begin_flight(flight(1, sent=clock.now()), "r1"))
    await inline_spool.run(lambda store: store.mark_shipped(1))
    await spool.run(lambda store: store.begin_flight(flight(2, sent=clock.now()), "r1"))
    assert [record.seq for record in heard] == [2]
