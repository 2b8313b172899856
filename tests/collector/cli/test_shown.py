"""The text of ``mailcanary show``: readable in 80 columns, and nothing left out."""

from typing import Any

import pytest

from collector.cli.shown import (
    delay,
    delivered,
    duration,
    list_lines,
    moment,
    printable,
    series_lines,
    story_lines,
    table,
    worst_p99,
)
from probes.contract.outcome import Outcome

T0_S = 1_760_000_000  # 2025-10-09 08:53:20 UTC
WIDTHS = (80, 120)


def bounds(lo: float, hi: float | None) -> dict[str, float | None]:
    return {"lo": lo, "hi": hi}


def figures(p99: Any = None, *, rare: int = 0, **outcomes: int) -> dict[str, Any]:
    """Figures as the API gives them, as far as they are shown."""
    return {
        "canaries": sum(outcomes.values()),
        "outcomes": {outcome.value: outcomes.get(outcome.value, 0) for outcome in Outcome},
        "p50": bounds(0.004, 0.004),
        "p90": bounds(0.9, 1.2),
        "p99": p99,
        "order": {"reordered": rare},
        "duplicates": rare,
        "junk": rare,
    }


def answer(tier: int, *points: dict[str, Any]) -> dict[str, Any]:
    found = [{"start_s": T0_S + n * tier, "figures": it} for n, it in enumerate(points)]
    return {"dimension": "relay", "key": "relay-a", "tier": tier, "points": found}


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.0, "0 ms"), (0.0004, "0.4 ms"), (0.004, "4 ms"), (0.0123, "12 ms"), (0.9996, "1 s"),
        (1.0, "1 s"), (1.234, "1.2 s"), (9.96, "10 s"), (119.0, "119 s"), (4000.0, "67 min"),
        (5400.0 * 2, "3 h"), (518_400.0, "6 d"),
    ],
)  # fmt: skip
def test_a_duration(seconds: float, text: str) -> None:
    assert duration(seconds) == text


@pytest.mark.parametrize(
    ("interval", "text"),
    [
        (None, "-"),
        (bounds(1.21, 1.24), "1.2 s"),
        (bounds(1.0, 2.0), "1-2 s"),
        (bounds(0.9, 1.2), "900 ms-1.2 s"),
        (bounds(0.0003, 0.004), "0.3-4 ms"),
        (bounds(60.0, None), "over 60 s"),
    ],
)
def test_a_delay_claims_no_more_than_its_interval(interval: Any, text: str) -> None:
    assert delay(interval) == text


def test_a_time_is_as_short_as_it_can_be() -> None:
    texts = [moment(T0_S, tier) for tier in (60, 3600, 86400)]
    assert texts == ["08:53:20", "10-09 08:53", "2025-10-09"]


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("tier", [60, 3600, 86400])
def test_a_series_in_which_everything_happened(width: int, tier: int) -> None:
    all_kinds = dict.fromkeys((outcome.value for outcome in Outcome), 123_456)
    busy = figures(bounds(0.9, 1.2), rare=98_765, **all_kinds)
    lines = series_lines(answer(tier, busy, figures(delivered=1)), width)
    assert max(map(len, lines)) <= width
    text = "\n".join(lines)
    for heading in (*all_kinds, "canaries", "p50", "p90", "p99", "reordered", "duplicates", "junk"):
        assert text.split().count(heading) == 1, heading
    assert "…" not in text
    # Each stretch stands in one line of each table, and each begins with its time.
    assert text.count(moment(T0_S, tier)) in (
        text.count("sent (UTC)"),
        1 + text.count("sent (UTC)"),
    )
    assert text.split().count("123456") == len(all_kinds)


@pytest.mark.parametrize("width", WIDTHS)
def test_the_usual_series_is_one_table(width: int) -> None:
    usual = figures(bounds(0.3, 0.4), delivered=118, late=1, lost=1)
    lines = series_lines(answer(60, usual, figures(delivered=120)), width)
    assert lines[0] == "relay relay-a, from 2025-10-09 08:53 UTC"
    assert lines[2].split() == [
        "sent", "(UTC)", "canaries", "delivered", "late", "lost", "p50", "p90", "p99",
    ]  # fmt: skip
    assert lines[3].split()[:5] == ["08:53:20", "120", "118", "1", "1"]
    assert len(lines) == 5


