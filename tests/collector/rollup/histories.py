"""Logs made of random lives of canaries, for the tests of the rollup."""

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import msgspec
from hypothesis import strategies as st

from collector.log.engine import Bounds, Entry
from probes.contract.checks import (
    EgressSeen,
    QueuedCanary,
    QueueDepth,
    QueueGroup,
    QueueSeen,
)
from probes.contract.events import (
    Arrival,
    Bounce,
    Carrier,
    Check,
    Config,
    Event,
    Expiry,
    Intent,
    Interval,
    Submission,
    Tick,
    encode,
)
from probes.contract.names import Path
from probes.contract.stages import Reason, Result, Stage
from probes.contract.units import NS_PER_S

T0_S = 1_760_000_000
PATHS = [
    Path(agent, relay, mailbox)
    for agent in ("sfo", "fra")
    for relay in ("relay-a", "relay-b")
    for mailbox in ("acme/inbox", "zenith/box")
]
ACME, ZENITH = PATHS[:2]
"""A path of each customer's, by the same agent and relay."""
LOG_ID = "log-1"


def canary_id(number: int) -> str:
    return f"{number:032x}"


def document(provider: str, remember: str = "6d") -> dict[str, Any]:
    """A revision, in the file's words; ``provider`` labels relay-a."""
    imap = {"host": "imap.example", "user": "u"}
    return {
        "version": 1,
        "defaults": {"remember": remember},
        "relays": [
            {"name": "relay-a", "host": "a.example", "labels": {"provider": provider}},
            {"name": "relay-b", "host": "b.example"},
        ],
        "agents": [
            {"name": name, "sender": {"address": f"c@{name}.example", "helo": f"{name}.example"}}
            for name in ("sfo", "fra")
        ],
        "customers": [
            {
                "name": customer,
                "labels": {"tier": "gold"},
                "mailboxes": [
                    {
                        "name": box,
                        "address": f"c@{customer}.example",
                        "imap": {**imap, "secret": f"{customer}/imap"},
                    }
                ],
            }
            for customer, box in (("acme", "inbox"), ("zenith", "box"))
        ],
    }


def config(revision: str, provider: str, remember: str = "6d") -> Config:
    return Config(revision=revision, at_ns=0, document=document(provider, remember))


def intent(
    number: int, path: Path = PATHS[0], at_s: float = 0.0, *, revision: str = "r1"
) -> Intent:
    return Intent(
        canary=canary_id(number),
        path=path,
        path_seq=number,
        mailbox_seq=number,
        stream_epoch="e1",
        due_ns=0,
        at_ns=T0_S * NS_PER_S + int(at_s * NS_PER_S),
        deadline_s=60.0,
        loss_after_s=1800.0,
        revision=revision,
    )


def submission(
    sent: Intent,
    result: Result = Result.ACCEPTED,
    stage: Stage | None = None,
    queue_id: str | None = None,
) -> Submission:
    return Submission(
        canary=sent.canary,
        path=sent.path,
        sent_ns=sent.at_ns,
        at_ns=sent.at_ns + NS_PER_S // 2,
        result=result,
        stage=stage,
        reason=None if stage is None else Reason.TIMEOUT,
        phases={"connect": 0.1, "data": 0.1} if result is Result.ACCEPTED else {},
        queue_id=queue_id,
    )


def accepted(*sent: Intent) -> list[Event]:
    """Those canaries, all sent before the first was accepted."""
    return [*sent, *(submission(one) for one in sent)]


def arrival(
    sent: Intent,
    lo: float = 1.0,
    hi: float = 2.0,
    *,
    uid: int | None = None,
    junk: bool = False,
    wrong: bool = False,
) -> Arrival:
    carrier = Carrier(relay_as_planned=not wrong, egress_as_planned=None)
    return Arrival(
        canary=sent.canary,
        path=sent.path,
        path_seq=sent.path_seq,
        mailbox_seq=sent.mailbox_seq,
        stream_epoch=sent.stream_epoch,
        sent_ns=sent.at_ns,
        seen_ns=sent.at_ns + round(hi * NS_PER_S),
        delay=Interval(lo, hi),
        clock="boottime",
        folder="Junk" if junk else "INBOX",
        junk=junk,
        uidvalidity=7,
        uid=sent.mailbox_seq if uid is None else uid,
        carrier=carrier,
    )


def egress(
    at_s: float,
    *,
    ok: bool = True,
    reason: Reason | None = None,
    host: str = "mx1.bigmail.example",
    port: int = 25,
    target: str | None = "bigmail",
    agent: str = "sfo",
    relay: str = "relay-a",
    source: str = "203.0.113.11",
) -> Check:
    """A look at one host from relay-a, every 30 s."""
    return Check(
        agent=agent,
        probe="egress",
        at_ns=T0_S * NS_PER_S + int(at_s * NS_PER_S),
        ok=ok,
        relay=relay,
        target=target,
        source=source,
        stage=None if reason is None else Stage.EGRESS_CONNECT,
        reason=reason,
        interval_s=30.0,
        egress=EgressSeen(host=host, port=port, control=port != 25),
    )


