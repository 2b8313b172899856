"""Stand-ins for the agent's ports, and the small things that its tests are about."""

import asyncio
import random
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime
from functools import partial
from pathlib import Path as FilePath
from typing import Any, TypeVar

from agent.assignment import Assignment, assign
from agent.clock import Clock, Moment
from agent.ports import FolderSession
from agent.spool.flight import Flight, FlightState
from agent.spool.schema import open_spool
from agent.spool.store import Store
from agent.spool.writer import Operation, run_batch
from probes.contract.config.models import Config, Relay
from probes.contract.errors import SpoolError
from probes.contract.events import Event, Unknown, decode
from probes.contract.message import Addresses, build_message, envid
from probes.contract.names import Path
from probes.contract.plan import PathPlan
from probes.contract.secret import Secret
from probes.contract.stages import Result
from probes.contract.token import Key, KeyRing
from probes.imap import Batch, FolderState, ImapFailure, Message
from probes.smtp import Mail, SendReport
from tests.simulation.clock import VirtualClock

T = TypeVar("T")

KEY = Key("k1", Secret("a signing key of the tests", "key"))
RING = KeyRing(KEY)
INBOX = "acme/inbox"
PATH = Path("sfo", "relay-a1", INBOX)
S = 1_000_000_000


def rng() -> random.Random:
    """A random source that repeats."""
    return random.Random(7)  # noqa: S311 - jitter, nothing that must not be guessed


class HandClock(VirtualClock):
    """Clocks that a test moves by hand; true time begins at 1,000 s after boot."""

    def __init__(self) -> None:
        self.true_s = 1000.0
        super().__init__(lambda: self.true_s)

    def advance(self, seconds: float) -> Moment:
        """Let time pass; gives the new moment."""
        self.true_s += seconds
        return self.now()


def canary_id(number: int) -> str:
    """A canary id."""
    return f"{number:032x}"


def flight(
    number: int = 1, *, sent: Moment, path: Path = PATH, loss_after_s: float = 30.0
) -> Flight:
    """A flight that is on its way to its relay."""
    return Flight(
        canary=canary_id(number),
        path=path,
        due_ns=sent.wall_ns,
        sent=sent,
        deadline_s=5.0,
        loss_after_s=loss_after_s,
    )


def plan_of(path: Path = PATH, *, period_s: float = 10.0, phase_s: float = 0.0) -> PathPlan:
    """When the canaries of a path are due, without jitter."""
    return PathPlan(path, period_s, phase_s, 5.0, 30.0)


def document(**changes: Any) -> dict[str, Any]:
    """A small configuration: two relays, one agent, a mailbox and a bounce mailbox."""
    imap = {"host": "127.0.0.1", "port": 1143, "tls": "none", "user": "u", "secret": "acme/imap"}
    monitor = {**imap, "secret": "monitor/imap"}
    whole: dict[str, Any] = {
        "version": 1,
        "defaults": {"interval": "10s", "deadline": "5s", "loss_after": "30s", "remember": "1h"},
        "relays": [
            {"name": "relay-a1", "host": "127.0.0.1", "port": 2525, "tls": "none"},
            {"name": "relay-a2", "host": "127.0.0.2", "port": 2525, "tls": "none"},
        ],
        "agents": [
            {
                "name": "sfo",
                "sender": {
                    "address": "canary@monitor.example",
                    "helo": "sfo.monitor.example",
                    "bounces": "monitor/bounces",
                },
                "labels": {"site": "sfo"},
            }
        ],
        "customers": [
            {
                "name": "acme",
                "mailboxes": [{"name": "inbox", "address": "canary@acme.example", "imap": imap}],
                "canaries": [{"relays": "all", "agents": "all", "mailboxes": "all"}],
            },
            {
                "name": "monitor",
                "mailboxes": [
                    {"name": "bounces", "address": "canary@monitor.example", "imap": monitor}
                ],
            },
        ],
    }
    return {**whole, **changes}


def assignment(**changes: Any) -> Assignment:
    """The only agent's part of :func:`document`."""
    return assign(Config.model_validate(document(**changes)))


class InlineSpool:
    """A real store on a real file, which takes ``takes_s``; ``problem`` makes it fail then."""

    def __init__(self, directory: FilePath) -> None:
        self._opened = open_spool(directory)
        self.epoch = self._opened.epoch
        self.store = Store(self._opened.connection, self.epoch)
        self.problem: str | None = None
        self.takes_s = 0.0
        self.before_run: Callable[[], None] = lambda: None
        self.runs = 0

    async def run(self, operation: Operation[T]) -> T:
        """Run the operation in a transaction of its own."""
        self.runs += 1
        self.before_run()
        if self.takes_s:
            await asyncio.sleep(self.takes_s)
        if self.problem is not None:
            raise SpoolError(self.problem)
        result: T = run_batch(self.store, [operation])[0]
        return result

    def events(self) -> list[Event | Unknown]:
        """All events, in order."""
        return [decode(record.body) for record in self.store.read_after(0, 1_000_000)]

    def kinds(self) -> list[str]:
        """The kinds of all events, in order."""
        return [type(event).__name__ for event in self.events()]

    def close(self) -> None:
        """Close the file and release its lock."""
        self.store.close()
        self._opened.lock.close()


