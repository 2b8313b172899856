"""The queue benchmark: its lists are what the probe reads, and its memory is measured at all."""

from benchmarks import queue


def test_lists_from_a_file_are_read_whole() -> None:
    long, rate, waited = queue.memory((500, 2_000))
    assert (long.name, long.unit) == ("queue.peak_long", "MiB")
    # An interpreter takes more than this, and a test's process more than that.
    assert 10 < long.value < 100
    assert long.ratio is not None
    assert rate.value > 0
    assert waited.value >= 0
