"""What a delay by the wall clock may be wrong by: every step that was seen between its two ends."""

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.clock import Moment, elapsed
from agent.wall import NotingClock, WallLog
from tests.agent.fakes import HandClock, S


def wall_only(moment: Moment) -> Moment:
    """What a canary's token tells of its send."""
    return Moment(moment.wall_ns, 0, "")


def test_a_clock_that_nobody_sets_is_off_by_its_own_error(clock: HandClock) -> None:
    log = WallLog()
    log.note(clock.now())
    sent = clock.advance(5)
    log.note(clock.advance(600))
    assert log.error_s(wall_only(sent), 1.0) == 1.0


@pytest.mark.parametrize("step_s", [3600.0, -3600.0, 0.2])
def test_a_step_since_the_send_is_an_error_and_one_before_it_is_not(
    clock: HandClock, step_s: float
) -> None:
    log = WallLog()
    noting = NotingClock(clock, log)
    noting.now()
    before = clock.advance(5)
    noting.now()
    clock.step(step_s)
    noting.now()
    # By the wall clock alone this must not look like a reading of the time before the step.
    clock.advance(7200)
    noting.now()
    after = clock.now()
    clock.advance(5)
    noting.now()
    assert log.error_s(wall_only(before), 1.0) == pytest.approx(1.0 + abs(step_s))
    assert log.error_s(after, 1.0) == 1.0
    if step_s != 3600.0:
        assert log.error_s(wall_only(after), 1.0) == 1.0


def test_a_send_that_may_have_been_before_the_step_is_taken_to_have_been(clock: HandClock) -> None:
    """Set back by ten seconds, the clock shows the same time twice."""
    log = WallLog()
    log.note(clock.now())
    log.note(clock.advance(100))
    clock.step(-10.0)
    log.note(clock.now())
    sent = clock.advance(5)
    log.note(clock.advance(5))
    assert log.error_s(wall_only(sent), 1.0) == pytest.approx(11.0)
    assert log.error_s(sent, 1.0) == pytest.approx(11.0), "within a minute of the last reading"


def test_every_reboot_after_the_first_adds_the_clocks_error(clock: HandClock) -> None:
    log = WallLog()
    sent = clock.now()
    log.note(sent)
    for reboots in (1, 2, 3):
        clock.advance(300)
        clock.reboot()
        log.note(clock.now())
        assert log.error_s(sent, 1.5) == 1.5 * reboots


def test_what_was_seen_outlives_the_process(clock: HandClock) -> None:
    log = WallLog()
    sent = clock.now()
    log.note(sent)
    dumped = log.dump()
    clock.advance(60)
    clock.step(-500.0)
    again = WallLog()
    again.note(clock.now())
    assert again.error_s(sent, 1.0) == 1.0
    again.resume(dumped, clock.now())
    assert again.error_s(sent, 1.0) == pytest.approx(501.0)


async def test_a_step_is_told_once(clock: HandClock) -> None:
    log = WallLog()
    log.note(clock.now())
    await log.stepped()
    log.note(clock.advance(60))
    waiting = asyncio.create_task(log.stepped())
    await asyncio.sleep(0)
    assert not waiting.done()
    clock.step(0.5)
    log.note(clock.now())
    await waiting
    log.resume(log.dump(), clock.advance(1))
    clock.step(0.5)
    log.resume(log.dump(), clock.now())
    await log.stepped()


def test_a_send_that_no_stretch_holds_may_be_wrong_by_all_that_is_known(clock: HandClock) -> None:
    log = WallLog()
    log.note(clock.now())
    clock.step(50.0)
    log.note(clock.advance(1))
    for sent in (Moment(S, 0, ""), Moment(S, S, "a boot of long ago")):
        assert log.error_s(sent, 1.0) == pytest.approx(51.0)
    assert WallLog().error_s(Moment(S, 0, ""), 1.0) == 1.0


