"""One mailbox as the agent sees it: its folders, its watermark, its budget."""

import random
from collections import Counter, OrderedDict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from agent.air import Air, MailboxAir
from agent.clock import NEVER, Clock, Moment
from agent.mailbox.account import fingerprint
from agent.mailbox.cadence import Budget
from agent.ports import Imap
from agent.spool.writer import Spool
from agent.wall import WallLog
from probes.contract.config.models import Mailbox, Relay
from probes.contract.events import Arrival, Bounce, MailboxHealth
from probes.contract.token import KeyRing

Place = tuple[str, str, int, int]
"""Mailbox, folder, UIDVALIDITY and UID of a mail."""


class Told:
    """Where the last canaries were seen, so that one that comes a thousand times is told of a few.

    Places, not counts: a batch that could not be written down is taken again, and must give the
    same again. The oldest canaries are forgotten first.
    """

    def __init__(self, *, copies: int = 10, canaries: int = 20_000) -> None:
        self._copies = copies
        self._canaries = canaries
        self._places: OrderedDict[str, tuple[Place, ...]] = OrderedDict()

    def __len__(self) -> int:
        return len(self._places)

    def tell(self, about: str, place: Place) -> bool:
        """Whether to tell of what is about that and lies there; notes it if so."""
        places = self._places.get(about, ())
        if place not in places:
            if len(places) >= self._copies:
                return False
            self._places[about] = (*places, place)
        self._places.move_to_end(about)
        while len(self._places) > self._canaries:
            self._places.popitem(last=False)
        return True


def places(mailbox: Mailbox) -> list[tuple[str, bool]]:
    """The folders of a mailbox in which its mail may lie, and which of them is for junk."""
    folders = mailbox.folders
    return [(folders.inbox, False), *([(folders.junk, True)] if folders.junk is not None else [])]


@dataclass(slots=True)
class Reader:
    """What every folder watch of an agent shares. Times in seconds.

    ``helo``, ``relays`` and ``remember_s`` are the assignment's, and change with it.

    ``rebuilt`` says that the spool was made anew, so that canaries of before may lie in mailboxes
    that this spool has never heard of. ``air`` is that of all mailboxes: a bounce is about a canary
    of another mailbox than the one it lies in.

    ``hear`` is called in the spool's thread with the events that a commit is about to hold. So it
    is when who writes them was cancelled, for that takes place all the same; and when the commit
    failed it is called again at the next try.
    """

    agent: str
    helo: str
    ring: KeyRing
    clock: Clock
    spool: Spool
    imap: Imap
    air: Air
    relays: Mapping[str, Relay]
    counters: Counter[str]
    rng: random.Random
    remember_s: float
    wall_error_s: float = 1.0
    rebuilt: bool = False
    told: Told = field(default_factory=Told)
    wall: WallLog = field(default_factory=WallLog)
    hear: Callable[[Sequence[Arrival | Bounce]], object] = lambda _: None


@dataclass(slots=True)
class FolderStatus:
    """How the reading of one folder goes."""

    state: str = "starting"
    detail: str | None = None
    checked: Moment | None = None
    backlog: int = 0
    garbage: int = 0
    quota_used: float | None = None


@dataclass(slots=True)
class MailboxWatch:
    """The shared state of a mailbox's folder watches; ``began`` is when the watch began."""

    name: str
    config: Mailbox
    air: MailboxAir
    budget: Budget
    takes_bounces: bool = False
    began: Moment = NEVER
    folders: dict[str, FolderStatus] = field(default_factory=dict)

    def watermark(self, boot_id: str) -> Moment | None:
        """The start of the last complete check of the folder that is furthest behind.

        ``None`` until every folder has been checked in this boot: only then can absence be told.
        """
        checks = [status.checked for status in self.folders.values()]
        here = [check for check in checks if check is not None and check.boot_id == boot_id]
        if not here or len(here) < len(checks):
            return None
        return min(here, key=lambda check: check.boot_ns)

    def shows(self, then: Mailbox | None) -> bool:
        """Whether what was sent to the mailbox as it was then can only lie where this looks."""
        if then is None or then == self.config:
            return True
        same = fingerprint(then.imap) == fingerprint(self.config.imap)
        return same and set(places(then)) <= set(places(self.config))

    def unread_s(self, now: Moment) -> float:
        """Seconds since the inbox was last checked completely, or since the watch began.

        By the inbox alone: a junk folder that is missing does not fill the mailbox.
        """
        status = self.folders.get(self.config.folders.inbox)
        checked = None if status is None else status.checked
        seen = [m.boot_ns for m in (self.began, checked) if m and m.boot_id == now.boot_id]
        return (now.boot_ns - max(seen)) / 1e9 if seen else 0.0

    def health(self, boot_id: str) -> MailboxHealth:
        """The mailbox's state for the heartbeat: that of its worst folder."""
        bad = [(f, s) for f, s in sorted(self.folders.items()) if s.state != "ok"]
        mark = self.watermark(boot_id)
        quotas = [s.quota_used for s in self.folders.values() if s.quota_used is not None]
        return MailboxHealth(
            state=bad[0][1].state if bad else "ok",
            watermark_ns=None if mark is None else mark.wall_ns,
            detail=f"{bad[0][0]}: {bad[0][1].detail}" if bad and bad[0][1].detail else None,
            in_flight=len(self.air),
            backlog=sum(status.backlog for status in self.folders.values()),
            quota_used=max(quotas) if quotas else None,
            watermark_boot_ns=None if mark is None else mark.boot_ns,
        )
