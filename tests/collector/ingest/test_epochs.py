"""Epochs of one agent: so many in a day, so many in all, and those it has go on."""

from collector.ingest.epochs import Epochs
from collector.log.engine import Mark

DAY_NS = 86_400 * 10**9
NOW_NS = 1_800_000_000_000_000_000


def begin(epochs: Epochs, agent: str, count: int, now_ns: int = NOW_NS) -> None:
    for number in range(count):
        assert epochs.too_many(agent, now_ns) is None
        epochs.begin(agent, f"e{now_ns}-{number}", now_ns)


def test_so_many_in_a_day_and_more_on_the_next() -> None:
    epochs = Epochs(new_per_day=3, kept=100)
    begin(epochs, "sfo", 1)
    begin(epochs, "sfo", 2, NOW_NS + DAY_NS // 2)
    found = epochs.too_many("sfo", NOW_NS + DAY_NS // 2)
    assert found == ("3 epochs of sfo that began within a day", 43_200)
    assert epochs.too_many("fra", NOW_NS) is None
    assert epochs.too_many("sfo", NOW_NS + DAY_NS) is None
    epochs.begin("sfo", "next", NOW_NS + DAY_NS)
    assert epochs.too_many("sfo", NOW_NS + DAY_NS) is not None


def test_so_many_in_all_for_good() -> None:
    epochs = Epochs(new_per_day=2, kept=4)
    begin(epochs, "sfo", 2)
    begin(epochs, "sfo", 2, NOW_NS + DAY_NS)
    found = epochs.too_many("sfo", NOW_NS + 900 * DAY_NS)
    assert found == ("4 epochs of sfo", 3600)


def test_a_clock_that_was_set_back_is_no_way_around() -> None:
    epochs = Epochs(new_per_day=1, kept=9)
    begin(epochs, "sfo", 1, NOW_NS + 400 * DAY_NS)
    found = epochs.too_many("sfo", NOW_NS)
    assert found is not None
    assert found[1] == 86_400


def test_what_the_log_knows_counts_and_what_came_to_nothing_does_not() -> None:
    epochs = Epochs(new_per_day=2, kept=9)
    epochs.begin("sfo", "e2", NOW_NS)
    epochs.load({("sfo", "e1"): Mark(1, 0, NOW_NS, NOW_NS), ("sfo", "e2"): Mark(1, 0, 1, 1)})
    assert epochs.knows("sfo", "e1")
    assert not epochs.knows("fra", "e1")
    assert epochs.too_many("sfo", NOW_NS) is not None
    epochs.forget("sfo", "e1")
    epochs.forget("nobody", "e1")
    assert not epochs.knows("sfo", "e1")
    assert epochs.too_many("sfo", NOW_NS) is None
