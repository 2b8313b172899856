"""What a folder watch makes of connections that fail and servers that refuse, in virtual time."""

import asyncio
from functools import partial
from itertools import pairwise

from structlog.testing import capture_logs

from probes.contract.stages import Reason, Stage
from probes.imap import ImapFailure, ImapStage
from tests.agent.fakes import (
    InlineSpool,
    S,
    canary_mail,
)
from tests.agent.mailbox.benches import (
    BAD_PASSWORD,
    CLOSED,
    NO_CONNECTION,
    Bench,
    play,
    virtual_clock,
)


def test_after_a_lost_connection_nothing_is_missed_or_counted_twice(
    inline_spool: InlineSpool,
) -> None:
    async def story() -> None:
        bench = Bench(inline_spool, virtual_clock())
        bench.inbox.uidplus = False
        async with bench.watching():
            await asyncio.sleep(1)
            for number in (1, 2, 3):
                bench.fly(number)
            bench.deliver(1)
            await asyncio.sleep(0.5)
            bench.inbox.dies = CLOSED
            last_seen = bench.watch.folders["INBOX"].checked
            await asyncio.sleep(20)
            bench.inbox.deliver(partial(canary_mail, inline_spool.store.flights()[0]))
            await asyncio.sleep(20)
            assert bench.watch.folders["INBOX"].state == "down"
            bench.inbox.dies = None
            await asyncio.sleep(60)
        first, second = bench.arrivals()
        assert (first.uid, second.uid) == (1, 2)
        assert last_seen is not None
        # Between the last look before the failure and the first after it; so it is not called late.
        assert second.delay.lo < 1.0
        assert second.delay.hi > 40.0
        assert bench.inbox.closed == len(bench.inbox.opens) > 2

    play(story)


def gaps_s(bench: Bench) -> list[float]:
    """Seconds between the attempts to open the inbox."""
    opens = bench.inbox.opens
    return [(b - a) / S for a, b in pairwise(opens)]


def test_a_server_that_is_down_is_tried_ever_more_seldom(inline_spool: InlineSpool) -> None:
    async def story() -> None:
        bench = Bench(inline_spool, virtual_clock())
        bench.inbox.refuses = NO_CONNECTION
        async with bench.watching():
            await asyncio.sleep(600)
        gaps = gaps_s(bench)
        assert gaps[0] <= 0.51
        assert max(gaps) <= 30.1
        assert all(gap >= 15.0 for gap in gaps[-5:])

    play(story)


def test_a_server_that_refuses_the_password_is_left_alone_for_a_minute(
    inline_spool: InlineSpool,
) -> None:
    async def story() -> None:
        bench = Bench(inline_spool, virtual_clock())
        bench.inbox.refuses = BAD_PASSWORD
        async with bench.watching():
            await asyncio.sleep(600)
        assert min(gaps_s(bench)) >= 60.0
        assert len(bench.inbox.opens) == 10

    play(story)


def test_other_words_of_the_server_at_every_try_are_no_news(inline_spool: InlineSpool) -> None:
    async def story() -> None:
        bench = Bench(inline_spool, virtual_clock())
        async with bench.watching():
            for number in range(600):
                said = f"login {number} refused, come back later"
                bench.inbox.refuses = ImapFailure(Stage.AUTH, Reason.REFUSED, said)
                bench.inbox.dies = CLOSED
                bench.fly(1) if number == 0 else None
                await asyncio.sleep(3)
            status = bench.watch.folders["INBOX"]
            assert status.detail is not None
            assert "login 59" in status.detail
            bench.inbox.refuses = ImapFailure(Stage.CONNECT, Reason.TIMEOUT, "no answer")
            await asyncio.sleep(60)

    with capture_logs() as logs:
        play(story)
    told = [(entry["state"], entry["detail"].split(":")[0]) for entry in logs]
    # What it was at first, then every ten minutes in half an hour, then another trouble.
    assert told == [("down", "auth")] * 3 + [("down", "connect")]


def test_a_session_that_lasted_makes_the_next_failure_cheap_again(
    inline_spool: InlineSpool,
) -> None:
    async def story() -> None:
        bench = Bench(inline_spool, virtual_clock())
        bench.inbox.refuses = NO_CONNECTION
        async with bench.watching():
            await asyncio.sleep(300)
            bench.inbox.refuses = None
            await asyncio.sleep(120)
            opens = len(bench.inbox.opens)
            bench.inbox.dies = CLOSED
            bench.fly(1)
            await asyncio.sleep(1)
            bench.inbox.dies = None
            assert len(bench.inbox.opens) > opens

    play(story)


def test_a_server_that_ends_every_session_after_a_look_is_tried_ever_more_seldom(
    inline_spool: InlineSpool,
) -> None:
    async def story() -> None:
        bench = Bench(inline_spool, virtual_clock())
        async with bench.watching():
            for number in range(1, 61):
                # The wait is woken, and the next look finds the connection lost.
                bench.inbox.dies = CLOSED
                bench.fly(number)
                await asyncio.sleep(0.5)
                bench.inbox.dies = None
                await asyncio.sleep(9.5)
        assert len(bench.inbox.opens) <= 30
        assert max(gaps_s(bench)) <= 40.0

    play(story)


def test_a_server_that_refuses_to_push_is_polled_over_the_same_connection(
    inline_spool: InlineSpool,
) -> None:
    async def story() -> None:
        bench = Bench(inline_spool, virtual_clock())
        bench.inbox.refuses_idle = ImapFailure(ImapStage.IDLE, Reason.REFUSED, "NO")
        async with bench.watching():
            await asyncio.sleep(595)
            assert len(bench.inbox.opens) == bench.inbox.idles == 1
            # Twice at the start, then every half a minute.
            assert 20 <= bench.inbox.fetches <= 22
            assert bench.watch.folders["INBOX"].state == "ok"
            bench.inbox.refuses_idle = None
            await asyncio.sleep(605)
            # It is asked again now and then, and believed again.
            assert 2 <= bench.inbox.idles <= 5
            assert len(bench.inbox.opens) == 1
        assert bench.counters["idle_refused"] == 1

    play(story)


def test_a_canary_stuck_where_nothing_is_pushed_costs_no_logins(inline_spool: InlineSpool) -> None:
    async def story() -> None:
        bench = Bench(inline_spool, virtual_clock())
        bench.inbox.refuses_idle = ImapFailure(ImapStage.IDLE, Reason.PROTOCOL, "ended by itself")
        async with bench.watching():
            bench.fly(1)
            await asyncio.sleep(600)
            bench.deliver()
            await asyncio.sleep(60)
        assert len(bench.inbox.opens) == 1
        [event] = bench.arrivals()
        assert event.delay.hi - event.delay.lo < 0.03 * 600

    play(story)
