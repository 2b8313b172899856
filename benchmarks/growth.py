"""How a collector and its agents grow from 1 to 100,000 paths, and how soon a change is there.

Both are real processes that talk over HTTP on loopback, with all that they write on the disk. The
relays refuse every mail (a rejected canary is two events) and the mailboxes stay empty: servers
that cost little, in a process of their own, so that what is measured is the monitor.
"""

import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import yaml

from agent.settings_files import load_config
from benchmarks.figures import Figure, best_of, compared
from benchmarks.growth_changes import (
    PARTS,
    Change,
    Changer,
    Events,
    Timed,
    disturbed,
    pinged,
    timed,
)
from benchmarks.growth_fleet import Fleet, at_ns, estate, running, tidy_end
from benchmarks.growth_site import NEVER, Site, Size
from benchmarks.samples import median, quantile, slope
from probes.contract.config.models import Config

SIZES = {
    "1": Size(0, 0, 1, "2h"),
    "1000": Size(10, 100, 1, "2h"),
    "1000x5": Size(10, 20, 5, "24m"),
    "100000": Size(1000, 100, 1, "2h"),
    "100000x5": Size(1000, 20, 5, "24m"),
}
"""Paths, and x agents. At 100,000 paths both send 13.9 canaries a second besides the probe's."""

CHANGES = {"1": 10, "1000": 10, "1000x5": 0, "100000": 5, "100000x5": 2}
"""Of each kind."""

STEADY_S = 5.0
IDLE_S = 10.0
QUIET_S = 3.0
_SETTLE_S = 2.0
_LOOK_S = 0.3
_MIB = 1 << 20


@dataclass(slots=True)
class Cost:
    """CPU of one core, in percent, of the collector and of one agent, over ``seconds``."""

    collector: float
    agent: float
    seconds: float = 0.0


@dataclass(slots=True)
class Found:
    """What a fleet gave. Bytes and seconds."""

    paths: int
    ready_s: float = 0.0
    first_s: float = 0.0
    collector_rss: int = 0
    agent_rss: int = 0
    changed_rss: int = 0
    steady: Cost = field(default_factory=lambda: Cost(0, 0))
    idle: Cost = field(default_factory=lambda: Cost(0, 0))
    asked: Cost = field(default_factory=lambda: Cost(0, 0))
    changed: Cost = field(default_factory=lambda: Cost(0, 0))
    events_per_s: float = 0.0
    canaries_per_s: float = 0.0
    refused: float = 0.0
    plain: int = 0
    packed: int = 0
    serve_s: float = 0.0
    floor_s: float = 0.0
    changes: dict[str, list[Timed]] = field(default_factory=dict)
    put_s: list[float] = field(default_factory=list)
    quiet: list[float] = field(default_factory=list)
    changing: list[float] = field(default_factory=list)
    quiet_late: list[float] = field(default_factory=list)
    changing_late: list[float] = field(default_factory=list)
    disturbed: int = 0
    yaml_s: float = 0.0


def run(sizes: str = ",".join(SIZES)) -> Iterator[Figure]:
    """The figures of each size, as soon as they are there; see ``docs/benchmarks.md``."""
    bare = {
        "collector": _bare_rss("import mailcanary, collector.app"),
        "agent": _bare_rss("import mailcanary, agent.remote_app"),
    }
    found: dict[str, Found] = {}
    for name in sizes.split(","):
        one = found[name] = measure(SIZES[name], CHANGES[name])
        paths, _, agents = name.partition("x")
        prefix = f"growth.{paths}_paths" + (f"_{agents}_agents" if agents else "")
        yield from (*size_figures(prefix, one, bare), *change_figures(prefix, one))
    if "1000" in found and "100000" in found:
        yield from per_path(found["1000"], found["100000"])


def _bare_rss(imports: str) -> int:
    code = f"{imports}; print(open('/proc/self/status').read())"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True, text=True)
    return int(done.stdout.partition("VmRSS:")[2].split()[0]) * 1024


def measure(size: Size, changes: int) -> Found:
    """Run a fleet of that size, with so many changes of each kind."""
    with (
        tidy_end(),
        tempfile.TemporaryDirectory(prefix="mailcanary-growth-") as directory,
        estate(size.relays + 1) as ports,
    ):
        site = Site(Path(directory), size, ports)
        site.write()
        found = Found(size.paths)
        with running(site) as fleet:
            _watch(fleet, found, changes)
        files = [path.read_text() for path in (site.main, *site.customers.iterdir())]
        found.yaml_s = best_of(3, lambda: [yaml.load(t, Loader=yaml.CSafeLoader) for t in files])
        return found


