"""What goes wrong when, in one simulated schedule: all of it drawn from the seed."""

import random
from dataclasses import dataclass, field, replace
from typing import Literal

RELAYS = ("relay-a", "relay-b", "relay-c")
MAILBOXES = ("acme/inbox", "globex/inbox")
BOUNCES = "monitor/bounces"
BOXES = (*MAILBOXES, BOUNCES)

RELAY_SPELLS = (
    "blackhole", "refused", "hang", "close", "reject", "defer", "accept-hang", "accept-close",
    "hold", "lose", "dup", "slow", "junk", "dsn", "dsn-delay",
)  # fmt: skip
IMAP_SPELLS = ("imap-down", "imap-hang", "imap-flaky", "imap-login", "deaf", "renumber")
DISK_SPELLS = ("disk-full", "disk-slow")
POINTS = ("commit-before", "commit-after", "send", "dot", "dotted", "fetched", "deleted", "ack")

End = Literal["kill", "stop", "reboot", "corrupt"]
_ENDS: tuple[End, ...] = ("kill", "stop", "reboot", "corrupt")


@dataclass(frozen=True, slots=True)
class Spell:
    """A fault that lasts: what, where, from when until when (true seconds), with which odds."""

    what: str
    where: str
    start_s: float
    end_s: float
    odds: float = 1.0


@dataclass(frozen=True, slots=True)
class LifePlan:
    """One life of the process: until when at most, how it ends, how long the agent is down then.

    ``points``: moments at which it dies earlier, by the number of times that each is passed.
    """

    until_s: float
    end: End
    down_s: float
    points: dict[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Scenario:
    """Everything that is decided before the first event. Times in true seconds."""

    seed: int
    active_s: float
    lives: tuple[LifePlan, ...]
    spells: tuple[Spell, ...]
    steps: tuple[tuple[float, float], ...]
    stalls: tuple[tuple[float, float], ...]
    period_s: float
    has_junk: bool
    has_idle: bool
    exports: bool
    rotates: bool
    per_relay: int
    foreign_every_s: float
    loss_after_s: float
    commands_per_minute: float = 600.0
    tail_s: float = 100.0
    """How long the quiet end lasts, besides the time until the last canary is lost."""
    default_limits: bool = False
    """Whether the agent looks as often as it does in production."""
    reassigns: tuple[tuple[float, int], ...] = ()
    """When the running agent gets a new assignment, and the number by which that is made."""

    @property
    def whats(self) -> set[str]:
        """Kinds of spells that occur."""
        return {spell.what for spell in self.spells}

    @property
    def ends(self) -> set[str]:
        """How lives end."""
        return {life.end for life in self.lives}


BASE = Scenario(
    seed=1,
    active_s=60.0,
    lives=(LifePlan(60.0, "stop", 0.1),),
    spells=(),
    steps=(),
    stalls=(),
    period_s=8.0,
    has_junk=True,
    has_idle=True,
    exports=False,
    rotates=False,
    per_relay=20,
    foreign_every_s=1e9,
    loss_after_s=30.0,
)
"""A schedule in which nothing happens, to write others from."""


def _lives(rng: random.Random, active_s: float, *, many: bool) -> tuple[LifePlan, ...]:
    count = rng.randint(8, 20) if many else rng.choice((1, 2, 2, 3, 4, 6))
    cuts = sorted(rng.uniform(1.0, active_s) for _ in range(count - 1))
    lives = []
    for cut in cuts:
        end = rng.choices(_ENDS, (60, 25, 12, 3))[0]
        points = {}
        if end in ("kill", "reboot") and rng.random() < 0.7:
            points[rng.choice(POINTS)] = 1 + int(rng.expovariate(1 / 15))
        down = rng.choice((0.0, 1.0, rng.expovariate(1 / 20.0)))
        lives.append(LifePlan(cut, end, down, points))
    lives.append(LifePlan(active_s, "stop", 0.1))
    return tuple(lives)


def _spells(rng: random.Random, active_s: float) -> tuple[Spell, ...]:
    spells = []
    for _ in range(rng.choice((0, 2, 4, 6, 10))):
        start = rng.uniform(-10.0, active_s)
        end = min(active_s, start + rng.choice((5.0, 20.0, 60.0, 120.0)) * rng.random())
        kind = rng.choices(("relay", "imap", "disk"), (5, 4, 2))[0]
        odds = rng.choice((1.0, 1.0, 0.5, 0.2))
        if kind == "relay":
            what, where = rng.choice(RELAY_SPELLS), rng.choice(RELAYS)
        elif kind == "imap":
            what, where = rng.choice(IMAP_SPELLS), rng.choice(BOXES)
            odds = min(odds, 0.5) if what == "imap-flaky" else 1.0
        else:
            what, where = rng.choice(DISK_SPELLS), "disk"
            odds = 1.0
        spells.append(Spell(what, where, start, end, odds))
    return tuple(sorted(spells, key=lambda spell: spell.start_s))


def _steps(rng: random.Random, active_s: float, size_s: float) -> tuple[tuple[float, float], ...]:
    return tuple(
        sorted(
            (rng.uniform(0.0, active_s), rng.choice((-1, 1)) * rng.choice((0.1, 0.5, 1.0)) * size_s)
            for _ in range(rng.randint(1, 3))
        )
    )


def draw(seed: int) -> Scenario:
    """The scenario of that seed."""
    rng = random.Random(seed)  # noqa: S311 - a simulation must repeat
    active_s = rng.choice((40.0, 60.0, 100.0, 180.0))
    lives = _lives(rng, active_s, many=rng.random() < 0.1)
    steps: tuple[tuple[float, float], ...] = ()
    stalls: tuple[tuple[float, float], ...] = ()
    if rng.random() < 0.3:
        # Across a reboot only the wall clock tells, so where one happens it is only a little off.
        rebooting = any(life.end == "reboot" for life in lives)
        steps = _steps(rng, active_s, 0.1 if rebooting else rng.choice((0.2, 30.0, 3600.0)))
    if rng.random() < 0.1:
        stalls = ((rng.uniform(0.0, active_s), rng.choice((2.0, 20.0, 90.0))),)
    return Scenario(
        seed=seed,
        active_s=active_s,
        lives=lives,
        spells=_spells(rng, active_s),
        steps=steps,
        stalls=stalls,
        period_s=rng.choice((8.0, 20.0, 40.0)),
        has_junk=rng.random() < 0.6,
        has_idle=rng.random() < 0.7,
        exports=rng.random() < 0.25,
        rotates=rng.random() < 0.3,
        per_relay=rng.choice((1, 2, 20, 20)),
        foreign_every_s=rng.choice((5.0, 20.0, 1e9)),
        loss_after_s=rng.choice((30.0, 60.0)),
        commands_per_minute=rng.choice((600.0, 600.0, 60.0)),
    )


def reassigning(seed: int) -> Scenario:
    """The scenario of that seed, in which the agent gets new assignments at random moments."""
    scenario = draw(seed)
    rng = random.Random(f"reassigning {seed}")  # noqa: S311 - a simulation must repeat
    moments = (rng.uniform(0.0, scenario.active_s) for _ in range(rng.randint(2, 12)))
    changes = tuple((moment, rng.getrandbits(32)) for moment in sorted(moments))
    return replace(scenario, reassigns=changes)
