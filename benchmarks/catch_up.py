"""How soon an agent that was cut off for an hour has told all of it, and how it looks meanwhile.

A real spool with an hour of canaries that came home, a real agent started on it that goes on
sending as many as before, and a real collector with its rollup, each with its command line. All
the time the collector is asked what it has taken in, whether the agent is up, how far it says that
it is behind, and what became of its canaries.
"""

import contextlib
import re
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path as FilePath
from typing import Any

import msgspec

from benchmarks.backlog import Backlog, build
from benchmarks.figures import Figure, compared
from benchmarks.growth_fleet import Employer, Part, estate
from benchmarks.growth_site import PROBE, Site, Size, text_of
from benchmarks.ingest import machine_load
from probes.contract.names import Path

SECONDS = 3600.0
RATES = (10, 50)
AIM = 10
"""Times real time, at least."""
_AGENT = "agent-0"
_PATH = Path(_AGENT, PROBE, f"{PROBE}/inbox")
_SIZE = Size(customers=0, relays=0, agents=1, interval="365d")
_LOOK_S = 0.1
_PATIENCE_S = 600.0
_BEAT = "1s"
"""Often enough that a short catch-up is told of at all."""
_TAKEN = re.compile(
    rb'^mailcanary_collector_ingest_events_total\{result="accepted"\} (\S+)', re.MULTILINE
)
_BAD = ("lost", "unknown")


@dataclass(slots=True)
class Looks:
    """What the collector told while the agent caught up.

    ``taken`` are seconds since the agent was started and events taken in until then; ``standing``
    how it stood, ``lag`` the events that it said to be behind, each at every look, and ``wrong``
    the most canaries that counted as lost or unknown at once.
    """

    taken: list[tuple[float, int]] = field(default_factory=list)
    standing: list[str] = field(default_factory=list)
    lag: list[int] = field(default_factory=list)
    wrong: int = 0


class Pair:
    """A collector, and an agent that is not started yet; whoever holds the stack ends both."""

    def __init__(self, site: Site, stack: ExitStack) -> None:
        settings = site.directory / "collector.yaml"
        settings.write_text(text_of({"version": 1, "beat": _BEAT}))
        self._employer = Employer(site, stack, "--settings", str(settings))
        self.collector = self._employer.collector

    def start_agent(self) -> Part:
        """Start the agent on its spool."""
        return self._employer.hire(_AGENT)

    def ask(self, path: str) -> bytes | None:
        """What the collector answers to an operator; ``None`` where that is not there yet."""
        status, body, _ = self._employer.ask("GET", path)
        if status not in (200, 404, 503):
            raise RuntimeError(f"{path}: {status} {body!r}")
        return body if status == 200 else None

    def taken(self) -> int:
        """How many events it has taken in."""
        found = _TAKEN.search(self.ask("/metrics") or b"")
        return round(float(found[1])) if found else 0

    def outcomes(self) -> dict[str, int]:
        """How the canaries of the last days count, as far as the rollup has read."""
        now_s = int(time.time())
        span = f"from={now_s - 2 * 86_400}&to={now_s + 86_400}"
        answer = self.ask(f"/api/v1/series?dimension=all&tier=86400&{span}")
        found: dict[str, int] = {}
        for point in msgspec.json.decode(answer)["points"] if answer else ():
            for outcome, count in point["figures"]["outcomes"].items():
                found[outcome] = found.get(outcome, 0) + count
        return found

    def look(self, looks: Looks) -> None:
        """Note how the agent stands, and what became of its canaries."""
        answer = self.ask(f"/api/v1/agents/{_AGENT}")
        view: dict[str, Any] = msgspec.json.decode(answer) if answer else {"report": None}
        report = view["report"]
        # Before its first beat there is nothing that it could be called.
        if report is not None and report["lag_events"] is not None:
            looks.standing.append(view["standing"])
            looks.lag.append(report["lag_events"])
        outcomes = self.outcomes()
        looks.wrong = max(looks.wrong, sum(outcomes.get(bad, 0) for bad in _BAD))