def test_no_more_is_kept_than_is_of_use(clock: HandClock) -> None:
    log = WallLog()
    for _ in range(1000):
        clock.step(1.0)
        log.note(clock.advance(1))
    assert len(log.dump()) < 50_000


MOVES = st.lists(
    st.tuples(
        st.sampled_from(["wait", "step", "reboot", "restart"]),
        st.floats(-5000, 5000, allow_nan=False),
    ),
    max_size=12,
)


@given(before=MOVES, after=MOVES)
def test_the_interval_holds_the_truth_however_the_clock_was_set(
    before: list[tuple[str, float]], after: list[tuple[str, float]]
) -> None:
    clock = HandClock()
    log = WallLog()

    def move(what: str, amount: float) -> None:
        nonlocal log
        if what == "wait":
            # The agent reads its clocks at least with every heartbeat.
            for _ in range(min(6, int(abs(amount)) // 10)):
                log.note(clock.advance(10))
        elif what == "step":
            clock.step(amount)
            log.note(clock.now())
        elif what == "reboot":
            log.note(clock.now())
            clock.reboot()
            log.note(clock.now())
        else:
            dumped, log = log.dump(), WallLog()
            log.resume(dumped, clock.now())

    log.note(clock.now())
    for one in before:
        move(*one)
    sent, true_s = clock.now(), clock.true_s
    log.note(sent)
    for one in after:
        move(*one)
    now = clock.now()
    for known in (sent, wall_only(sent)):
        told = elapsed(known, now, wall_error_s=log.error_s(known, 1.0))
        truth_s = clock.true_s - true_s
        assert told.seconds - told.error_s <= truth_s + 1e-3
        assert truth_s - 1e-3 <= told.seconds + told.error_s


# --- how long the machine ran ---------------------------------------------------------------


def test_within_a_boot_it_ran_exactly_as_long_as_passed(clock: HandClock) -> None:
    log, sent = WallLog(), clock.now()
    clock.step(-4000.0)
    assert log.ran_s(sent, clock.advance(7.5)) == 7.5


def test_across_boots_it_is_what_each_of_them_was_seen_to_run(clock: HandClock) -> None:
    log = WallLog()
    noting = NotingClock(clock, log)
    noting.now()
    clock.advance(50)
    sent = noting.now()
    clock.advance(10)
    noting.now()
    clock.step(3600.0)
    clock.advance(10)
    noting.now()
    for off_s, up_s in ((86_400.0, 30.0), (5.0, 40.0)):
        clock.advance(off_s)
        clock.reboot()
        clock.step(-500_000.0)
        noting.now()
        clock.advance(up_s)
        noting.now()
    # A boot's clock begins a second before it is first read.
    assert log.ran_s(sent, noting.now()) == pytest.approx(20 + 31 + 41)


def test_of_a_boot_that_nobody_knows_nothing_counts(clock: HandClock) -> None:
    log = WallLog()
    log.note(clock.now())
    clock.reboot()
    log.note(clock.advance(9))
    for sent in (Moment(0, 0, ""), Moment(0, 0, "long ago")):
        assert log.ran_s(sent, clock.now()) == 10.0


@given(st.lists(st.tuples(st.floats(0, 1e5), st.floats(0, 1e5), st.floats(-1e6, 1e6)), max_size=5))
def test_it_never_ran_for_longer_than_time_passed(
    lives: list[tuple[float, float, float]],
) -> None:
    clock, log = HandClock(), WallLog()
    sent, began_s, boots = clock.now(), clock.true_s, 0
    log.note(sent)
    for up_s, off_s, step_s in lives:
        log.note(clock.advance(up_s))
        clock.advance(off_s)
        clock.reboot()
        clock.step(step_s)
        boots += 1
        log.note(clock.now())
    # Each boot of these clocks begins a second before it is first read.
    assert log.ran_s(sent, clock.now()) <= clock.true_s - began_s + boots + 1e-6
