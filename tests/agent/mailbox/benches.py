"""What the tests of a mailbox's reading share: a watch and a reader over the fakes."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field, replace
from functools import partial

from agent.air import Air
from agent.clock import Clock
from agent.mailbox.cadence import INBOX as CADENCE
from agent.mailbox.cadence import Budget, Cadence
from agent.mailbox.folder import FolderWatch
from agent.mailbox.watch import MailboxWatch, Reader
from agent.spool.flight import Flight
from agent.spool.store import Cursor
from probes.contract.events import Arrival, Bounce
from probes.contract.names import Path
from probes.contract.stages import Reason, Stage
from probes.imap import ImapFailure, ImapStage
from tests.agent.fakes import (
    INBOX,
    PATH,
    RING,
    InlineSpool,
    assignment,
    begun,
    canary_mail,
    flight,
    rng,
)
from tests.agent.folders import FakeFolder, FakeImap
from tests.simulation.clock import VirtualClock
from tests.simulation.loop import VirtualLoop

CLOSED = ImapFailure(ImapStage.FETCH, Reason.CLOSED, "the server has gone")
NO_CONNECTION = ImapFailure(Stage.CONNECT, Reason.REFUSED, "nobody listens")
BAD_PASSWORD = ImapFailure(Stage.AUTH, Reason.CREDENTIALS, "no")


@dataclass
class Bench:
    """A mailbox with an inbox and a junk folder, and an agent's view of it."""

    spool: InlineSpool
    clock: Clock
    name: str = INBOX
    batch: int = 200
    takes_bounces: bool = False
    rebuilt: bool = False
    commands_per_minute: float = 1e6
    air: Air = field(default_factory=Air)
    counters: Counter[str] = field(default_factory=Counter)

    def __post_init__(self) -> None:
        self.folders = {(self.name, name): FakeFolder(self.clock) for name in ("INBOX", "Junk")}
        imap = FakeImap(self.folders, batch=self.batch)
        mine = assignment()
        self.watch = MailboxWatch(
            name=self.name,
            config=mine.mailboxes[self.name],
            air=self.air.mailbox(self.name),
            budget=Budget(self.commands_per_minute),
            takes_bounces=self.takes_bounces,
        )
        self.reader = Reader(
            agent="sfo",
            helo="sfo.monitor.example",
            ring=RING,
            clock=self.clock,
            spool=self.spool,
            imap=imap,
            air=self.air,
            relays=mine.relays,
            counters=self.counters,
            rng=rng(),
            remember_s=3600.0,
            rebuilt=self.rebuilt,
        )

    def restart(self, *, rebuilt: bool = False) -> "Bench":
        """The same mailbox and spool, seen by an agent that has just started."""
        again = replace(self, air=Air(), counters=Counter(), rebuilt=rebuilt)
        again.folders.update(self.folders)
        now = self.clock.now()
        for one in self.spool.store.flights():
            again.air.expect(one, now, dot=None)
        return again

    @property
    def inbox(self) -> FakeFolder:
        """The inbox on the server."""
        return self.folders[self.name, "INBOX"]

    @property
    def junk(self) -> FakeFolder:
        """The junk folder on the server."""
        return self.folders[self.name, "Junk"]

    def fly(self, number: int, path: Path = PATH) -> Flight:
        """A canary is sent, and its final dot with it, now."""
        now = self.clock.now()
        self.spool.store.begin()
        [made] = begun(self.spool.store, [flight(number, sent=now, path=path)])
        self.spool.store.commit()
        self.air.expect(made, now, dot=now)
        return made

    def deliver(self, number: int = 1, *, folder: str = "INBOX") -> int:
        """The canary of that number among those that are out comes home; its UID."""
        made = self.spool.store.flights()[number - 1]
        return self.folders[self.name, folder].deliver(partial(canary_mail, made))

    def arrivals(self) -> list[Arrival]:
        """What is recorded of arrivals."""
        return self.spool.of(Arrival)

    def bounces(self) -> list[Bounce]:
        """What is recorded of bounces."""
        return self.spool.of(Bounce)

    @asynccontextmanager
    async def watching(
        self, folder: str = "INBOX", *, cursor: Cursor | None = None, cadence: Cadence = CADENCE
    ) -> AsyncIterator[FolderWatch]:
        """Watch a folder for as long as the context lasts, beginning where the spool says."""
        kept = self.spool.store.cursors().get((self.name, folder))
        watch = FolderWatch(
            self.watch,
            self.reader,
            folder,
            junk=folder == "Junk",
            cadence=cadence,
            cursor=cursor or kept,
        )
        task = asyncio.create_task(watch.run())
        try:
            yield watch
        finally:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task


def play(story: Callable[[], Awaitable[None]]) -> None:
    """Let a story happen, in virtual time."""
    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        runner.run(_all_of(story))


async def _all_of(story: Callable[[], Awaitable[None]]) -> None:
    await story()


def virtual_clock() -> VirtualClock:
    """The clocks of the running virtual loop."""
    loop = asyncio.get_running_loop()
    return VirtualClock(lambda: 1000.0 + loop.time())
