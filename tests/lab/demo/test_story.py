"""The demo's plot and its summary."""

import random
from typing import Any

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
from probes.contract.events import Arrival, CanaryEvent, Expiry, Intent, Interval, Submission
from probes.contract.names import Path
from probes.contract.stages import Result

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


PATH = Path("demo", "relay-a1", "acme/inbox")


def course(number: int, rng: random.Random) -> list[CanaryEvent]:
    """What may happen to a canary, as far as it has come when the demo ends."""
    canary, at_ns = f"{number:032x}", number * S
    words: dict[str, Any] = {"canary": canary, "path": PATH, "at_ns": at_ns}
    intent = Intent(
        **words, path_seq=number, mailbox_seq=number, stream_epoch="e", due_ns=at_ns,
        deadline_s=2.5, loss_after_s=120.0,
    )  # fmt: skip
    submission = Submission(**words, sent_ns=at_ns, result=rng.choice(list(Result)))
    arrival = Arrival(
        canary=canary, path=PATH, path_seq=number, mailbox_seq=number, stream_epoch="e",
        sent_ns=at_ns, seen_ns=at_ns + S, delay=rng.choice((Interval(0, 1), Interval(9, 9))),
        clock="boottime", folder="INBOX", junk=False, uidvalidity=1, uid=number,
    )  # fmt: skip
    expiry = Expiry(**words, lost=rng.random() < 0.5, watermark_ns=at_ns)
    whole: list[CanaryEvent] = [intent, submission, *rng.choice(([arrival], [expiry], []))]
    return whole[: rng.choice((1, 2, 3, 3))]


@pytest.mark.parametrize("seed", range(20))
def test_every_canary_is_accounted_for(seed: int) -> None:
    rng = random.Random(seed)  # noqa: S311 - a random sequence that repeats
    picture = Picture([spec.name for spec in relays()])
    courses = [course(number, rng) for number in range(1, 2001)]
    for event in (event for events in courses for event in events):
        picture.take(event)
    result = summary(picture, Times(), FILTERED)
    parts = (result["delivered"], result["late"], result["lost"], result["pending"])
    assert result["sent"] == sum(parts) + sum(result["other"].values())
    assert result["sent"] + result["unsent"] == len(courses)
    assert all(count > 0 for count in (*parts, result["unsent"], *result["other"].values()))
    assert result["pending"] == picture.pending