Send = Callable[[Relay, Mail, Callable[[], None]], Any]

ACCEPTED = SendReport(result=Result.ACCEPTED, queue_id="4F1", phases={"connect": 0.01})


class FakeSmtp:
    """Relays that do what the test's ``answer`` does; by default they accept."""

    def __init__(self, answer: Send | None = None) -> None:
        self.mails: list[tuple[str, Mail]] = []
        self._answer = answer

    async def send(
        self, relay: Relay, compose: Callable[[], Mail], on_data_sent: Callable[[], None]
    ) -> SendReport:
        """Take the mail."""
        mail = compose()
        self.mails.append((relay.name, mail))
        if self._answer is None:
            on_data_sent()
            return ACCEPTED
        report: SendReport = await self._answer(relay, mail, on_data_sent)
        return report


UNSEEN_NS = 0
"""Of a mail that no session has shown yet."""


def canary_mail(
    of: Flight, uid: int, *, key: Key = KEY, internaldate_ns: int | None = None, extra: bytes = b""
) -> Message:
    """The canary as a folder shows it."""
    whole = build_message(of.token, key, Addresses("canary@monitor.example", "canary@acme.example"))
    header = whole.partition(b"\r\n\r\n")[0]
    return Message(uid, internaldate_ns, extra + header + b"\r\n\r\n", UNSEEN_NS)


def other_mail(uid: int) -> Message:
    """Somebody else's mail."""
    return Message(
        uid, None, b"Received: from a by b; Thu, 9 Oct 2025 08:53:20 +0000\r\n\r\n", UNSEEN_NS
    )


def _day(mail: Message) -> date | None:
    if mail.internaldate_ns is None:
        return None
    return datetime.fromtimestamp(mail.internaldate_ns / 1e9, tz=UTC).date()


def _under(mail: Message, uid: int) -> Message:
    return replace(mail, uid=uid)


@dataclass
class FakeFolder:
    """A folder of an IMAP server, and how the server behaves."""

    clock: Clock
    uidvalidity: int = 7
    uidnext: int = 1
    has_idle: bool = True
    uidplus: bool = True
    mails: dict[int, Message] = field(default_factory=dict)
    whole: dict[int, bytes] = field(default_factory=dict)
    deleted: list[int] = field(default_factory=list)
    searches: list[tuple[str, date]] = field(default_factory=list)
    opens: list[int] = field(default_factory=list)
    fetches: int = 0
    idles: int = 0
    notices: int = 0
    quota: float | None = None
    refuses: ImapFailure | None = None
    dies: ImapFailure | None = None
    refuses_idle: ImapFailure | None = None
    stirred: asyncio.Event = field(default_factory=asyncio.Event)
    closed: int = 0

    def deliver(self, make: Callable[[int], Message], whole: bytes = b"") -> int:
        """A mail comes; its UID."""
        uid = self.uidnext
        self.uidnext += 1
        self.mails[uid] = make(uid)
        self.whole[uid] = whole
        self.stirred.set()
        return uid

    def renumber(self, uidvalidity: int, first: int = 1) -> None:
        """The server makes the folder anew: the same mails under other UIDs."""
        mails = sorted(self.mails.items())
        self.uidvalidity, self.uidnext = uidvalidity, first
        self.mails = {}
        for _, mail in mails:
            self.deliver(partial(_under, mail))