@dataclass(frozen=True, slots=True)
class Made:
    """Changes that were made, and from when to when, by the wall clock."""

    kinds: dict[str, list[Change]]
    config: Config
    begin_ns: int
    end_ns: int


def _watch(fleet: Fleet, found: Found, changes: int) -> None:
    while len(Events.of(fleet).senders()) < len(fleet.agents):
        time.sleep(_LOOK_S)
    fleet.wait_for_mailboxes()
    time.sleep(_SETTLE_S)
    begin_ns = time.time_ns()
    found.steady = _cost(fleet, STEADY_S)
    end_ns = time.time_ns()
    found.collector_rss = fleet.collector.rss()
    found.agent_rss = round(median([agent.rss() for agent in fleet.agents]))
    with pinged(fleet) as found.quiet, _metered(fleet, found.asked):
        time.sleep(QUIET_S)
    _assignment(fleet, found)
    made = _change(fleet, found, changes)
    found.changed_rss = fleet.collector.rss()
    _rest(fleet)
    found.idle = _cost(fleet, IDLE_S)
    events = Events.of(fleet)
    seconds = (end_ns - begin_ns) / 1e9
    found.events_per_s = events.between(begin_ns, end_ns) / seconds
    found.canaries_per_s = events.flown(begin_ns, end_ns) / seconds
    found.refused = 100 * events.refused()
    found.quiet_late = events.lateness_s(begin_ns, end_ns)
    started = fleet.collector.told("collector started")[0]
    found.ready_s = (at_ns(started) - fleet.collector.began_ns) / 1e9
    found.first_s = (events.first_sent_ns() - fleet.agents[-1].began_ns) / 1e9
    _evaluate(fleet, found, events, made)


def _cost(fleet: Fleet, seconds: float) -> Cost:
    with _metered(fleet, Cost(0, 0)) as cost:
        time.sleep(seconds)
    return cost


@contextmanager
def _metered(fleet: Fleet, cost: Cost) -> Iterator[Cost]:
    """What the block costs; it is told when the block ends."""
    parts = [fleet.collector, *fleet.agents]
    before, began = [part.cpu_s() for part in parts], time.monotonic()
    yield cost
    cost.seconds = time.monotonic() - began
    used = [
        100 * (part.cpu_s() - was) / cost.seconds for part, was in zip(parts, before, strict=True)
    ]
    cost.collector, cost.agent = used[0], sum(used[1:]) / len(fleet.agents)


def _assignment(fleet: Fleet, found: Found) -> None:
    path = f"/api/v1/agents/{fleet.site.size.agent_names[0]}/assignment"
    packed = {"Accept-Encoding": "gzip"}
    found.plain = len(fleet.ask("GET", path)[1])
    found.packed = len(fleet.ask("GET", path, None, packed)[1])
    found.serve_s = best_of(10, lambda: fleet.ask("GET", path, None, packed))
    found.floor_s = best_of(10, lambda: fleet.ask("GET", "/api/v1/health"))


def _change(fleet: Fleet, found: Found, changes: int) -> Made:
    changer, begin_ns = Changer(fleet), time.time_ns()
    with pinged(fleet) as found.changing, _metered(fleet, found.changed):
        made = {
            "file": [changer.by_file() for _ in range(changes)],
            "put": [changer.by_put() for _ in range(changes)],
        }
    end_ns = time.time_ns()
    # What flew last is on its way to the log.
    time.sleep(_SETTLE_S)
    return Made(made, load_config(fleet.site.main), begin_ns, end_ns)


def _rest(fleet: Fleet) -> None:
    """Let nothing be due any more."""
    site = fleet.site
    for change in (partial(site.rest, NEVER), partial(site.change, 0, interval=NEVER)):
        known = len(fleet.collector.told("configuration in force"))
        change()
        fleet.wait_for(fleet.next_revision(known)["revision"])
    time.sleep(_SETTLE_S)


def _evaluate(fleet: Fleet, found: Found, events: Events, made: Made) -> None:
    lines = [line for agent in fleet.agents for line in agent.told("assignment")]
    found.changes = {
        kind: [timed(one, lines, events) for one in changes] for kind, changes in made.kinds.items()
    }
    found.put_s = [(one.answered_ns - one.began_ns) / 1e9 for one in made.kinds["put"]]
    found.changing_late = events.lateness_s(made.begin_ns, made.end_ns)
    found.disturbed = disturbed(made.config, events, made.begin_ns, made.end_ns)