def listed(
    sent: Intent,
    queue_id: str,
    *,
    arrived_s: float | None = None,
    stage: Stage | None = Stage.EGRESS_CONNECT,
    reason: Reason | None = Reason.TIMEOUT,
    recipient: str | None = None,
    queue: str = "deferred",
) -> QueuedCanary:
    """The canary as its relay's queue lists it."""
    at_ns = sent.at_ns if arrived_s is None else T0_S * NS_PER_S + int(arrived_s * NS_PER_S)
    return QueuedCanary(
        queue_id=queue_id,
        queue=queue,
        arrived_ns=at_ns,
        sender="c@sfo.example",
        recipient=recipient or f"c@{sent.path.customer}.example",
        stage=stage,
        reason=reason,
        text="connect to mx1.example[192.0.2.1]:25: Connection timed out",
    )


def queue_look(
    at_s: float, *canaries: QueuedCanary, relay: str = "relay-a", agent: str = "sfo"
) -> Check:
    """A look at a relay's queue, in which mails of others wait as well."""
    at_ns = T0_S * NS_PER_S + int(at_s * NS_PER_S)
    return Check(
        agent=agent,
        probe="queue",
        at_ns=at_ns,
        ok=True,
        relay=relay,
        interval_s=30.0,
        queue=QueueSeen(
            queues={
                "active": QueueDepth(count=2, bytes=900, oldest_ns=at_ns),
                "deferred": QueueDepth(count=40, bytes=90_000, oldest_ns=at_ns - 600 * NS_PER_S),
            },
            groups=[
                QueueGroup(
                    queue="deferred",
                    domain="private.example",
                    stage=Stage.EGRESS_CONNECT,
                    reason=Reason.TIMEOUT,
                    text="connect to mx.private.example[192.0.2.9]:25: Connection timed out",
                    count=38,
                    oldest_ns=at_ns - 600 * NS_PER_S,
                    newest_ns=at_ns,
                )
            ],
            canaries=list(canaries),
            more_canaries=3,
        ),
    )


def expiry(sent: Intent, *, lost: bool = True) -> Expiry:
    return Expiry(canary=sent.canary, path=sent.path, at_ns=2, lost=lost, watermark_ns=2)


def bounce(sent: Intent, action: str = "failed") -> Bounce:
    return Bounce(
        canary=sent.canary,
        path=sent.path,
        seen_ns=2,
        action=action,
        status=None,
        diagnostic=None,
        remote_mta=None,
        reporting_mta=None,
    )


def tick(at_s: float) -> Tick:
    return Tick(at_ns=T0_S * NS_PER_S + int(at_s * NS_PER_S))


History = Sequence[Event | tuple[float, Event]]
"""Events in the order of a log, each perhaps with the second after T0_S that it is taken in at."""


def log_of(events: History) -> list[Entry]:
    """The events as a log: a bare one is taken in a tenth of a second after the one before."""
    entries: list[Entry] = []
    now_s = 0.0
    for cursor, item in enumerate(events, 1):
        if isinstance(item, tuple):
            now_s, event = max(now_s, item[0]), item[1]
        else:
            now_s, event = now_s + 0.1, item
        if isinstance(event, Tick):
            now_s = max(now_s, event.at_ns / NS_PER_S - T0_S)
        path = getattr(event, "path", None)
        source = getattr(event, "agent", "collector") if path is None else path.agent
        entries.append(
            Entry(
                cursor,
                T0_S * NS_PER_S + int(now_s * NS_PER_S),
                source,
                "epoch",
                cursor,
                str(type(event).__struct_config__.tag),
                encode(event),
            )
        )
    return entries


def bounds_of(entries: Sequence[Entry]) -> Bounds:
    first = entries[0].cursor if entries else 1
    return Bounds(first, len(entries) + first - 1, 0, 1, 0, None)


