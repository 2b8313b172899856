"""The agent put together: its heartbeat, its bounds, its end, over stand-ins in virtual time."""

import asyncio
from collections.abc import Callable

import pytest

from agent.limits import Limits
from agent.spool.flight import FlightState
from agent.spool.schema import SpoolDamagedError
from agent.wall import WallLog
from probes.contract.config.models import Relay
from probes.contract.events import Intent, Submission, Tick
from probes.contract.stages import Reason, Result
from probes.imap import ImapFailure, ImapStage
from probes.smtp import Mail, SendReport
from tests.agent.fakes import (
    ACCEPTED,
    INBOX,
    FakeSmtp,
    InlineSpool,
    canary_id,
    flight,
)
from tests.agent.mailbox.benches import play, virtual_clock
from tests.agent.stages import Stage


def test_it_sends_on_time_and_beats(inline_spool: InlineSpool) -> None:
    async def story() -> None:
        stage = Stage(inline_spool)
        await asyncio.sleep(55)
        assert await stage.end() < 1
        intents = stage.spool.of(Intent)
        assert 10 <= len(intents) <= 14
        assert all(0 <= one.at_ns - one.due_ns < 1e9 for one in intents)
        assert [beat.lag_s < 1 for beat in stage.beats()] == [True] * 6
        last = stage.beats()[-1]
        # The last 30 s of them are awaited.
        assert 5 <= last.in_flight <= 7
        assert last.mailboxes[INBOX].state == "ok"
        assert last.mailboxes[INBOX].watermark_ns is not None
        assert last.labels == {"site": "sfo"}

    play(story)


def test_canaries_that_never_come_home_are_lost_by_a_check(inline_spool: InlineSpool) -> None:
    async def story() -> None:
        stage = Stage(inline_spool)
        await asyncio.sleep(120)
        counters = stage.beats()[-1].counters
        assert counters["waits_lost"] >= 12
        assert counters["submissions_accepted"] > counters["waits_lost"]
        # 30 s of them at 12 a minute, and no more, are awaited.
        assert stage.beats()[-1].in_flight <= 8
        await stage.end()

    play(story)


def test_a_spool_that_fails_is_told_to_prometheus(inline_spool: InlineSpool) -> None:
    async def story() -> None:
        stage = Stage(inline_spool)
        await asyncio.sleep(15)
        inline_spool.problem = "disk full"
        mails = len(stage.smtp.mails)
        await asyncio.sleep(60)
        assert len(stage.smtp.mails) == mails
        last = stage.agent.health.last
        assert last is not None
        assert last.spool.problem == "disk full"
        assert stage.clock.now().wall_ns - last.at_ns < 15e9
        assert last.counters["intents_refused"] > 5
        inline_spool.problem = None
        await asyncio.sleep(30)
        assert len(stage.smtp.mails) > mails
        assert stage.beats()[-1].spool.problem is None
        await stage.end()

    play(story)


def test_a_spool_past_its_bounds_drops_the_oldest_and_tells(inline_spool: InlineSpool) -> None:
    async def story() -> None:
        stage = Stage(inline_spool, limits=Limits(spool_age_s=3600.0))
        old_ns = stage.clock.now().wall_ns - 7200 * 10**9
        await inline_spool.run(
            lambda store: [store.append(Tick(at_ns=old_ns), old_ns) for _ in range(500)]
        )
        await asyncio.sleep(595)
        assert stage.beats()[-1].spool.dropped == 0
        await asyncio.sleep(20)
        assert stage.beats()[-1].spool.dropped == 500
        assert not stage.spool.of(Tick)
        await stage.end()

    play(story)


def test_a_wall_clock_far_ahead_drops_no_events(inline_spool: InlineSpool) -> None:
    async def story() -> None:
        stage = Stage(inline_spool, limits=Limits(spool_age_s=7200.0))
        await asyncio.sleep(660)
        fresh = len(inline_spool.events())
        stage.clock.step(8 * 86400.0)
        await asyncio.sleep(3600)
        stage.clock.step(-8 * 86400.0)
        await asyncio.sleep(60)
        assert stage.beats()[-1].spool.dropped == 0
        assert len(inline_spool.events()) > fresh
        await stage.end()

    play(story)


def test_the_end_waits_for_canaries_on_their_way_and_then_no_longer(
    inline_spool: InlineSpool,
) -> None:
    async def hang(_relay: Relay, _mail: Mail, _dot: Callable[[], None]) -> SendReport:
        await asyncio.sleep(3600)
        return ACCEPTED

    async def story() -> None:
        stage = Stage(inline_spool, FakeSmtp(hang))
        await asyncio.sleep(20)
        assert 6.9 < await stage.end() < 8
        left = inline_spool.store.flights()
        assert {one.state for one in left} == {FlightState.INTENT}
        assert len(left) == len(stage.smtp.mails) >= 3
        again = Stage(inline_spool)
        await asyncio.sleep(1)
        told = stage.spool.of(Submission)
        interrupted = [one.canary for one in told if one.reason is Reason.INTERRUPTED]
        assert sorted(interrupted) == sorted(one.canary for one in left)
        await again.end()

    play(story)


