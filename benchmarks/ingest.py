"""How many events a second one collector process takes in over HTTP, and how long an answer takes.

Batches of 500 events as agents send them, gzipped, through the real server: token, admission,
unpacking, every event decoded and held against what its agent was assigned, duplicates sorted out,
written and fsynced, answered. The floor is aiohttp with a handler that appends the body to a file,
fsynced in the same way: who waits at the same time shares one. Each server is a process of its own
and so is the one that sends, which has made its batches beforehand. In the end a whole collector
is offered a steady load while its rollup counts what comes.
"""

import contextlib
import re
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TypeVar

import msgspec

from benchmarks.figures import Figure, compared
from benchmarks.job import REPOSITORY, command
from benchmarks.rollup import T0_NS, entries
from benchmarks.samples import quantile
from collector.config.assigned import Grant

T = TypeVar("T")
BATCH = 500
AIM = 20_000
AGENTS = tuple(f"site-{number}" for number in range(50))
RELAYS = tuple(f"relay-{number}" for number in range(10))
MAILBOXES = tuple(f"customer-{number % 5}/box-{number}" for number in range(10))
BATCHES = 600
STEADY_S = 30.0
_CANARIES = 4_200
_TIME = re.compile(rb"\b176\d{16}\b")


class Listening(msgspec.Struct, frozen=True):
    """Where a server takes batches, the token of each agent, and the revision in force."""

    url: str
    tokens: dict[str, str]
    revision: str = "r1"


class Used(msgspec.Struct, frozen=True):
    """What a server has used so far: CPU of all its threads, and its peak of resident memory.

    ``beside_s`` are the CPU seconds of its child processes. ``counted`` is how many entries its
    rollup has counted, ``lag`` how many not yet, ``lag_s`` how long ago the oldest of those came.
    """

    cpu_s: float
    peak_bytes: int
    beside_s: float = 0.0
    counted: int = 0
    lag: int = 0
    lag_s: float = 0.0


class Load(msgspec.Struct, frozen=True):
    """Send ``batches`` in all, each agent one at a time: as fast as answers come, or by a clock."""

    listening: Listening
    agents: int
    batches: int
    epoch: str
    per_second: float = 0.0


class Sent(msgspec.Struct, frozen=True):
    """What became of a load; ``waits_s`` are from when a batch was due to its answer.

    ``cpu_s`` is the sender's own while it sent.
    """

    batches: int
    bytes: int
    seconds: float
    cpu_s: float
    waits_s: list[float]

    @property
    def per_second(self) -> float:
        """Events a second."""
        return self.batches * BATCH / self.seconds

    @property
    def cores(self) -> float:
        """What of a core the sender took."""
        return self.cpu_s / self.seconds


def grant() -> Grant:
    """What every agent may report: all that :func:`events_of` speaks of."""
    return Grant(RELAYS, AGENTS, MAILBOXES)


_made: list[tuple[str, bytes]] = []


def events_of(agent: str, revision: str = "r1") -> list[bytes]:
    """Some thousand events of an agent: canaries sent just now, taken by the relay, there or not.

    No two agents have a canary in common.
    """
    if not _made:
        shift_ns = time.time_ns() - T0_NS

        def shifted(found: re.Match[bytes]) -> bytes:
            return b"%d" % (int(found[0]) + shift_ns)

        _made.extend(
            (entry.source, _TIME.sub(shifted, entry.body))
            for entry in entries(_CANARIES)
            if entry.source != "collector"
        )
    canary = b'"canary":"%04x' % AGENTS.index(agent)
    return [
        body.replace(source.encode(), agent.encode(), 1)
        .replace(b'"canary":"0000', canary, 1)
        .replace(b'"revision":"r1"', b'"revision":"%b"' % revision.encode(), 1)
        for source, body in _made
    ]


class Server:
    """A server in a process of its own."""

    def __init__(self, process: "subprocess.Popen[bytes]") -> None:
        self._process = process
        self.listening = self._read(Listening)

    def _read(self, form: type[T]) -> T:
        if self._process.stdout is None:
            raise RuntimeError("the server has no output")
        return msgspec.json.decode(self._process.stdout.readline(), type=form)

    def used(self) -> Used:
        """What it has used so far."""
        if self._process.stdin is None:
            raise RuntimeError("the server has no input")
        self._process.stdin.write(b"\n")
        self._process.stdin.flush()
        return self._read(Used)

    def take(self, agents: int, batches: int, epoch: str, per_second: float = 0.0) -> Sent:
        """Have a load sent to it."""
        load = Load(self.listening, agents, batches, epoch, per_second)
        done = subprocess.run(
            command("ingest_load"),
            input=msgspec.json.encode(load),
            stdout=subprocess.PIPE,
            check=True,
            cwd=REPOSITORY,
            timeout=300,
        )
        return msgspec.json.decode(done.stdout, type=Sent)


@contextlib.contextmanager
def started(kind: str) -> Iterator[Server]:
    """A server on an empty directory."""
    with tempfile.TemporaryDirectory(prefix="mailcanary-ingest-") as directory:
        process = subprocess.Popen(
            command("ingest_process", kind, directory),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            cwd=REPOSITORY,
        )
        try:
            yield Server(process)
        finally:
            process.communicate(timeout=60)


