"""What goes wrong when on the way from the spools to the log: all of it drawn from the seed."""

import random
from dataclasses import dataclass, field
from typing import Literal

from tests.simulation.scenario import Spell

AGENTS = ("sfo", "fra", "nyc")
SEAT = "relay-a"
"""The relay on which all agents sit, and which they look at."""
NET_SPELLS = (
    "refused", "lost", "answer-lost", "cut", "slow", "dup", "damaged", "busy", "unauthorised",
    "nonsense", "cached",
)  # fmt: skip
DISK_SPELLS = ("full", "io", "io-after")
"""``io-after``: the commit comes to the disk, and an error is told all the same."""
POINTS = ("commit-before", "commit-after", "rolled-up", "roll", "rolled")
"""Moments at which a collector dies; a new segment is begun seldom."""
DISKS = ("log", "rollup", "spool")

End = Literal["kill", "damage"]


@dataclass(frozen=True, slots=True)
class Death:
    """When a process is killed at the latest, and for how long it is gone then.

    ``points``: moments at which it dies earlier, by the number of times that each is passed.
    """

    at_s: float
    down_s: float
    points: dict[str, int] = field(default_factory=dict)
    end: End = "kill"


@dataclass(frozen=True, slots=True)
class Scenario:
    """Everything that is decided before the first event. Times in true seconds."""

    seed: int
    active_s: float
    agents: tuple[str, ...]
    spells: tuple[Spell, ...]
    deaths: dict[str, tuple[Death, ...]]
    """By agent, and of the ``collector``."""
    busy_s: float
    """Mean time between what an agent writes down."""
    batch: int
    """The most events in a batch."""
    segment_s: float
    keep_s: float
    """How long the log keeps its segments."""
    trims: tuple[tuple[float, str, float], ...]
    """When which spool keeps only the newest of its events, and which part of them."""
    revisions: tuple[float, ...]
    ticks: bool
    oversize: bool
    feed: int
    """The most entries that the rollup is fed at once."""
    per_minute: int


def _deaths(rng: random.Random, active_s: float, points: tuple[str, ...]) -> tuple[Death, ...]:
    count = rng.choice((0, 0, 1, 1, 2, 4, 8))
    deaths = []
    for at_s in sorted(rng.uniform(0.5, active_s) for _ in range(count)):
        chosen = {}
        if rng.random() < 0.6:
            point = rng.choice(points)
            seldom = point in ("roll", "rolled")
            chosen[point] = 1 if seldom else 1 + int(rng.expovariate(1 / 8))
        end: End = "damage" if "answered" in points and rng.random() < 0.08 else "kill"
        deaths.append(Death(at_s, rng.choice((0.0, 0.5, rng.expovariate(1 / 4.0))), chosen, end))
    return tuple(deaths)


def _spells(rng: random.Random, active_s: float, agents: tuple[str, ...]) -> tuple[Spell, ...]:
    spells = []
    for _ in range(rng.choice((0, 1, 3, 5, 8))):
        start = rng.uniform(-2.0, active_s)
        end = min(active_s, start + rng.choice((2.0, 8.0, 25.0)) * rng.random())
        if rng.random() < 0.7:
            where = "net-" + rng.choice(agents)
            what = rng.choice(NET_SPELLS)
            odds = rng.choice((1.0, 0.5, 0.2))
        else:
            where, what = rng.choice(DISKS), rng.choice(DISK_SPELLS)
            odds = rng.choice((1.0, 0.3))
        spells.append(Spell(what, where, start, end, odds))
    return tuple(sorted(spells, key=lambda spell: spell.start_s))


def draw(seed: int) -> Scenario:
    """The scenario of that seed."""
    rng = random.Random(seed)  # noqa: S311 - a simulation must repeat
    active_s = rng.choice((8.0, 15.0, 25.0))
    agents = AGENTS[: rng.choice((1, 1, 2, 3))]
    deaths = {agent: _deaths(rng, active_s, ("committed", "answered")) for agent in agents}
    deaths["collector"] = _deaths(rng, active_s, POINTS)
    trims = [
        (rng.uniform(1.0, active_s), rng.choice(agents), rng.random())
        for _ in range(rng.choice((0, 0, 0, 1, 2, 4)))
    ]
    keeps = rng.random() < 0.7
    return Scenario(
        seed=seed,
        active_s=active_s,
        agents=agents,
        spells=_spells(rng, active_s, agents),
        deaths=deaths,
        busy_s=rng.choice((0.2, 0.6, 2.0)),
        batch=rng.choice((3, 20, 5000)),
        segment_s=rng.choice((5.0, 20.0, 3600.0)),
        keep_s=1e6 if keeps else rng.choice((5.0, 15.0)),
        trims=tuple(sorted(trims)),
        revisions=tuple(sorted(rng.uniform(0.0, active_s) for _ in range(rng.randint(0, 3)))),
        ticks=rng.random() < 0.25,
        oversize=rng.random() < 0.03,
        feed=rng.choice((1, 7, 50, 5000)),
        per_minute=rng.choice((30, 600, 600)),
    )
