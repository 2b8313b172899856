"""Clocks: exact within a boot, by the wall across one."""

from agent.clock import NEVER, Moment, SystemClock, WallGuard, at_boot, elapsed
from tests.agent.fakes import HandClock

S = 1_000_000_000


def test_within_a_boot_the_wall_clock_does_not_matter() -> None:
    start, end = Moment(500 * S, 10 * S, "a"), Moment(100 * S, 13 * S, "a")
    assert elapsed(start, end, wall_error_s=1.0).seconds == 3.0
    assert elapsed(start, end, wall_error_s=1.0).clock == "boottime"
    assert elapsed(start, end, wall_error_s=1.0).error_s == 0.0


def test_across_a_reboot_the_wall_clock_tells_with_its_error() -> None:
    told = elapsed(Moment(500 * S, 90 * S, "a"), Moment(530 * S, 2 * S, "b"), wall_error_s=1.5)
    assert (told.seconds, told.clock, told.error_s) == (30.0, "wall", 1.5)


def test_no_boot_is_no_boot_in_common() -> None:
    assert elapsed(Moment(S, 0, ""), Moment(3 * S, 0, ""), wall_error_s=0.5).clock == "wall"
    assert NEVER.boot_id == ""


def test_a_moment_of_this_boot_seen_from_now() -> None:
    assert at_boot(Moment(100 * S, 50 * S, "a"), 48 * S) == Moment(98 * S, 48 * S, "a")
    assert at_boot(Moment(100 * S, 50 * S, "a"), 51 * S) == Moment(101 * S, 51 * S, "a")


def test_the_kernels_clocks_go_forward_in_one_boot() -> None:
    clock = SystemClock()
    first, second = clock.now(), clock.now()
    assert first.boot_id == second.boot_id
    assert len(first.boot_id) == 36
    assert 0 < first.boot_ns <= second.boot_ns
    assert first.wall_ns > 1_600_000_000 * S


# --- what may be believed of the wall clock ------------------------------------------------------

DAY = 86_400.0


def guarded(clock: HandClock) -> WallGuard:
    """A guard that believes the clock as it is set."""
    guard = WallGuard()
    assert guard.believed_ns(clock.now()) is None
    assert guard.believed_ns(clock.advance(600)) == clock.now().wall_ns
    return guard


def test_the_first_reading_must_stand_for_ten_minutes(clock: HandClock) -> None:
    guard = WallGuard()
    assert guard.believed_ns(clock.now()) is None
    assert guard.believed_ns(clock.advance(599)) is None
    clock.step(8 * DAY)
    assert guard.believed_ns(clock.advance(1)) is None
    assert guard.believed_ns(clock.advance(599)) is None
    assert guard.believed_ns(clock.advance(1)) == clock.now().wall_ns


def test_a_jump_ahead_is_believed_only_when_it_has_stood_for_a_day(clock: HandClock) -> None:
    guard = guarded(clock)
    right_ns = clock.now().wall_ns
    clock.step(8 * DAY)
    for hour in range(24):
        assert guard.believed_ns(clock.now()) == right_ns + hour * 3600 * S
        clock.advance(3600)
    assert guard.believed_ns(clock.now()) == clock.now().wall_ns


def test_another_jump_begins_the_day_anew_and_going_back_ends_it(clock: HandClock) -> None:
    guard = guarded(clock)
    clock.step(8 * DAY)
    guard.believed_ns(clock.now())
    clock.advance(0.9 * DAY)
    clock.step(DAY)
    believed = guard.believed_ns(clock.now())
    clock.advance(0.9 * DAY)
    assert guard.believed_ns(clock.now()) == (believed or 0) + round(0.9 * DAY * S)
    clock.step(-9 * DAY)
    assert guard.believed_ns(clock.now()) == clock.now().wall_ns
    clock.step(8 * DAY)
    assert guard.believed_ns(clock.now()) == clock.now().wall_ns - round(8 * DAY * S)


def test_a_clock_that_is_set_back_or_slewed_is_believed_at_once(clock: HandClock) -> None:
    guard = guarded(clock)
    clock.step(-400 * DAY)
    assert guard.believed_ns(clock.now()) == clock.now().wall_ns
    for _ in range(100):
        clock.step(0.5)
        assert guard.believed_ns(clock.advance(10)) == clock.now().wall_ns


def test_a_reboot_asks_for_ten_minutes_again(clock: HandClock) -> None:
    guard = guarded(clock)
    clock.reboot()
    assert guard.believed_ns(clock.now()) is None
    assert guard.believed_ns(clock.advance(600)) == clock.now().wall_ns
