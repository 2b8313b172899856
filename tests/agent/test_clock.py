"""Clocks: exact within a boot, by the wall across one."""

from agent.clock import NEVER, Moment, SystemClock, at_boot, elapsed

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