class FakeSession:
    """A connection to a :class:`FakeFolder`; dies when the folder's ``dies`` says so."""

    def __init__(self, folder: FakeFolder, batch: int) -> None:
        self._folder = folder
        self._batch = batch
        self._there: dict[int, int] = {}

    @property
    def state(self) -> FolderState:
        """The folder as it is."""
        folder = self._folder
        return FolderState(folder.uidvalidity, folder.uidnext, len(folder.mails))

    @property
    def has_idle(self) -> bool:
        """As the folder is made."""
        return self._folder.has_idle

    @property
    def dead(self) -> ImapFailure | None:
        """As the folder is made."""
        return self._folder.dies

    def _alive(self) -> None:
        if self._folder.dies is not None:
            raise self._folder.dies

    async def fetch_from(self, uid: int) -> Batch:
        """One check; takes a millisecond."""
        folder = self._folder
        folder.fetches += 1
        folder.stirred.clear()
        asked_ns = folder.clock.now().boot_ns
        found = [mail for at, mail in sorted(folder.mails.items()) if at >= uid]
        chosen = tuple(found[: self._batch])
        complete = len(chosen) == len(found)
        next_uid = folder.uidnext if complete else chosen[-1].uid + 1
        await asyncio.sleep(0.001)
        self._alive()
        self._note()
        shown = tuple(replace(mail, there_ns=self._there[mail.uid]) for mail in chosen)
        return Batch(shown, max(uid, next_uid), complete, asked_ns)

    async def notice(self) -> None:
        """Note when the mails that are there were there; takes a millisecond."""
        await asyncio.sleep(0.001)
        self._alive()
        self._folder.notices += 1
        self._note()

    def _note(self) -> None:
        for uid in self._folder.mails:
            self._there.setdefault(uid, self._folder.clock.now().boot_ns)

    async def idle(self, timeout_s: float, wake: asyncio.Event) -> bool:
        """Wait for news, the wake or the time."""
        folder = self._folder
        folder.idles += 1
        if folder.refuses_idle is not None:
            await asyncio.sleep(0.01)
            raise folder.refuses_idle
        waits = [asyncio.ensure_future(event.wait()) for event in (folder.stirred, wake)]
        try:
            await asyncio.wait(waits, timeout=timeout_s, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for wait in waits:
                wait.cancel()
        self._alive()
        return folder.stirred.is_set()

    async def delete(self, uids: Collection[int]) -> bool:
        """Delete mails, or only flag them."""
        self._alive()
        self._folder.deleted += sorted(uids)
        if self._folder.uidplus:
            for uid in uids:
                self._folder.mails.pop(uid, None)
        return self._folder.uidplus

    async def fetch_whole(self, uid: int, max_bytes: int) -> bytes | None:
        """The beginning of a mail."""
        self._alive()
        body = self._folder.whole.get(uid)
        return None if body is None else body[:max_bytes]

    async def search_header(self, field: str, since: date, before: date | None = None) -> list[int]:
        """The mails that have the field; those with no date of their own are of every day."""
        self._alive()
        self._folder.searches.append((field, since))
        name = field.lower().encode() + b":"
        return [
            uid
            for uid, mail in sorted(self._folder.mails.items())
            if any(line.lower().startswith(name) for line in mail.header.split(b"\r\n"))
            and (before is None or _day(mail) is None or since <= (_day(mail) or since) < before)
        ]

    async def fetch_some(self, uids: Collection[int]) -> list[Message]:
        """Those mails."""
        self._alive()
        return [mail for uid, mail in sorted(self._folder.mails.items()) if uid in uids]

    async def quota(self) -> float | None:
        """As the folder is made."""
        self._alive()
        return self._folder.quota

    async def close(self) -> None:
        """End it."""
        self._folder.closed += 1


class FakeImap:
    """The server of all folders; ``refuses`` of a folder makes its connections fail."""

    def __init__(self, folders: dict[tuple[str, str], FakeFolder], *, batch: int = 200) -> None:
        self.folders = folders
        self._batch = batch

    async def open(self, mailbox: str, folder: str) -> FolderSession:
        """Connect to a folder."""
        of = self.folders[mailbox, folder]
        of.opens.append(of.clock.now().boot_ns)
        await asyncio.sleep(0.001)
        if of.refuses is not None:
            raise of.refuses
        return FakeSession(of, self._batch)


def begun(store: Store, flights: Sequence[Flight]) -> list[Flight]:
    """Write the flights' intents, and that their relays accepted them."""
    return [store.begin_flight(one, "r1").moved(FlightState.AWAITED) for one in flights]


def dsn(of: Flight, *, action: str = "failed", header: bool = True, envelope: bool = True) -> bytes:
    """A delivery status notification about the canary, as Postfix writes it."""
    mail = canary_mail(of, 1).header.decode()
    envid_line = f"Original-Envelope-Id: {envid(of.canary)}\r\n" if envelope else ""
    returned = f"\r\n--b1\r\nContent-Type: text/rfc822-headers\r\n\r\n{mail}" if header else ""
    return (
        "Return-Path: <>\r\nAuto-Submitted: auto-replied\r\nMIME-Version: 1.0\r\n"
        'Content-Type: multipart/report; report-type=delivery-status; boundary="b1"\r\n\r\n'
        "--b1\r\nContent-Type: text/plain\r\n\r\nSorry.\r\n"
        "--b1\r\nContent-Type: message/delivery-status\r\n\r\n"
        f"Reporting-MTA: dns; relay-a1.example.net\r\n{envid_line}\r\n"
        "Final-Recipient: rfc822; canary@acme.example\r\n"
        f"Action: {action}\r\nStatus: 5.1.1\r\nRemote-MTA: dns; mx.acme.example\r\n"
        "Diagnostic-Code: smtp; 550 5.1.1 User unknown\r\n"
        f"{returned}\r\n--b1--\r\n"
    ).encode()


def bounce_mail(whole: bytes, uid: int) -> Message:
    """A bounce as a folder shows it."""
    return Message(uid, None, whole.partition(b"\r\n\r\n")[0] + b"\r\n\r\n", UNSEEN_NS)
