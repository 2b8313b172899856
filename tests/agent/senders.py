"""What the tests of the sender share: a sender with all that it needs."""

import asyncio
import itertools
from collections import Counter
from collections.abc import Callable
from dataclasses import replace

from agent.air import Air
from agent.caps import Caps
from agent.mailbox.cadence import Budget
from agent.mailbox.watch import FolderStatus, MailboxWatch
from agent.ports import Smtp
from agent.schedule import Slot
from agent.sender import Sender
from agent.standing.ledger import Ledger
from probes.contract.config.models import Relay
from probes.contract.events import Intent, Submission
from probes.contract.names import Path
from probes.smtp import Mail, SendReport
from tests.agent.fakes import (
    ACCEPTED,
    INBOX,
    KEY,
    PATH,
    FakeSmtp,
    HandClock,
    InlineSpool,
    assignment,
    canary_id,
    plan_of,
    rng,
)


class Bench:
    """A sender on a bench, with all that it needs."""

    def __init__(self, spool: InlineSpool, clock: HandClock) -> None:
        self.spool = spool
        self.clock = clock
        self.air = Air()
        self.ledger = Ledger()
        box = MailboxWatch(INBOX, assignment().mailboxes[INBOX], self.air.mailbox(INBOX), Budget(9))
        box.began = clock.now()
        box.folders = {"INBOX": FolderStatus("ok"), "Junk": FolderStatus("down")}
        self.watch = box
        self.counters: Counter[str] = Counter()
        self.numbers = itertools.count(1)

    def sender(self, smtp: Smtp, caps: Caps | None = None) -> Sender:
        """A sender with those relays."""
        return Sender(
            replace(assignment(), revision="r1"),
            KEY,
            clock=self.clock,
            spool=self.spool,
            smtp=smtp,
            air=self.air,
            ledger=self.ledger,
            watches={INBOX: self.watch},
            counters=self.counters,
            rng=rng(),
            new_id=lambda: canary_id(next(self.numbers)),
            caps=caps or Caps(),
        )

    def slot(self, path: Path = PATH, *, stale: bool = False) -> Slot:
        """A slot that is due now."""
        return Slot(plan_of(path), self.clock.now().wall_ns, stale)

    def submissions(self) -> list[Submission]:
        """What is recorded of all attempts."""
        return [event for event in self.spool.events() if isinstance(event, Submission)]

    def intents(self) -> list[Intent]:
        """What is recorded of all intents."""
        return [event for event in self.spool.events() if isinstance(event, Intent)]


class Hanging:
    """Relays that answer when they are let."""

    def __init__(self) -> None:
        self.let = asyncio.Event()
        self.smtp = FakeSmtp(self._answer)

    async def _answer(self, _relay: Relay, _mail: Mail, dot: Callable[[], None]) -> SendReport:
        await self.let.wait()
        dot()
        return ACCEPTED


async def settle() -> None:
    """Let every task run as far as it can."""
    for _ in range(10):
        await asyncio.sleep(0)
