"""Sends one canary through each selected path and waits until all are accounted for."""

import asyncio
import contextlib
import os
import re
import tempfile
import time
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, replace
from difflib import get_close_matches
from pathlib import Path
from typing import Self

from agent.agent import Agent
from agent.assignment import Assignment
from agent.caps import Caps
from agent.embedded import embedded
from agent.limits import Limits
from agent.policy.models import PolicyFile
from agent.schedule import Slot
from probes.contract.errors import MailcanaryError
from probes.contract.events import (
    Arrival,
    Bounce,
    Event,
    Expiry,
    Heartbeat,
    Intent,
    MailboxHealth,
    Submission,
    Unknown,
)
from probes.contract.names import Path as CanaryPath
from probes.contract.outcome import Outcome, Story, Verdict
from probes.contract.plan import PathPlan
from probes.contract.units import NS_PER_S

TEMPORARY = "mailcanary-probe-"
"""How the names of temporary directories begin."""

_TICK_S = 0.02
_BEAT_S = 0.2
_READY_S = 3.0
_TIDY_S = 3.0
_NAME_MAX = 63
_SHOWN_NAMES = 10


class ShotError(MailcanaryError):
    """The shot cannot be fired as asked."""

    exit_code = 2


@dataclass(slots=True)
class Flown:
    """What became of one canary of the shot; ``begun`` when its intent is on the disk."""

    path: CanaryPath
    story: Story
    deadline_s: float
    begun: bool = False
    submission: Submission | None = None
    arrival: Arrival | None = None
    bounce: Bounce | None = None

    @property
    def verdict(self) -> Verdict:
        """The outcome so far."""
        return self.story.verdict()

    @property
    def home(self) -> bool:
        """Whether it came home, sooner or later."""
        return self.verdict.outcome in (Outcome.DELIVERED, Outcome.LATE)


@dataclass(frozen=True, slots=True)
class Shot:
    """The result of a shot: a canary per path, and how the reading of the mailboxes went.

    ``cut`` says what ended the waiting, when it was neither its result nor the end of its time.
    """

    flown: tuple[Flown, ...]
    mailboxes: Mapping[str, MailboxHealth]
    waited_s: float
    cut: str = ""


def select(
    paths: Collection[PathPlan], relays: Collection[str], mailboxes: Collection[str]
) -> list[PathPlan]:
    """The paths through those relays and to those mailboxes; no names means all.

    Raises:
        ShotError: a name that no path has, all such names at once; or there is no such path.
    """
    if not paths:
        raise ShotError("found no path, allowed is an agent that a rule of some customer selects")
    unknown = [
        f"--{what}: found {name!r}, with which there is no path, allowed is {_one_of(known, name)}"
        for what, wanted, known in (
            ("relay", relays, sorted({plan.path.relay for plan in paths})),
            ("mailbox", mailboxes, sorted({plan.path.mailbox for plan in paths})),
        )
        for name in wanted
        if name not in known
    ]
    if unknown:
        raise ShotError("\n".join(unknown))
    chosen = [
        plan
        for plan in paths
        if (not relays or plan.path.relay in relays)
        and (not mailboxes or plan.path.mailbox in mailboxes)
    ]
    if not chosen:
        raise ShotError(
            "--relay, --mailbox: found no path with both, allowed are relays and mailboxes that a "
            "rule puts together"
        )
    return chosen


def _one_of(known: list[str], name: str) -> str:
    if len(known) <= _SHOWN_NAMES:
        return f"one of {', '.join(known)}"
    near = get_close_matches(name, known) or known[:3]
    return f"one of {len(known)} names, such as {', '.join(near)}"