def size_figures(prefix: str, found: Found, bare: dict[str, int]) -> list[Figure]:
    """What a fleet of that size costs."""
    figures = []
    for part, rss, idle, steady in (
        ("collector", found.collector_rss, found.idle.collector, found.steady.collector),
        ("agent", found.agent_rss, found.idle.agent, found.steady.agent),
    ):
        imports = "python with the same imports"
        figures += [
            compared(f"{prefix}.{part}_memory", rss / _MIB, "MiB", imports, bare[part] / _MIB),
            Figure(f"{prefix}.{part}_idle_cpu", idle, "% of a core", "nothing is due"),
            Figure(
                f"{prefix}.{part}_cpu",
                steady,
                "% of a core",
                f"{found.canaries_per_s:.3g} canaries/s, {found.events_per_s:.3g} events/s",
            ),
        ]
    return [
        *figures,
        Figure(
            f"{prefix}.collector_cpu_per_event",
            1e4 * found.steady.collector / max(1e-9, found.events_per_s),
            "us/event",
            f"all of it, {found.events_per_s:.3g} events/s",
        ),
        Figure(f"{prefix}.refused", found.refused, "%", "of the canaries, by relays; aim: 100"),
        compared(f"{prefix}.assignment", found.packed / 1e3, "kB", "plain", found.plain / 1e3),
        compared(
            f"{prefix}.assignment_served",
            found.serve_s * 1e3,
            "ms",
            "GET /api/v1/health",
            found.floor_s * 1e3,
        ),
        Figure(f"{prefix}.collector_ready", found.ready_s, "s", "from its start to serving"),
        Figure(
            f"{prefix}.first_canary",
            found.first_s,
            "s",
            "from the last agent's start; up to 0.2 are the schedule's",
        ),
    ]


def change_figures(prefix: str, found: Found) -> list[Figure]:
    """How soon a change is in force, and what it does to everything else."""
    figures = []
    for kind, changes in found.changes.items():
        name = f"{prefix}.change_by_{kind}"
        if changes:
            totals = [one.total_s for one in changes]
            figures += [_total(name, totals, share) for share in (0.5, 0.95)]
            figures += [
                Figure(
                    f"{name}.{part}",
                    median([one.parts[part] for one in changes]) * 1e3,
                    "ms",
                    "since the part before, median",
                )
                for part in PARTS
            ]
    return [*figures, *_beside(prefix, found)] if figures else []


def _total(name: str, totals: list[float], share: float) -> Figure:
    text = f"to the first canary under it, {len(totals)} changes; aim: about"
    return compared(f"{name}_p{share * 100:.0f}", quantile(totals, share), "s", text, 1.0)


def _beside(prefix: str, found: Found) -> list[Figure]:
    """What changes do to everything else."""
    checked = median([one.parts["checked"] for one in found.changes["file"]])
    count = sum(map(len, found.changes.values()))
    cpu_s = {
        "collector": found.changed.collector - found.asked.collector,
        "agent": found.changed.agent - found.asked.agent,
    }
    asked, late = "GET /api/v1/health", "a canary's start after its due time"
    p99 = partial(quantile, share=0.99)
    return [
        *(
            Figure(
                f"{prefix}.{part}_cpu_per_change",
                more / 100 * found.changed.seconds / count * 1e3,
                "ms",
                f"above the time without changes, {count} changes of both kinds",
            )
            for part, more in cpu_s.items()
        ),
        compared(f"{prefix}.checked", checked, "s", "yaml.load with the C loader", found.yaml_s),
        Figure(f"{prefix}.put_answered", median(found.put_s), "s", "PUT to its answer: in force"),
        _slowed(f"{prefix}.answer_p99", asked, p99(found.changing), p99(found.quiet)),
        _slowed(f"{prefix}.answer_max", asked, max(found.changing), max(found.quiet)),
        _slowed(f"{prefix}.lateness_max", late, max(found.changing_late), max(found.quiet_late)),
        Figure(
            f"{prefix}.disturbed",
            found.disturbed,
            "canaries",
            "of the others, beside the plan or out of number; aim: 0",
        ),
        compared(
            f"{prefix}.collector_memory_changed",
            found.changed_rss / _MIB,
            "MiB",
            f"before {count} changes",
            found.collector_rss / _MIB,
        ),
    ]


def _slowed(name: str, what: str, changing_s: float, quiet_s: float) -> Figure:
    text = f"{what}, no change under way"
    return compared(f"{name}_changing", changing_s * 1e3, "ms", text, quiet_s * 1e3)


def per_path(few: Found, many: Found) -> list[Figure]:
    """Memory of a path, by what a process grows between two sizes."""
    return [
        Figure(
            f"growth.{part}_memory_per_path",
            slope((few.paths, low), (many.paths, high)),
            "bytes/path",
            f"growth from {few.paths} to {many.paths} paths, 100 paths a mailbox",
        )
        for part, low, high in (
            ("collector", few.collector_rss, many.collector_rss),
            ("agent", few.agent_rss, many.agent_rss),
        )
    ]