def run(batches: int = BATCHES, steady_s: float = STEADY_S) -> list[Figure]:
    """Rates with one and with fifty agents, the answer's time at half of that, CPU and memory."""
    at_the_start = machine_load()
    with started("collector") as ours, started("bare") as bare:
        one, _ = full_load(ours, bare, 1, batches)
        many, rate = full_load(ours, bare, len(AGENTS), batches)
        found = [*one, *many, *half_load(ours, bare, rate / 2, 2 * batches)]
        peak, bare_peak = ours.used().peak_bytes, bare.used().peak_bytes
    mib = 1 << 20
    found.append(compared("ingest.memory", peak / mib, "MiB", "bare handler", bare_peak / mib))
    with started("whole") as whole:
        found += steady_load(whole, steady_s)
    found.append(
        compared("ingest.machine_load", machine_load(), "runnable", "at the start", at_the_start)
    )
    return found


def machine_load() -> float:
    """How many processes ran or wanted to, on average over the last minute."""
    return float(Path("/proc/loadavg").read_text(encoding="ascii").split()[0])


def full_load(ours: Server, bare: Server, agents: int, batches: int) -> tuple[list[Figure], float]:
    """Figures at the rate that is reached when answers set the pace; and that rate."""
    for server in (ours, bare):
        server.take(agents, agents * 2, f"warm-{agents}")
    before = ours.used()
    sent = ours.take(agents, batches, f"full-{agents}")
    cpu_s = ours.used().cpu_s - before.cpu_s
    floor = bare.take(agents, batches, f"full-{agents}")
    name, rate = f"ingest.{agents}_agents", sent.per_second
    beside = "bare handler, same batches"
    return [
        compared(f"{name}.rate", rate, "events/s", "aim: at least", AIM),
        compared(f"{name}.beside_appending", rate, "events/s", beside, floor.per_second),
        Figure(f"{name}.cpu", 1e6 * cpu_s / (sent.batches * BATCH), "us/event", "server"),
        Figure(f"{name}.cores", cpu_s / sent.seconds, "cores", "server, at that rate"),
        sender(name, sent, floor),
    ], rate


def sender(name: str, sent: Sent, floor: Sent) -> Figure:
    """What of a core the sender took: with all of one, it is what sets the pace."""
    limits = [what for what, of in (("ours", sent), ("the bare handler", floor)) if of.cores > 0.9]
    told = f"sets the pace of {' and '.join(limits)}" if limits else "sets no pace"
    return compared(
        f"{name}.sender", sent.cores, "cores", f"to the bare handler; {told}", floor.cores
    )


def half_load(ours: Server, bare: Server, rate: float, batches: int) -> list[Figure]:
    """How long answers take at that many events a second."""
    calm = ours.take(len(AGENTS), batches, "half", rate / BATCH)
    floor = bare.take(len(AGENTS), batches, "half", rate / BATCH)
    told = f"bare handler, {rate:,.0f} events/s"
    size = calm.bytes / calm.batches
    return [
        *waits("ingest.half_load", calm, told, floor),
        Figure("ingest.batch", size, "bytes", f"{BATCH} events, gzipped"),
    ]


def waits(name: str, sent: Sent, told: str, floor: Sent | None = None) -> list[Figure]:
    """How long answers took, the middle one and the slowest in a hundred."""
    found = []
    for share in (0.5, 0.99):
        wait_ms = 1e3 * quantile(sent.waits_s, share)
        other_ms = 1e3 * quantile(floor.waits_s, share) if floor else None
        ratio = wait_ms / other_ms if other_ms else None
        found.append(Figure(f"{name}.p{share * 100:.0f}", wait_ms, "ms", told, other_ms, ratio))
    return found


def steady_load(whole: Server, seconds: float) -> list[Figure]:
    """A collector with its rollup at work, offered as much as is aimed at."""
    agents, per_second = len(AGENTS), AIM / BATCH
    whole.take(agents, agents, "warm-steady", per_second)
    before = whole.used()
    sent = whole.take(agents, int(per_second * seconds), "steady", per_second)
    after = whole.used()
    span_s, beside_s = sent.seconds, after.beside_s - before.beside_s
    counted = after.counted - before.counted
    name = "ingest.beside_rollup"
    told = f"{AIM:,} events/s offered for {span_s:.0f} s"
    return [
        compared(f"{name}.rate", sent.per_second, "events/s", "offered", AIM),
        compared(f"{name}.counted", counted / span_s, "events/s", "offered", AIM),
        Figure(f"{name}.lag", after.lag_s, "s", f"of the rollup in the end, {after.lag:,} events"),
        *waits(name, sent, told),
        Figure(f"{name}.cores", (after.cpu_s - before.cpu_s) / span_s, "cores", "collector"),
        Figure(f"{name}.rollup_cores", beside_s / span_s, "cores", "its process"),
        Figure(f"{name}.rollup_cpu", 1e6 * beside_s / max(1, counted), "us/event", "its process"),
        Figure(f"{name}.sender", sent.cores, "cores", told),
    ]
