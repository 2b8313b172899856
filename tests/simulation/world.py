"""The world outside the agent, and the truth about it: folders, mails, who was sent what when."""

import asyncio
import random
from collections.abc import Callable
from dataclasses import dataclass, field

from probes.contract.stages import Result
from tests.simulation.clock import EPOCH_NS, NS
from tests.simulation.scenario import BOXES, Scenario, Spell


@dataclass(slots=True)
class Mail:
    """A mail in a folder. ``canary`` is set for a genuine copy in the mailbox it was sent to."""

    raw: bytes = field(repr=False)
    at_s: float
    kind: str
    canary: str | None = None
    gone: bool = False


class Folder:
    """A folder with UIDs; ``places`` remembers every mail under every UID that it ever had."""

    def __init__(self, rng: random.Random) -> None:
        self._rng = rng
        self.uidvalidity = 1000
        self.uidnext = 1
        self.mails: dict[int, Mail] = {}
        self.places: dict[tuple[int, int], Mail] = {}
        self.listeners: list[Callable[[], None]] = []

    def add(self, mail: Mail) -> int:
        """A mail is delivered; gives its UID."""
        self.uidnext += self._rng.choice((0, 0, 0, 1, 7))
        uid = self.uidnext
        self.uidnext += 1
        self._put(uid, mail)
        for listener in list(self.listeners):
            listener()
        return uid

    def _put(self, uid: int, mail: Mail) -> None:
        self.mails[uid] = mail
        self.places[(self.uidvalidity, uid)] = mail

    def expunge(self, uid: int) -> None:
        """A mail is gone for good."""
        mail = self.mails.pop(uid, None)
        if mail is not None:
            mail.gone = True

    def renumber(self) -> None:
        """The server loses its index: the same mails, under new UIDs of a new UIDVALIDITY."""
        mails = list(self.mails.values())
        self.uidvalidity += 1
        self.mails.clear()
        self.uidnext = 1
        for mail in mails:
            self._put(self.uidnext, mail)
            self.uidnext += 1


@dataclass(slots=True)
class Truth:
    """What really happened to one canary. Times in true seconds."""

    canary: str
    relay: str
    mailbox: str
    sent_s: float
    attempts: int = 0
    dot_s: float | None = None
    result: Result | None = None
    """What the agent was told, if it lived to hear it."""
    copies: list[Mail] = field(default_factory=list)
    failed_dsn_s: float | None = None
    dsns: set[str] = field(default_factory=set)


class World:
    """All folders and the truth."""

    def __init__(
        self, scenario: Scenario, rng: random.Random, loop: asyncio.AbstractEventLoop
    ) -> None:
        self.scenario = scenario
        self.rng = rng
        self.loop = loop
        names = ("INBOX", "Junk") if scenario.has_junk else ("INBOX",)
        self.folders = {
            (box, name): Folder(rng)
            for box in BOXES
            for name in (names if "monitor" not in box else ("INBOX",))
        }
        self.truths: dict[str, Truth] = {}
        self.renumbered: set[str] = set()
        self.lines: list[tuple[float, str]] = []

    def now(self) -> float:
        """True time in seconds."""
        return self.loop.time()

    def server_ns(self) -> int:
        """The time by the clock of every server in this world."""
        return EPOCH_NS + round(self.now() * NS)

    def trace(self, text: str) -> None:
        """Note what happens, for whoever reads a failure."""
        self.lines.append((self.now(), text))

    def spell(self, where: str, *whats: str) -> Spell | None:
        """The first spell of those kinds that holds there now and wins its draw."""
        now = self.now()
        for spell in self.scenario.spells:
            if spell.what in whats and spell.where == where and spell.start_s <= now < spell.end_s:
                return spell if self.rng.random() < spell.odds else None
        return None

    def deliver(self, box: str, mail: Mail, *, junk: bool = False) -> None:
        """Put a mail into a mailbox now."""
        name = "Junk" if junk and (box, "Junk") in self.folders else "INBOX"
        mail.at_s = self.now()
        uid = self.folders[(box, name)].add(mail)
        if mail.canary is not None:
            self.truths[mail.canary].copies.append(mail)
        self.trace(f"delivered {mail.kind} {(mail.canary or '')[:6]} to {box}/{name} uid {uid}")

    def later(self, after_s: float, act: Callable[[], None]) -> None:
        """Let something happen whatever becomes of the agent."""
        self.loop.call_later(max(0.0, after_s), act)

    def renumber(self, box: str) -> None:
        """The UIDVALIDITY of all of a mailbox's folders changes."""
        self.renumbered.add(box)
        self.trace(f"renumbered {box}")
        for (name, _), folder in self.folders.items():
            if name == box:
                folder.renumber()