def check_budgets(plans: Collection[PathPlan], assignment: Assignment) -> None:
    """Refuse a shot that sends a mailbox or a relay more at once than it may get in a minute.

    Raises:
        ShotError: naming each that would get too many.
    """
    over = []
    for kind, limits in (
        ("mailbox", {name: box.max_per_minute for name, box in assignment.mailboxes.items()}),
        ("relay", {name: relay.max_per_minute for name, relay in assignment.relays.items()}),
    ):
        counts: dict[str, int] = {}
        for plan in plans:
            name = plan.path.mailbox if kind == "mailbox" else plan.path.relay
            counts[name] = counts.get(name, 0) + 1
        over += [
            f"{kind} {name}: found {count} canaries at once, allowed is its max_per_minute of "
            f"{limits[name]:g}; select fewer paths with --relay or --mailbox"
            for name, count in sorted(counts.items())
            if count > limits[name]
        ]
    if over:
        raise ShotError("\n".join(over))


def all_at_once(plans: Collection[PathPlan]) -> Caps:
    """Caps that hold none of a shot's canaries back: how many there may be its budgets have said.

    Those of a running agent would leave the 21st to one relay unsent, and nobody sends it later.
    """
    most = max(1, len(plans))
    return Caps(per_relay=most, few=most, sending=most, per_mailbox=most, in_air=most)


def renamed(assignment: Assignment, plans: Collection[PathPlan], tag: str) -> Assignment:
    """The assignment for one shot, under a name of its own.

    A running agent of the same name, or another shot, would otherwise take this shot's canaries
    for its own and delete them before they were seen here.
    """
    suffix = f".probe-{tag}"
    base = re.sub(r"[^a-z0-9]+$", "", assignment.agent[: _NAME_MAX - len(suffix)])
    name = base + suffix
    paths = tuple(
        on_path(plan, CanaryPath(name, plan.path.relay, plan.path.mailbox)) for plan in plans
    )
    wanted = {plan.path.mailbox for plan in plans} | {assignment.bounces}
    return replace(
        assignment,
        agent=name,
        paths=paths,
        mailboxes={k: v for k, v in assignment.mailboxes.items() if k in wanted},
    )


def on_path(plan: PathPlan, path: CanaryPath) -> PathPlan:
    """The same plan for another path."""
    return PathPlan(
        path=path,
        period_s=plan.period_s,
        phase_s=plan.phase_s,
        deadline_s=plan.deadline_s,
        loss_after_s=plan.loss_after_s,
        jitter_s=plan.jitter_s,
    )


class Watch:
    """Gathers what becomes of a shot's canaries; may be looked at at any time."""

    def __init__(self, plans: Collection[PathPlan]) -> None:
        ordered = sorted(plans, key=lambda plan: _natural(plan.path))
        self._flown = {plan.path: Flown(plan.path, Story(), plan.deadline_s) for plan in ordered}
        self._mailboxes: dict[str, MailboxHealth] = {}
        self._news = asyncio.Event()
        self._sent_s = time.monotonic()
        self._cut = ""
        self._waited_s: float | None = None

    def take(self, event: Event | Unknown) -> None:
        """Another event of the shot's agent."""
        if isinstance(event, Heartbeat):
            self._mailboxes.update(event.mailboxes)
        elif isinstance(event, Intent | Submission | Arrival | Expiry | Bounce):
            flown = self._flown.get(event.path)
            if flown is not None:
                _fold(flown, event)
        self._news.set()

    def interrupt(self, why: str) -> None:
        """Wait for nothing any more."""
        self._cut = why
        self._news.set()

    async def ready(self, mailboxes: Collection[str], limit_s: float) -> None:
        """Wait until each of the mailboxes has been read, or cannot be, at most for ``limit_s``.

        What an agent does at its start would otherwise count as the relays' time.
        """
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(limit_s):
                while not self._cut and not self._told_of(mailboxes):
                    self._news.clear()
                    await self._news.wait()
        self._sent_s = time.monotonic()

    def _told_of(self, mailboxes: Collection[str]) -> bool:
        known = self._mailboxes
        return all(name in known and known[name].state != "starting" for name in mailboxes)

    async def settled(self, wait_s: float) -> None:
        """Wait until every canary is accounted for, at most for ``wait_s``."""
        try:
            async with asyncio.timeout(wait_s):
                while not self._cut and not self._all_settled():
                    self._news.clear()
                    await self._news.wait()
            self._waited_s = time.monotonic() - self._sent_s
        except TimeoutError:
            # Timers may ring a moment early; the time asked for is over all the same.
            self._waited_s = max(wait_s, time.monotonic() - self._sent_s)

    def _all_settled(self) -> bool:
        """Whether every canary has an outcome, and its attempt's own end is known."""
        return all(
            flown.submission is not None and flown.verdict.outcome is not Outcome.PENDING
            for flown in self._flown.values()
        )

    def shot(self, cut: str = "") -> Shot:
        """How things stand; ``cut`` is what ends a waiting that is not over."""
        waited_s = self._waited_s
        if waited_s is None:
            waited_s = time.monotonic() - self._sent_s
        else:
            cut = ""
        mailboxes = dict(self._mailboxes)
        return Shot(tuple(self._flown.values()), mailboxes, waited_s, self._cut or cut)


