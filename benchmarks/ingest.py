"""How many events a second one collector process takes in over HTTP, and how long an answer takes.

Batches of 500 events as agents send them, gzipped, through the real server: token, admission,
unpacking, every event decoded and held against what its agent was assigned, duplicates sorted out,
written and fsynced, answered. The floor is aiohttp with a handler that appends the body to a file,
fsynced in the same way: who waits at the same time shares one. Each server is a process of its own
and so is the one that sends, which has made its batches beforehand.
"""

import contextlib
import subprocess
import tempfile
from collections.abc import Iterator
from typing import TypeVar

import msgspec

from benchmarks.figures import Figure, compared
from benchmarks.job import REPOSITORY, command
from benchmarks.rollup import entries
from benchmarks.samples import quantile
from collector.config.assigned import Grant

T = TypeVar("T")
BATCH = 500
AIM = 20_000
AGENTS = tuple(f"site-{number}" for number in range(50))
BATCHES = 600
_MADE_OF = "agent-3"
_CANARIES = 14_000


class Listening(msgspec.Struct, frozen=True):
    """Where a server takes batches, and the token of each agent."""

    url: str
    tokens: dict[str, str]


class Used(msgspec.Struct, frozen=True):
    """What a server has used so far: CPU of all its threads, and its peak of resident memory."""

    cpu_s: float
    peak_bytes: int


class Load(msgspec.Struct, frozen=True):
    """Send ``batches`` in all, each agent one at a time: as fast as answers come, or by a clock."""

    listening: Listening
    agents: int
    batches: int
    epoch: str
    per_second: float = 0.0


class Sent(msgspec.Struct, frozen=True):
    """What became of a load; ``waits_s`` are from when a batch was due to its answer."""

    batches: int
    bytes: int
    seconds: float
    waits_s: list[float]

    @property
    def per_second(self) -> float:
        """Events a second."""
        return self.batches * BATCH / self.seconds


def grant() -> Grant:
    """What every agent may report: all that :func:`events_of` speaks of."""
    relays = tuple(f"relay-{number}" for number in range(10))
    mailboxes = tuple(f"customer-{number % 5}/box-{number}" for number in range(10))
    return Grant(relays, AGENTS, mailboxes)


_made: list[bytes] = []


def events_of(agent: str) -> list[bytes]:
    """Some thousand events of an agent: canaries sent, taken by the relay, and there or not."""
    if not _made:
        _made.extend(entry.body for entry in entries(_CANARIES) if entry.source == _MADE_OF)
    return [body.replace(_MADE_OF.encode(), agent.encode(), 1) for body in _made]


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


def run(batches: int = BATCHES) -> list[Figure]:
    """Rates with one and with fifty agents, the answer's time at half of that, CPU and memory."""
    with started("collector") as ours, started("bare") as bare:
        one, _ = full_load(ours, bare, 1, batches)
        many, rate = full_load(ours, bare, len(AGENTS), batches)
        found = [*one, *many]
        half = rate / BATCH / 2
        calm = ours.take(len(AGENTS), batches, "half", half)
        calm_floor = bare.take(len(AGENTS), batches, "half", half)
        found += [
            compared(
                f"ingest.half_load.p{share * 100:.0f}",
                1e3 * quantile(calm.waits_s, share),
                "ms",
                f"bare handler, {half * BATCH:,.0f} events/s",
                1e3 * quantile(calm_floor.waits_s, share),
            )
            for share in (0.5, 0.99)
        ]
        peak, bare_peak = ours.used().peak_bytes, bare.used().peak_bytes
    mib = 1 << 20
    found.append(compared("ingest.memory", peak / mib, "MiB", "bare handler", bare_peak / mib))
    size = calm.bytes / calm.batches
    found.append(Figure("ingest.batch", size, "bytes", f"{BATCH} events, gzipped"))
    return found


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
    ], rate
