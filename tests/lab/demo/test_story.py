"""The demo's plot and its summary."""

import pytest

from lab.demo.picture import Picture
from lab.demo.story import (
    DEFAULT_DURATION_S,
    FILTERED,
    MAX_DURATION_S,
    MIN_DURATION_S,
    Times,
    plot,
    relays,
    summary,
)

S = 1_000_000_000


@pytest.mark.parametrize("duration", [MIN_DURATION_S, DEFAULT_DURATION_S, MAX_DURATION_S])
def test_the_plot_is_in_order_and_ends_within_ninety_seconds(duration: float) -> None:
    story = plot(duration)
    assert 0 < story.filter_at < story.release_at < story.end_at < story.give_up_at <= 88


@pytest.mark.parametrize("duration", [0.0, MIN_DURATION_S - 0.1, MAX_DURATION_S + 0.1])
def test_a_story_too_short_or_too_long_is_refused(duration: float) -> None:
    with pytest.raises(ValueError, match="allowed are 15 s to 80 s"):
        plot(duration)


def test_ten_relays_of_two_providers_in_more_than_one_zone() -> None:
    specs = relays()
    assert len(specs) == 10
    assert len({spec.labels["provider"] for spec in specs}) == 2
    assert len({spec.labels["zone"] for spec in specs}) > 1
    assert set(FILTERED) < {spec.name for spec in specs}


def test_the_time_to_see_counts_only_when_all_filtered_relays_were_seen() -> None:
    picture = Picture([spec.name for spec in relays()])
    picture.first_seen_ns = {"relay-b2": 105 * S}
    times = Times(filtered_ns=100 * S, released_ns=120 * S)
    assert summary(picture, times, FILTERED)["time_to_see_s"] is None
    picture.first_seen_ns["relay-b3"] = 107 * S
    result = summary(picture, times, FILTERED)
    assert result["time_to_see_s"] == 7.0
    assert result["relays_hit"] == ["relay-b2", "relay-b3"]
    assert result["sent"] == 0