def test_a_canary_that_is_nearly_done_is_finished_before_the_end(inline_spool: InlineSpool) -> None:
    begun = asyncio.Event()

    async def slow(_relay: Relay, _mail: Mail, dot: Callable[[], None]) -> SendReport:
        begun.set()
        await asyncio.sleep(4)
        dot()
        return ACCEPTED

    async def story() -> None:
        stage = Stage(inline_spool, FakeSmtp(slow))
        await begun.wait()
        sent = len(stage.smtp.mails)
        assert await stage.end() < 5
        told = stage.spool.of(Submission)
        assert [one.result for one in told] == [Result.ACCEPTED] * sent

    play(story)


def test_flights_of_before_are_told_of_when_the_disk_takes_it(inline_spool: InlineSpool) -> None:
    async def story() -> None:
        sent = virtual_clock().now()
        await inline_spool.run(lambda store: store.begin_flight(flight(77, sent=sent), ""))
        stage = Stage(inline_spool)
        await asyncio.sleep(0)
        inline_spool.problem = "disk full"
        await asyncio.sleep(60)
        assert not stage.task.done()
        inline_spool.problem = None
        await asyncio.sleep(60)
        told = stage.spool.of(Submission)
        assert canary_id(77) in {one.canary for one in told if one.reason is Reason.INTERRUPTED}
        await stage.end()

    play(story)


def test_a_step_of_the_wall_clock_is_written_down_at_once_and_outlives_the_run(
    inline_spool: InlineSpool,
) -> None:
    async def story() -> None:
        stage = Stage(inline_spool)
        clock = stage.clock
        await asyncio.sleep(12)
        sent = clock.now()
        clock.step(-40.0)
        # The next reading is the schedule's, within a second; the next heartbeat is at 20 s.
        await asyncio.sleep(2)
        log, walls = WallLog(), inline_spool.store.walls()
        assert walls is not None
        log.resume(walls, clock.now())
        assert log.error_s(sent, 1.0) == pytest.approx(41.0)
        await stage.end()
        clock.step(7.0)
        again = Stage(inline_spool)
        again.clock.step(-33.0)
        await asyncio.sleep(1)
        walls = inline_spool.store.walls()
        assert walls is not None
        log.resume(walls, again.clock.now())
        assert log.error_s(sent, 1.0) == pytest.approx(48.0)
        await again.end()

    play(story)


def test_after_stop_sending_what_is_in_the_air_is_still_awaited(inline_spool: InlineSpool) -> None:
    async def story() -> None:
        stage = Stage(inline_spool)
        await asyncio.sleep(20)
        stage.agent.stop_sending()
        mails = len(stage.smtp.mails)
        await asyncio.sleep(60)
        assert len(stage.smtp.mails) == mails
        assert stage.beats()[-1].counters["waits_lost"] == mails
        await stage.end()

    play(story)


def test_a_clock_that_is_set_back_an_hour_silences_nothing(inline_spool: InlineSpool) -> None:
    async def story() -> None:
        stage = Stage(inline_spool)
        await asyncio.sleep(30)
        before = len(stage.smtp.mails)
        stage.clock.step(-3600)
        await asyncio.sleep(30)
        assert len(stage.smtp.mails) >= before + 5
        await stage.end()

    play(story)


def test_a_spool_that_breaks_while_open_ends_the_agent(inline_spool: InlineSpool) -> None:
    """A restart moves it aside; going on without one would measure nothing, in silence."""

    async def story() -> None:
        stage = Stage(inline_spool)
        await asyncio.sleep(25)

        def break_down() -> None:
            raise SpoolDamagedError("spool: the file is damaged")

        inline_spool.before_run = break_down
        with pytest.raises(SpoolDamagedError, match="damaged"):
            await stage.task

    play(story)


def test_a_fault_of_our_own_in_a_folder_is_its_state_until_it_is_read_again(
    inline_spool: InlineSpool,
) -> None:
    async def story() -> None:
        stage = Stage(inline_spool)
        await asyncio.sleep(1)
        folder = stage.folders.pop((INBOX, "INBOX"))
        folder.dies = ImapFailure(ImapStage.IDLE, Reason.CLOSED, "the server has gone")
        folder.stirred.set()
        await asyncio.sleep(8)
        health = stage.agent.health.beat().mailboxes[INBOX]
        assert (health.state, health.detail) == ("fault", "INBOX: KeyError inside the agent")
        folder.dies = None
        stage.folders[INBOX, "INBOX"] = folder
        await asyncio.sleep(10)
        assert stage.agent.health.beat().mailboxes[INBOX].state == "ok"
        await stage.end()

    play(story)


def test_a_full_disk_shows_for_as_long_as_it_lasts(inline_spool: InlineSpool) -> None:
    """Looking into a full spool works; only writing does not, and that is what counts."""

    async def story() -> None:
        stage = Stage(inline_spool)
        await asyncio.sleep(25)
        database = inline_spool._opened.connection
        pages = database.execute("PRAGMA page_count").fetchone()[0]
        database.execute(f"PRAGMA max_page_count={pages}")
        await asyncio.sleep(60)  # what room its last pages had is used up
        for _ in range(30):
            await asyncio.sleep(1)
            problem = stage.agent.health.now().spool.problem
            assert problem is not None
            assert "full" in problem
        database.execute("PRAGMA max_page_count=1000000")
        await asyncio.sleep(15)
        assert stage.agent.health.now().spool.problem is None
        await stage.end()
        assert stage.beats()[-1].spool.problem is None

    play(story)