@contextlib.contextmanager
def ready(seconds: float, per_second: int) -> Iterator[tuple[Pair, Backlog]]:
    """A pair, its agent's spool filled, and goes on at that rate when it is started."""
    with (
        tempfile.TemporaryDirectory(prefix="mailcanary-catch-up-") as directory,
        estate(1) as ports,
        ExitStack() as stack,
    ):
        site = Site(FilePath(directory), _SIZE, ports)
        site.write()
        site.change(0, interval=f"{1000 // per_second}ms")
        pair = Pair(site, stack)
        backlog = build(site.directory / _AGENT, _PATH, seconds, float(per_second), time.time_ns())
        yield pair, backlog


def watch(pair: Pair, backlog: Backlog, began_s: float) -> Looks:
    """Look until the backlog is with the collector: its events come first, in their order.

    Raises:
        RuntimeError: it took too long.
    """
    looks = Looks()
    while not looks.taken or looks.taken[-1][1] < backlog.events:
        since_s = time.monotonic() - began_s
        if since_s > _PATIENCE_S:
            raise RuntimeError(f"not caught up: {looks.taken[-1]} of {backlog.events} events")
        looks.taken.append((since_s, pair.taken()))
        pair.look(looks)
        time.sleep(_LOOK_S)
    return looks


def settled(pair: Pair, backlog: Backlog, looks: Looks) -> float:
    """Look until the rollup has counted all of it; gives the seconds that this took."""
    began_s = time.monotonic()
    while pair.outcomes().get("delivered", 0) < backlog.canaries:
        if time.monotonic() - began_s > _PATIENCE_S:
            raise RuntimeError(f"not counted: {pair.outcomes()} of {backlog.canaries}")
        pair.look(looks)
        time.sleep(_LOOK_S)
    # What came in with the last beat: nothing is left.
    pair.look(looks)
    return time.monotonic() - began_s


def measure(seconds: float, per_second: int) -> Iterator[Figure]:
    """The figures of one catch-up."""
    name = f"catch_up.{per_second}_per_s"
    with ready(seconds, per_second) as (pair, backlog):
        before_s, began_s = pair.collector.cpu_s(), time.monotonic()
        agent = pair.start_agent()
        looks = watch(pair, backlog, began_s)
        agent_s, collector_s = agent.cpu_s(), pair.collector.cpu_s() - before_s
        rest_s = settled(pair, backlog, looks)
    first = next(look for look in looks.taken if look[1])
    whole_s, taken = looks.taken[-1]
    told = f"{backlog.events:,} events of {seconds:,.0f} s, {backlog.bytes / (1 << 20):.0f} MiB"
    rate = (taken - first[1]) / (whole_s - first[0]) if whole_s > first[0] else taken / whole_s
    yield Figure(f"{name}.rate", rate, "events/s", told)
    yield compared(f"{name}.over_real_time", seconds / whole_s, "times", "aim: at least", AIM)
    yield Figure(f"{name}.seconds", whole_s, "s", "from the agent's start until all is safe")
    yield Figure(f"{name}.first", first[0], "s", "of these until the first batch was taken")
    yield Figure(f"{name}.counted", rest_s, "s", "later, until the rollup has counted it")
    yield Figure(f"{name}.agent_cores", agent_s / whole_s, "cores", "agent, its start included")
    yield Figure(f"{name}.collector_cores", collector_s / whole_s, "cores", "with its rollup")
    up = looks.standing.count("up") / len(looks.standing)
    yield Figure(f"{name}.up", up, "share", f"of {len(looks.standing)} looks at the agent")
    yield compared(
        f"{name}.lag", looks.lag[-1], "events", "in the end; as first told", max(looks.lag)
    )
    yield Figure(f"{name}.wrong", looks.wrong, "canaries", "lost or unknown at any look")


def run(seconds: float = SECONDS, rates: tuple[int, ...] = RATES) -> Iterator[Figure]:
    """One catch-up at each rate, and what else the machine did."""
    at_the_start = machine_load()
    for per_second in rates:
        yield from measure(seconds, per_second)
    yield compared(
        "catch_up.machine_load", machine_load(), "runnable", "at the start", at_the_start
    )
