"""Sends one canary through each selected path and waits until all are accounted for."""

import asyncio
import re
import tempfile
from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from agent.agent import Agent, Limits
from agent.assignment import Assignment
from agent.embedded import embedded
from agent.policy.models import PolicyFile
from agent.schedule import Once
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

_TICK_S = 0.05
_TIDY_S = 3.0
_NAME_MAX = 63


class ShotError(MailcanaryError):
    """The shot cannot be fired as asked."""

    exit_code = 2


@dataclass(slots=True)
class Flown:
    """What became of one canary of the shot."""

    path: CanaryPath
    story: Story
    submission: Submission | None = None
    arrival: Arrival | None = None
    bounce: Bounce | None = None

    @property
    def verdict(self) -> Verdict:
        """The outcome so far."""
        return self.story.verdict()


@dataclass(frozen=True, slots=True)
class Shot:
    """The result of a shot: a canary per path, and how the reading of the mailboxes went."""

    flown: tuple[Flown, ...]
    mailboxes: Mapping[str, MailboxHealth]
    waited_s: float


def select(
    paths: Collection[PathPlan], relays: Collection[str], mailboxes: Collection[str]
) -> list[PathPlan]:
    """The paths through those relays and to those mailboxes; no names means all.

    Raises:
        ShotError: a name that no path has, all such names at once.
    """
    unknown = [
        f"--{what} {name}: found no path with it, allowed is one of {', '.join(known)}"
        for what, wanted, known in (
            ("relay", relays, sorted({plan.path.relay for plan in paths})),
            ("mailbox", mailboxes, sorted({plan.path.mailbox for plan in paths})),
        )
        for name in wanted
        if name not in known
    ]
    if unknown:
        raise ShotError("\n".join(unknown))
    return [
        plan
        for plan in paths
        if (not relays or plan.path.relay in relays)
        and (not mailboxes or plan.path.mailbox in mailboxes)
    ]


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


def renamed(assignment: Assignment, plans: Collection[PathPlan], tag: str) -> Assignment:
    """The assignment for one shot, under a name of its own.

    A running agent of the same name, or another shot, would otherwise take this shot's canaries
    for its own and delete them before they were seen here.
    """
    suffix = f".probe-{tag}"
    base = re.sub(r"[^a-z0-9]+$", "", assignment.agent[: _NAME_MAX - len(suffix)])
    name = base + suffix
    paths = tuple(
        replace_agent(plan, CanaryPath(name, plan.path.relay, plan.path.mailbox)) for plan in plans
    )
    wanted = {plan.path.mailbox for plan in plans} | {assignment.bounces}
    return replace(
        assignment,
        agent=name,
        paths=paths,
        mailboxes={k: v for k, v in assignment.mailboxes.items() if k in wanted},
    )


def replace_agent(plan: PathPlan, path: CanaryPath) -> PathPlan:
    """The same plan for another path."""
    return PathPlan(
        path=path,
        period_s=plan.period_s,
        phase_s=plan.phase_s,
        deadline_s=plan.deadline_s,
        loss_after_s=plan.loss_after_s,
        jitter_s=plan.jitter_s,
    )


class _Results:
    """Gathers the shot's events."""

    def __init__(self) -> None:
        self.flown: dict[str, Flown] = {}
        self.mailboxes: dict[str, MailboxHealth] = {}
        self.news = asyncio.Event()

    def take(self, event: Event | Unknown) -> None:
        self.news.set()
        if isinstance(event, Heartbeat):
            self.mailboxes.update(event.mailboxes)
        elif isinstance(event, Intent):
            self.flown[event.canary] = Flown(event.path, Story().fold(event))
        elif isinstance(event, Submission | Arrival | Expiry | Bounce):
            flown = self.flown.get(event.canary)
            if flown is None:
                return
            flown.story = flown.story.fold(event)
            if isinstance(event, Submission):
                flown.submission = event
            elif isinstance(event, Arrival):
                flown.arrival = flown.arrival or event
            elif isinstance(event, Bounce):
                flown.bounce = event

    def settled(self, count: int) -> bool:
        """Whether every canary has an outcome, and its attempt's own end is known."""
        return len(self.flown) == count and all(
            flown.submission is not None and flown.verdict.outcome is not Outcome.PENDING
            for flown in self.flown.values()
        )


async def shoot(
    assignment: Assignment,
    policy: PolicyFile,
    environment: Mapping[str, str],
    *,
    wait_s: float,
    version: str,
) -> Shot:
    """Send one canary per path of ``assignment``, and wait for at most ``wait_s``.

    Raises:
        SpoolError: no temporary file can be written.
        SecretError: a signing key cannot be read.
    """
    results = _Results()
    loop = asyncio.get_running_loop()
    start = loop.time()
    with tempfile.TemporaryDirectory(prefix="mailcanary-probe-") as state:
        async with embedded(
            assignment,
            policy,
            environment,
            Path(state),
            results.take,
            version=version,
            limits=Limits(heartbeat_s=0.5, grace_s=0.0),
            slots=Once(assignment.paths),
        ) as agent:
            await _settle(results, len(assignment.paths), wait_s)
            waited_s = loop.time() - start
            await _tidy(agent, loop)
        await asyncio.sleep(0)
    flown = tuple(sorted(results.flown.values(), key=lambda one: one.path))
    return Shot(flown, results.mailboxes, waited_s)


async def _settle(results: _Results, count: int, wait_s: float) -> None:
    """Wait until all canaries are accounted for, for at most ``wait_s``."""
    try:
        async with asyncio.timeout(wait_s):
            while not results.settled(count):
                results.news.clear()
                await results.news.wait()
    except TimeoutError:
        pass


async def _tidy(agent: Agent, loop: asyncio.AbstractEventLoop) -> None:
    """Give the agent time to delete what has arrived."""
    end = loop.time() + _TIDY_S
    while agent.garbage and loop.time() < end:  # noqa: ASYNC110 - a short wait at the very end
        await asyncio.sleep(_TICK_S)
