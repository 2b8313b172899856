"""What the tests of a new assignment for a running agent share: the agent, and what it is told."""

import asyncio
import itertools
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar

from agent.agent import Agent, Limits, Ports
from agent.assignment import Assignment
from probes.contract.config.models import Mailbox
from probes.contract.events import Intent
from probes.contract.names import Path
from probes.contract.plan import PathPlan, due_times_ns
from probes.imap import Message
from tests.agent.fakes import (
    INBOX,
    RING,
    FakeFolder,
    FakeImap,
    FakeSmtp,
    InlineSpool,
    assignment,
    canary_id,
    rng,
)
from tests.agent.mailbox.benches import virtual_clock

T = TypeVar("T")
BOUNCES = "monitor/bounces"
OTHER = "globex/inbox"
OLD_BOUNCES = "monitor/old"
A1, A2 = (PathPlan(Path("sfo", f"relay-a{i}", INBOX), 10.0, 3.0 * i, 5.0, 30.0) for i in (1, 2))
AT_OTHER = PathPlan(Path("sfo", "relay-a1", OTHER), 10.0, 7.0, 5.0, 30.0)


def box(name: str, **imap: Any) -> Mailbox:
    """A mailbox of the fake server."""
    first = assignment().mailboxes[INBOX]
    account = first.imap.model_copy(update={"user": name, **imap})
    customer, _, short = name.partition("/")
    address = f"canary@{customer}.example"
    return first.model_copy(update={"name": short, "address": address, "imap": account})


def work(*paths: PathPlan, revision: str = "r1", **changes: Any) -> Assignment:
    """An assignment with those paths, and the mailboxes that they and the bounces need."""
    names = {plan.path.mailbox for plan in paths} | {BOUNCES}
    boxes = {name: box(name) for name in sorted(names)}
    base = replace(assignment(), paths=paths, mailboxes=boxes, revision=revision)
    return replace(base, **changes)


@dataclass
class Stage:
    """An agent that begins with ``first``; made within a virtual loop."""

    spool: InlineSpool
    first: Assignment
    smtp: FakeSmtp = field(default_factory=FakeSmtp)
    limits: Limits = field(default_factory=Limits)

    def __post_init__(self) -> None:
        self.clock = virtual_clock()
        numbers = itertools.count(1)
        names = (INBOX, OTHER, BOUNCES, OLD_BOUNCES)
        self.folders = {
            (mailbox, name): FakeFolder(self.clock) for mailbox in names for name in ("INBOX", "J")
        }
        self.assigned: list[Assignment] = []
        ports = Ports(
            clock=self.clock,
            spool=self.spool,
            smtp=self.smtp,
            imap=FakeImap(self.folders),
            rng=rng(),
            new_id=lambda: canary_id(next(numbers)),
            assign=self.assign,
        )
        self.agent = Agent(self.first, RING, ports, "1", self.limits)
        self.stop = asyncio.Event()
        self.task = asyncio.create_task(self.agent.run(self.stop))

    def assign(self, new: Assignment) -> None:
        """The servers are told."""
        self.assigned.append(new)

    def inbox(self, mailbox: str = INBOX) -> FakeFolder:
        """The inbox of a mailbox."""
        return self.folders[mailbox, "INBOX"]

    async def end(self) -> None:
        """Stop the agent."""
        self.stop.set()
        await self.task

    def events(self, kind: type[T]) -> list[T]:
        """What is in the spool of that kind."""
        return [event for event in self.spool.events() if isinstance(event, kind)]

    def intents(self, plan: PathPlan, *, since: int = 0) -> list[Intent]:
        """The intents of a path that were due since then."""
        return [i for i in self.events(Intent) if i.path == plan.path and i.due_ns >= since]

    def deliver(self, number: int = -1, *, to: str = INBOX, extra: bytes = b"") -> None:
        """One of the mails that were sent comes home."""
        head = self.smtp.mails[number][1].content.partition(b"\r\n\r\n")[0]
        self.inbox(to).deliver(lambda uid: Message(uid, None, extra + head + b"\r\n\r\n", 0))

    def watched(self) -> set[str]:
        """The mailboxes that the heartbeat of now would name."""
        return set(self.agent.health.now().mailboxes)


def dues(plan: PathPlan, after_ns: int, until_ns: int) -> list[int]:
    """All due times of a path in a span."""
    times = due_times_ns(plan, after_ns)
    return list(itertools.takewhile(lambda due: due <= until_ns, times))
