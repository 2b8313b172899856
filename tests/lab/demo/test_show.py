"""How the demo looks on a terminal and without one."""

import io

import pytest
from rich.console import Console

from lab.demo.picture import Picture
from lab.demo.show import LiveScreen, PlainScreen, closing, sparkline, table
from lab.demo.story import relays

RESULT = {
    "relays_filtered": ["relay-b2", "relay-b3"],
    "relays_hit": ["relay-b2", "relay-b3"],
    "time_to_see_s": 4.2,
    "sent": 10,
    "delivered": 7,
    "late": 2,
    "lost": 1,
    "reordered": 3,
    "duplicates": 0,
    "pending": 0,
    "unsent": 0,
    "other": {},
}


def test_bars_grow_with_the_delay_and_stop_at_both_ends() -> None:
    assert sparkline([]) == ""
    assert sparkline([0.0, 0.001, 0.01]) == "▁▁▁"
    assert sparkline([10.0, 1000.0]) == "██"
    bars = sparkline([0.01, 0.1, 1.0, 10.0])
    assert list(bars) == sorted(set(bars))


def test_the_closing_words_name_relays_and_counts() -> None:
    text = " ".join(closing(RESULT))
    assert "filtered outbound port 25 on relay-b2, relay-b3" in text
    assert "seen after 4.2 s" in text
    assert "Of 10 canaries 7 were delivered in time, 2 late, 1 lost" in text
    assert "on their way" not in text
    assert "held back" not in text
    unseen = closing({**RESULT, "relays_hit": [], "time_to_see_s": None})
    assert "hit were none; not all of the filtered ones were seen" in " ".join(unseen)


def test_the_closing_words_leave_no_canary_out() -> None:
    result = {
        **RESULT,
        "sent": 16,
        "pending": 3,
        "unsent": 4,
        "other": {"deferred": 2, "unknown": 1},
    }
    text = " ".join(closing(result))
    counts, _, rest = text.partition("Of 16 canaries ")[2].partition(". ")
    assert sum(int(part.split()[0]) for part in counts.split(", ")) == 16, counts
    assert "3 were still on their way at the end" in counts
    assert "2 deferred, 1 unknown" in counts
    assert "4 more were held back and not sent" in rest


def test_plain_lines_carry_no_control_characters() -> None:
    out = io.StringIO()
    picture = Picture([spec.name for spec in relays()])
    with PlainScreen(Console(file=out, width=100), every_s=5.0) as screen:
        screen.say(1.0, "it begins")
        screen.draw(4.9, picture)
        screen.draw(5.0, picture)
        screen.draw(5.1, picture)
    assert out.getvalue().splitlines() == [
        "  1.0 s  it begins",
        "  5.0 s  0 sent, 0 in the air, 0 late so far; overdue: none",
    ]


@pytest.mark.parametrize("width", [80, 100, 140])
def test_the_live_table_has_a_whole_row_for_each_relay(width: int) -> None:
    out = io.StringIO()
    specs = relays()
    picture = Picture([spec.name for spec in specs])
    hit = picture.relays["relay-b2"]
    hit.hit, hit.overdue, hit.late, hit.lost, hit.reordered = True, 111, 222, 333, 444
    hit.delays.extend([0.02] * 24)
    console = Console(file=out, width=width, height=24, force_terminal=True, color_system=None)
    with LiveScreen(console, specs) as screen:
        screen.say(2.0, "it begins")
        screen.draw(2.0, picture)
    shown = out.getvalue()
    assert all(spec.name in shown and spec.labels["zone"] in shown for spec in specs)
    assert all(text in shown for text in ("hit", "it begins", "20 ms", "111", "222", "333", "444"))
    assert all(title in shown for title in ("overdue", "late", "lost", "reordered"))
    assert "…" not in shown


@pytest.mark.parametrize("width", [30, 40, 50, 60, 76])
def test_on_a_small_terminal_columns_go_and_names_stay_whole(width: int) -> None:
    out = io.StringIO()
    specs = relays()
    picture = Picture([spec.name for spec in specs])
    hit = picture.relays["relay-b2"]
    hit.hit, hit.overdue, hit.late, hit.lost, hit.reordered = True, 111, 222, 333, 444
    hit.delays.extend([0.02] * 24)
    Console(file=out, width=width).print(table(picture, specs, width))
    shown = out.getvalue()
    assert "…" not in shown
    assert all(text in shown for text in [*picture.relays, "hit", "overdue", "111"])
    assert max(map(len, shown.splitlines())) <= width
