"""How many events a second the rollup counts, alone on its core, and how large its file becomes.

1,000 paths, each canary an intent, an accepted submission and an arrival, in the order in which
they come when mail takes two seconds; one in fifty is lost. The floor only decodes the events.
"""

import gc
import tempfile
from collections.abc import Iterator
from pathlib import Path as FilePath
from time import perf_counter

from benchmarks.figures import Figure, compared
from collector.consumers import Pace
from collector.log.engine import Bounds, Entry
from collector.rollup.consumer import RollupConsumer
from probes.contract.events import (
    Arrival,
    Carrier,
    Config,
    Event,
    Expiry,
    Hop,
    Intent,
    Interval,
    Submission,
    Tick,
    decode,
    encode,
)
from probes.contract.names import Path
from probes.contract.stages import Result
from probes.contract.units import NS_PER_S

T0_NS = 1_760_000_000 * NS_PER_S
CANARIES = 40_000
PER_SECOND = 100
"""Canaries a second: every path has one every ten seconds."""
BATCH = Pace().batch
AIM = 20_000
_PHASES = dict.fromkeys(("connect", "banner", "ehlo", "mail", "rcpt", "data", "accept"), 0.0123)


def paths() -> list[Path]:
    """10 agents, 10 relays, 10 mailboxes of 5 customers."""
    return [
        Path(f"agent-{a}", f"relay-{r}", f"customer-{m % 5}/box-{m}")
        for a in range(10)
        for r in range(10)
        for m in range(10)
    ]


def document() -> dict[str, object]:
    """The configuration, in the file's words."""
    imap = {"host": "imap.example", "user": "u"}
    return {
        "version": 1,
        "relays": [
            {
                "name": f"relay-{n}",
                "host": f"relay-{n}.example",
                "labels": {"provider": f"p{n % 3}", "zone": f"z{n % 5}"},
            }
            for n in range(10)
        ],
        "agents": [
            {
                "name": f"agent-{n}",
                "sender": {"address": f"c@a{n}.example", "helo": f"a{n}.example"},
                "labels": {"site": f"s{n % 4}"},
            }
            for n in range(10)
        ],
        "customers": [
            {
                "name": f"customer-{c}",
                "mailboxes": [
                    {
                        "name": f"box-{m}",
                        "address": f"box-{m}@c{c}.example",
                        "imap": {**imap, "secret": f"customer-{c}/imap"},
                    }
                    for m in range(c, 10, 5)
                ],
            }
            for c in range(5)
        ],
    }


def _intent(number: int, path: Path) -> Intent:
    at_ns = T0_NS + number * NS_PER_S // PER_SECOND
    return Intent(
        canary=f"{number * 0x9E3779B97F4A7C15 & (1 << 64) - 1:032x}",
        path=path,
        stream_epoch="k3v9x0q2",
        due_ns=at_ns,
        at_ns=at_ns,
        deadline_s=60.0,
        loss_after_s=1800.0,
        revision="r1",
        path_seq=number // 1000 + 1,
        mailbox_seq=number // 10 + 1,
    )


def _submission(sent: Intent) -> Submission:
    return Submission(
        canary=sent.canary,
        path=sent.path,
        sent_ns=sent.at_ns,
        at_ns=sent.at_ns + NS_PER_S // 5,
        result=Result.ACCEPTED,
        phases=_PHASES,
        peer="192.0.2.25:25",
        queue_id=f"4ZkQ{sent.canary[-7:]}",
    )


def _expiry(sent: Intent) -> Expiry:
    return Expiry(
        canary=sent.canary,
        path=sent.path,
        at_ns=sent.at_ns + 1810 * NS_PER_S,
        lost=True,
        watermark_ns=sent.at_ns + 1805 * NS_PER_S,
    )


def _arrival(sent: Intent, lo: float, uid: int) -> Arrival:
    hops = [
        Hop(by=f"mx{n}.example", helo="relay", address="192.0.2.1", protocol="ESMTP", tls=None,
            at_ns=sent.at_ns, delay_s=0.1)
        for n in range(2)
    ]  # fmt: skip
    return Arrival(
        canary=sent.canary,
        path=sent.path,
        stream_epoch=sent.stream_epoch,
        sent_ns=sent.at_ns,
        seen_ns=sent.at_ns + int((lo + 0.1) * NS_PER_S),
        delay=Interval(lo, lo + 0.05),
        clock="boottime",
        folder="INBOX",
        junk=False,
        uidvalidity=7,
        uid=uid,
        hops=hops,
        carrier=Carrier(relay_as_planned=True, egress_as_planned=True),
        path_seq=sent.path_seq,
        mailbox_seq=sent.mailbox_seq,
    )


def _life(number: int, path: Path) -> Iterator[tuple[int, Event]]:
    """A canary's events, each with its moment; one in fifty is lost."""
    sent = _intent(number, path)
    yield sent.at_ns, sent
    submission = _submission(sent)
    yield submission.at_ns, submission
    if number % 50 == 0:
        expiry = _expiry(sent)
        yield expiry.at_ns, expiry
    else:
        arrival = _arrival(sent, 1.0 + number % 97 / 50, number + 1)
        yield arrival.seen_ns, arrival


def entries(canaries: int) -> list[Entry]:
    """The log: what became of that many canaries, in the order of time."""
    ways = paths()
    events: list[tuple[int, Event]] = [
        (T0_NS - 1, Config(revision="r1", at_ns=T0_NS - 1, document=document()))
    ]
    for number in range(canaries):
        events.extend(_life(number, ways[number * 7 % 1000]))
    last_ns = max(at_ns for at_ns, _ in events)
    events.extend((at, Tick(at_ns=at)) for at in range(T0_NS, last_ns, 10 * NS_PER_S))
    events.sort(key=lambda item: item[0])
    return [
        Entry(cursor, at_ns, _source(event), "epoch", cursor, _kind(event), encode(event))
        for cursor, (at_ns, event) in enumerate(events, 1)
    ]


def _source(event: Event) -> str:
    path = getattr(event, "path", None)
    return path.agent if isinstance(path, Path) else "collector"


def _kind(event: Event) -> str:
    return str(type(event).__struct_config__.tag)


def run(canaries: int = CANARIES) -> list[Figure]:
    """Events a second in batches and one batch's length, and bytes on the disk per canary."""
    log = entries(canaries)
    batches = [log[at : at + BATCH] for at in range(0, len(log), BATCH)]
    start = perf_counter()
    for entry in log:
        decode(entry.body)
    floor = len(log) / (perf_counter() - start)
    with tempfile.TemporaryDirectory() as name:
        where = FilePath(name)
        consumer = RollupConsumer(where)
        consumer.open("log", Bounds(1, len(log), 0, 1, 0, None))
        # The whole log lies in memory only here: it is none of the collector's garbage.
        gc.collect()
        gc.freeze()
        start, longest = perf_counter(), 0.0
        for batch in batches:
            began = perf_counter()
            consumer.take(batch)
            longest = max(longest, perf_counter() - began)
        rate = len(log) / (perf_counter() - start)
        gc.unfreeze()
        consumer.close()
        size = consumer.file.stat().st_size
    return [
        compared("rollup.events", rate, "events/s", "aim: at least", AIM),
        compared("rollup.beside_decoding", rate, "events/s", "decoding alone", floor),
        Figure("rollup.longest_batch", longest, "s", f"batches of {BATCH:,} events"),
        Figure("rollup.bytes", size / canaries, "bytes/canary", "all tiers, 1,000 paths"),
    ]
