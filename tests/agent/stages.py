"""A whole agent in virtual time, over stand-ins for its spool, relays and mailboxes."""

import asyncio
import itertools
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from agent.agent import Agent, Ports
from agent.assignment import Assignment
from agent.limits import Limits
from probes.contract.config.models import ProbeKind
from probes.contract.events import Heartbeat, Intent
from probes.contract.plan import PathPlan
from probes.imap import Message
from probes.probing import Probe
from tests.agent.fakes import (
    BOUNCES,
    INBOX,
    RING,
    FakeSmtp,
    InlineSpool,
    assignment,
    canary_id,
    rng,
)
from tests.agent.folders import FakeFolder, FakeImap
from tests.agent.mailbox.benches import virtual_clock

OTHER = "globex/inbox"
OLD_BOUNCES = "monitor/old"


@dataclass
class Stage:
    """An agent whose mailboxes exist and whose relays accept; made within a virtual loop."""

    spool: InlineSpool
    smtp: FakeSmtp = field(default_factory=FakeSmtp)
    limits: Limits = field(default_factory=Limits)
    first: Assignment = field(default_factory=assignment)
    probes: Mapping[ProbeKind, Probe[Any]] = field(default_factory=dict)

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
            probes=self.probes,
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

    async def end(self) -> float:
        """Stop the agent; how long that took."""
        loop = asyncio.get_running_loop()
        began = loop.time()
        self.stop.set()
        await self.task
        return loop.time() - began

    def beats(self) -> list[Heartbeat]:
        """All heartbeats."""
        return self.spool.of(Heartbeat)

    def intents(self, plan: PathPlan, *, since: int = 0) -> list[Intent]:
        """The intents of a path that were due since then."""
        return [i for i in self.spool.of(Intent) if i.path == plan.path and i.due_ns >= since]

    def deliver(self, number: int = -1, *, to: str = INBOX, extra: bytes = b"") -> None:
        """One of the mails that were sent comes home."""
        head = self.smtp.mails[number][1].content.partition(b"\r\n\r\n")[0]
        self.inbox(to).deliver(lambda uid: Message(uid, None, extra + head + b"\r\n\r\n", 0))

    def watched(self) -> set[str]:
        """The mailboxes that the heartbeat of now would name."""
        return set(self.agent.health.now().mailboxes)