def test_columns_end_below_each_other_and_what_has_no_room_follows() -> None:
    lines = table(["name", "one", "two"], [["a", "10", "200000000"], ["bb", "3", "-"]], 16)
    assert lines == [
        "name  one",
        "a      10",
        "bb      3",
        "",
        "name        two",
        "a     200000000",
        "bb            -",
    ]
    assert table(["name"], [["a"]], 2) == ["name", "a"]


@pytest.mark.parametrize("width", WIDTHS)
def test_a_list_of_relays(width: int) -> None:
    found = {
        "relay-a": [figures(bounds(1.0, 1.0), delivered=999), figures(bounds(2, 2), late=1)],
        "relay-with-a-rather-long-name.example.net": [],
    }
    lines = list_lines("relay", found, T0_S, width)
    assert max(map(len, lines)) <= width
    assert lines[0] == "relays, from 10-09 08:53 UTC"
    assert lines[2].split() == ["relay", "canaries", "delivered", "p99"]
    assert lines[3].split() == ["relay-a", "1000", "99.9", "%", "2", "s"]
    assert lines[4].split()[1:] == ["0", "-", "-"]


def test_what_has_not_ended_is_no_failure_and_one_failure_is_not_rounded_away() -> None:
    assert delivered([figures(delivered=3, pending=2, unknown=1, unsent=4)]) == "100.0 %"
    assert delivered([figures(delivered=99_999, lost=1)]) == "99.9 %"
    assert delivered([figures(pending=1)]) == "-"


def test_a_p99_that_losses_took_away_is_not_that_of_the_hour_before() -> None:
    good, waiting = figures(bounds(1.0, 1.0), delivered=9), figures(pending=3)
    assert worst_p99([good, waiting]) == bounds(1.0, 1.0)
    assert worst_p99([good, figures(lost=3, delivered=1)]) is None
    assert worst_p99([good, figures(bounds(0.5, None), delivered=1)]) == bounds(0.5, None)
    assert worst_p99([]) is None


def story(*events: tuple[float, dict[str, Any]]) -> dict[str, Any]:
    row = {
        "canary": "5f" * 16,
        "path": {"agent": "sfo", "relay": "relay-a", "mailbox": "acme/inbox"},
        "labels": ["relay:provider=aws"],
        "verdict": {
            "outcome": "late", "timing": "late", "stage": None, "reason": None,
            "delay": bounds(61.0, 62.0),
        },
    }  # fmt: skip
    told = [
        {"kind": event["kind"], "ingested_at_ns": round((T0_S + at) * 10**9), "event": event}
        for at, event in events
    ]
    return {"canary": row, "events": told}


@pytest.mark.parametrize("width", WIDTHS)
def test_a_story(width: int) -> None:
    submission = {
        "kind": "submission",
        "sent_ns": T0_S * 10**9 + 5_000_000,
        "sent_boot_ns": 77,
        "phases": {"connect": 0.004, "data": 1.25},
        "reply": "250 2.0.0 Ok: " + "queued as something " * 12 + "\x1b[31m",
        "detail": None,
    }
    arrival = {"kind": "arrival", "delay": bounds(61.0, 62.0), "hops": [{"by": "mx"}]}
    lines = story_lines(story((0, submission), (62, arrival)), width)
    assert max(map(len, lines)) <= width
    text = "\n".join(lines)
    assert lines[:3] == [
        f"{'5f' * 16}  sfo -> relay-a -> acme/inbox",
        "late, late  61-62 s",
        "relay:provider=aws",
    ]
    assert "taken in (UTC, 2025-10-09)\n08:53:20  submission\n" in text
    assert "    sent: 2025-10-09 08:53:20.005\n" in text
    assert "    phases: connect 4 ms, data 1.2 s\n" in text
    assert "08:54:22  arrival\n    delay: 61-62 s\n" in text
    assert "\x1b" not in text
    assert "boot" not in text
    assert text.count("something") == 12


def test_a_story_over_days_tells_each_day_and_times_of_no_calendar_are_left() -> None:
    lines = story_lines(
        story((0, {"kind": "intent", "at_ns": 10**30}), (90_000, {"kind": "expiry"})), 80
    )
    assert "2025-10-09 08:53:20  intent" in lines
    assert f"    at: {10**30} ns" in lines
    assert "2025-10-10 09:53:20  expiry" in lines
    assert story_lines(story(), 80)[-1] == "relay:provider=aws"


def test_control_characters_are_shown_as_a_question() -> None:
    assert printable("a\x1b[0m\r\nb") == "a?[0m??b"