def _natural(path: CanaryPath) -> list[str | int]:
    """Sorts relay-2 before relay-10."""
    parts = re.split(r"([0-9]+)", f"{path.relay} {path.mailbox}")
    return [int(part) if index % 2 else part for index, part in enumerate(parts)]


def _fold(flown: Flown, event: Intent | Submission | Arrival | Expiry | Bounce) -> None:
    flown.story = flown.story.fold(event)
    if isinstance(event, Intent):
        flown.begun = True
    elif isinstance(event, Submission):
        flown.submission = event
    elif isinstance(event, Arrival):
        flown.arrival = flown.arrival or event
    elif isinstance(event, Bounce):
        flown.bounce = event


class Volley:
    """Slots of all paths, due at once when they are let go, and never again."""

    def __init__(self, plans: Collection[PathPlan]) -> None:
        self._held: tuple[PathPlan, ...] = tuple(plans)
        self._plans: tuple[PathPlan, ...] = ()
        self._now_ns = 0

    def let_go(self) -> None:
        """They are due now."""
        self._plans, self._held = self._held, ()

    def next_ns(self) -> int | None:
        """When to ask again; nothing comes after all are gone."""
        return self._now_ns + round(_TICK_S * NS_PER_S) if self._held else None

    def due(self, now_ns: int) -> list[Slot]:
        """All paths once, when they have been let go."""
        self._now_ns = now_ns
        plans, self._plans = self._plans, ()
        return [Slot(plan, now_ns, stale=False) for plan in plans]

    def replaced(self, plans: Iterable[PathPlan], now_ns: int) -> Self:  # noqa: ARG002 - the protocol's signature
        """A single shot's paths are settled."""
        return self


async def shoot(
    assignment: Assignment,
    policy: PolicyFile,
    environment: Mapping[str, str],
    watch: Watch,
    *,
    wait: Callable[[], float],
    version: str,
) -> None:
    """Send one canary per path of ``assignment``, and wait for what becomes of them.

    They are sent when the mailboxes are being read; ``wait``, which is asked then, gives for how
    many seconds they are waited for. ``watch`` knows what became of them.

    Raises:
        SpoolError: no temporary file can be written.
        SecretError: a signing key cannot be read.
    """
    volley = Volley(assignment.paths)
    with tempfile.TemporaryDirectory(prefix=f"{TEMPORARY}{os.getpid()}-") as state:
        async with embedded(
            assignment,
            policy,
            environment,
            Path(state),
            watch.take,
            version=version,
            limits=Limits(heartbeat_s=_BEAT_S, grace_s=0.0, caps=all_at_once(assignment.paths)),
            slots=volley,
        ) as agent:
            await watch.ready(assignment.mailboxes, min(_READY_S, wait() / 4))
            volley.let_go()
            await watch.settled(wait())
            await _tidy(agent)
        # What was handed over last is still to be taken.
        await asyncio.sleep(0)


async def _tidy(agent: Agent) -> None:
    """Give the agent time to delete what has arrived."""
    end_s = time.monotonic() + _TIDY_S
    while agent.garbage and time.monotonic() < end_s:  # noqa: ASYNC110 - a short wait at the very end
        await asyncio.sleep(_TICK_S)