@st.composite
def lives(draw: st.DrawFn, number: int) -> list[Event]:
    """The events of one canary, each perhaps reported twice, some of them missing."""
    sent = intent(
        number,
        draw(st.sampled_from(PATHS)),
        draw(st.sampled_from([0.0, 59.9, 60.0, 3599.0, 3600.0, 86_000.0])),
        revision=draw(st.sampled_from(["r1", "r2", "never-told"])),
    )
    found: list[Event] = [sent]
    if draw(st.booleans()):
        result = draw(st.sampled_from(list(Result)[:6] + [Result.ACCEPTED] * 6))
        stage = None if result is Result.ACCEPTED else draw(st.sampled_from(list(Stage)))
        # Few ids, so that they are used again and again.
        queue_id = (
            draw(st.sampled_from(["Q1", "Q2", "Q1", None])) if result is Result.ACCEPTED else None
        )
        found.append(submission(sent, result, stage, queue_id))
    for _ in range(draw(st.sampled_from([0, 0, 1, 1, 1, 2]))):
        lo = draw(st.sampled_from([0.5, 59.0, 61.0, 4000.0]))
        width = draw(st.sampled_from([0.0, 0.5, 10.0]))
        uid, junk, wrong = draw(st.tuples(st.integers(1, 30), st.booleans(), st.booleans()))
        found.append(arrival(sent, lo, lo + width, uid=uid, junk=junk, wrong=wrong))
    if draw(st.booleans()):
        found.append(expiry(sent, lost=draw(st.booleans())))
    if draw(st.integers(0, 3)) == 0:
        found.append(bounce(sent, draw(st.sampled_from(["failed", "delayed", "relayed"]))))
    if draw(st.integers(0, 5)) == 0:
        found.append(draw(st.sampled_from(found)))
    return found


@st.composite
def looks(draw: st.DrawFn, handed: Sequence[tuple[Intent, str]]) -> Check:
    """A look of an agent on relay-a or relay-b, of any time; ``handed`` are canaries with ids."""
    at_s = draw(st.sampled_from([1.0, 30.0, 61.0, 3600.0, 90_000.0]))
    agent = draw(st.sampled_from(["sfo", "fra"]))
    relay = draw(st.sampled_from(["relay-a", "relay-b"]))
    if not handed or draw(st.integers(0, 3)) == 0:
        reason = draw(st.sampled_from([None, Reason.TIMEOUT, Reason.REFUSED]))
        port = draw(st.sampled_from([25, 443]))
        return egress(at_s, ok=reason is None, reason=reason, port=port, agent=agent, relay=relay)
    sent = draw(st.lists(st.sampled_from(handed), min_size=1, max_size=3))
    found = [
        listed(
            one,
            queue_id,
            arrived_s=one.at_ns / NS_PER_S
            - T0_S
            + draw(st.sampled_from([0.0, 0.0, 1.0, 5.0, 599.0, 601.0, -700.0])),
            stage=draw(st.sampled_from([Stage.EGRESS_CONNECT, Stage.EGRESS_RCPT])),
            reason=draw(st.sampled_from([Reason.TIMEOUT, Reason.REPLY_4XX, Reason.GREYLISTED])),
            recipient=draw(st.sampled_from([None, None, None, "C@ACME.example"])),
        )
        for one, queue_id in sent
    ]
    return queue_look(at_s, *found, relay=sent[0][0].path.relay, agent=agent)


@st.composite
def histories(draw: st.DrawFn, *, ticks: bool = True) -> list[Entry]:
    """A log in which the lives of a dozen canaries are mixed in any order."""
    events: list[Event | tuple[float, Event]] = []
    for number in range(1, draw(st.integers(1, 12)) + 1):
        events.extend(draw(lives(number)))
    sent = {event.canary: event for event in events if isinstance(event, Intent)}
    handed = [
        (sent[event.canary], event.queue_id)
        for event in events
        if isinstance(event, Submission) and event.queue_id is not None
    ]
    events.extend(draw(st.lists(looks(handed), max_size=4)))
    events = draw(st.permutations(events))
    # In any order hardly one comes while its canary waits.
    for look in draw(st.lists(looks(handed), max_size=6)):
        events.insert(draw(st.integers(len(events) // 2, len(events))), look)
    events.insert(0, config("r1", "aws"))
    at = draw(st.integers(0, len(events)))
    events.insert(at, config("r2", draw(st.sampled_from(["aws", "gcp"]))))
    if ticks:
        now_s = 0.0
        for _ in range(draw(st.integers(0, 12))):
            now_s += draw(st.sampled_from([10.0, 20.0, 40.0, 1830.0, 90_000.0, 600_000.0]))
            events.insert(draw(st.integers(0, len(events))), (0.0, tick(now_s)))
        moments = [e[1] for e in events if isinstance(e, tuple)]
        moments.sort(key=lambda e: e.at_ns if isinstance(e, Tick) else 0)
        events = [(0.0, moments.pop(0)) if isinstance(e, tuple) else e for e in events]
    return log_of(events)


@st.composite
def splits(draw: st.DrawFn, entries: Sequence[Entry]) -> list[list[Entry]]:
    """The entries as consecutive batches."""
    cuts = sorted(draw(st.lists(st.integers(0, len(entries)), max_size=6)))
    edges = [0, *cuts, len(entries)]
    return [list(entries[a:b]) for a, b in pairwise(edges) if a < b]


_event = msgspec.json.Decoder(Event)


def events_of(entries: Sequence[Entry]) -> list[Event]:
    return [_event.decode(entry.body) for entry in entries]
