"""The demo's story: when what happens, and what it says at the end. Pure."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from lab.demo.picture import Picture
from lab.specs import MailboxSpec, RelaySpec
from probes.contract.outcome import Outcome

MIN_DURATION_S = 15.0
MAX_DURATION_S = 80.0
DEFAULT_DURATION_S = 45.0


@dataclass(frozen=True, slots=True)
class Plot:
    """The story's times in seconds from its start, and the pace of its canaries.

    ``filter_at`` to ``release_at`` outbound port 25 of two relays is filtered; by ``end_at`` all
    mail should be home; ``give_up_at`` ends the wait for the last of it.
    """

    filter_at: float
    release_at: float
    end_at: float
    give_up_at: float
    interval: str
    deadline: str


def plot(duration_s: float) -> Plot:
    """The plot of a demo that lasts about ``duration_s``.

    Raises:
        ValueError: when it is too short to tell the story, or too long to end in time.
    """
    if not MIN_DURATION_S <= duration_s <= MAX_DURATION_S:
        raise ValueError(
            f"duration: found {duration_s:g} s, allowed are {MIN_DURATION_S:g} s to "
            f"{MAX_DURATION_S:g} s"
        )
    return Plot(
        filter_at=min(8.0, 0.25 * duration_s),
        release_at=0.72 * duration_s,
        end_at=duration_s,
        give_up_at=duration_s + 8.0,
        interval="1500ms",
        deadline="2500ms",
    )


def relays() -> list[RelaySpec]:
    """Ten relays: two make-believe providers with a zone or two each."""
    specs = []
    for letter, provider, zone, count in (
        ("a", "nimbus", "nimbus-west-1", 3),
        ("b", "nimbus", "nimbus-west-2", 3),
        ("c", "stratus", "stratus-east-1", 4),
    ):
        specs += [
            RelaySpec(
                name=f"relay-{letter}{number}",
                labels={"provider": provider, "zone": zone, "pool": "mx"},
                capacity=1200,
            )
            for number in range(1, count + 1)
        ]
    return specs


FILTERED = ("relay-b2", "relay-b3")
"""Two nodes of one provider in one zone, as it happened: their neighbours stay well."""

MAILBOXES = (
    MailboxSpec(name="acme/inbox"),
    MailboxSpec(name="globex/inbox"),
    MailboxSpec(name="initech/inbox"),
)


@dataclass(frozen=True, slots=True)
class Times:
    """When the story's turns really happened, nanoseconds; ``None`` for one that did not."""

    filtered_ns: int | None = None
    released_ns: int | None = None


_TOLD_APART = (
    Outcome.DELIVERED, Outcome.LATE, Outcome.LOST, Outcome.PENDING, Outcome.UNSENT,
)  # fmt: skip


def summary(picture: Picture, times: Times, filtered: tuple[str, ...]) -> Mapping[str, Any]:
    """The result as one JSON-able object.

    ``relays_filtered`` is what the lab did, ``relays_hit`` what was measured; ``time_to_see_s`` is
    the time from the filter to the moment at which the last of the filtered relays was seen, or
    ``None`` if one never was. Every canary is accounted for: ``sent`` is the sum of ``delivered``,
    ``late``, ``lost``, ``pending`` (on its way when the demo ended) and all of ``other``; those
    that the agent held back are ``unsent`` and not among them.
    """
    verdicts = picture.verdicts()
    counts = Counter(verdict.outcome for verdict in verdicts)
    seen = [picture.first_seen_ns[name] for name in filtered if name in picture.first_seen_ns]
    to_see = None
    if times.filtered_ns is not None and len(seen) == len(filtered):
        to_see = round((max(seen) - times.filtered_ns) / 1e9, 2)
    on_time = sorted(
        verdict.delay.hi
        for verdict in verdicts
        if verdict.outcome is Outcome.DELIVERED and verdict.delay is not None
    )
    return {
        "relays_filtered": list(filtered),
        "relays_hit": sorted(picture.first_seen_ns),
        "sent": len(verdicts) - counts[Outcome.UNSENT],
        "delivered": counts[Outcome.DELIVERED],
        "late": counts[Outcome.LATE],
        "lost": counts[Outcome.LOST],
        "reordered": sum(relay.reordered for relay in picture.relays.values()),
        "duplicates": sum(verdict.duplicates for verdict in verdicts),
        "time_to_see_s": to_see,
        "pending": counts[Outcome.PENDING],
        "unsent": counts[Outcome.UNSENT],
        "other": {
            str(outcome): count
            for outcome, count in sorted(counts.items())
            if outcome not in _TOLD_APART
        },
        "late_by_relay": {name: relay.late for name, relay in picture.relays.items() if relay.late},
        "delay_p50_s": round(on_time[len(on_time) // 2], 3) if on_time else None,
    }
