"""Stand-ins for the agent's spool and relays, and the small things that its tests are about."""

import asyncio
import random
from collections.abc import Callable, Sequence
from pathlib import Path as FilePath
from typing import Any, TypeVar

from agent.assignment import Assignment, assign
from agent.clock import Moment
from agent.spool.flight import Flight, FlightState
from agent.spool.schema import open_spool
from agent.spool.store import Store
from agent.spool.writer import Operation, run_batch
from probes.contract.config.models import Config, Relay
from probes.contract.errors import SpoolError
from probes.contract.events import Arrival, Event, Interval, Submission, Unknown, decode
from probes.contract.message import Addresses, build_message, envid
from probes.contract.names import Path
from probes.contract.plan import PathPlan
from probes.contract.secret import Secret
from probes.contract.stages import Result
from probes.contract.token import Key, KeyRing
from probes.imap import Message
from probes.smtp import Mail, SendReport
from tests.simulation.clock import VirtualClock

T = TypeVar("T")

KEY = Key("k1", Secret("a signing key of the tests", "key"))
RING = KeyRing(KEY)
INBOX = "acme/inbox"
BOUNCES = "monitor/bounces"
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


def submission_of(of: Flight, result: Result = Result.ACCEPTED) -> Submission:
    """How its attempt ended, as soon as it had begun."""
    return Submission(
        canary=of.canary,
        path=of.path,
        sent_ns=of.sent.wall_ns,
        at_ns=of.sent.wall_ns,
        result=result,
    )


def arrival_of(of: Flight, uid: int = 1, *, seen_ns: int | None = None) -> Arrival:
    """That it was seen, a second after it was sent unless told otherwise."""
    return Arrival(
        canary=of.canary,
        path=of.path,
        path_seq=of.path_seq,
        mailbox_seq=of.mailbox_seq,
        stream_epoch=of.stream_epoch,
        sent_ns=of.sent.wall_ns,
        seen_ns=of.sent.wall_ns + S if seen_ns is None else seen_ns,
        delay=Interval(0.5, 1.0),
        clock="boottime",
        folder="INBOX",
        junk=False,
        uidvalidity=7,
        uid=uid,
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

    def of(self, kind: type[T]) -> list[T]:
        """The events of a kind, in order."""
        return [event for event in self.events() if isinstance(event, kind)]

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
