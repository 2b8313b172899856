"""100,000 paths in one process: what the schedule costs, and how punctual it is.

The relays refuse everything at once (a 5xx: the flight is over), the mailboxes stay empty, and
neither is on a network; schedule, sender, signing and the spool on the disk are real. The send-time
error is the start of the attempt minus its due time, and so holds the commit of the intent. The
baseline waits for the same due times and does nothing else.
"""

import tempfile

import msgspec

from benchmarks.figures import Figure, compared
from benchmarks.job import command, run_text
from benchmarks.samples import quantile
from probes.contract.names import Path
from probes.contract.plan import PathPlan

PATHS = 100_000
RATES = (100, 500)
SECONDS = 10.0
LONG_S = 30 * 86400.0
MAILBOXES = 50


class Punctual(msgspec.Struct, frozen=True):
    """What a run gave: the send-time errors in seconds, and the CPU that it took."""

    errors: list[float]
    cpu_s: float
    seconds: float
    setup_s: float


def path_plans(count: int, period_s: float) -> list[PathPlan]:
    """Paths over ``MAILBOXES`` mailboxes, their phases spread evenly over the period."""
    return [
        PathPlan(
            Path("bench", f"relay-{number // MAILBOXES}", f"acme/box-{number % MAILBOXES}"),
            period_s,
            # The golden ratio's multiples lie evenly, whatever the count.
            number * 0.6180339887498949 % 1.0 * period_s,
            60.0,
            1800.0,
            0.0,
        )
        for number in range(count)
    ]


def run(
    paths: int = PATHS, rates: tuple[int, ...] = RATES, seconds: float = SECONDS
) -> list[Figure]:
    """Error and CPU at each rate, and the CPU of paths that are almost never due."""
    found: list[Figure] = []
    for rate in rates:
        found += figures(
            f"schedule.{rate}_per_s",
            measure("agent", paths, paths / rate, seconds),
            measure("bare", paths, paths / rate, seconds),
        )
    idle = measure("agent", paths, LONG_S, seconds)
    bare = measure("bare", paths, LONG_S, seconds)
    return [
        *found,
        compared(
            "schedule.idle_cpu",
            100 * idle.cpu_s / idle.seconds,
            "% of a core",
            f"bare loop, {paths} paths of {LONG_S / 86400:g} days",
            100 * bare.cpu_s / bare.seconds,
        ),
        Figure("schedule.setup", idle.setup_s, "s", f"{paths} paths, from the plan to the first"),
    ]


def measure(kind: str, paths: int, period_s: float, seconds: float) -> Punctual:
    """One run in a process of its own."""
    with tempfile.TemporaryDirectory(prefix="mailcanary-schedule-") as state:
        text = run_text(
            command("schedule_process", kind, str(paths), str(period_s), str(seconds), state)
        )
    return msgspec.json.decode(text, type=Punctual)


def figures(name: str, agent: Punctual, bare: Punctual) -> list[Figure]:
    """Errors in milliseconds and CPU per canary."""
    count = max(1, len(agent.errors))
    found = [
        compared(
            f"{name}.error_p{share * 100:.0f}",
            quantile(agent.errors, share) * 1e3,
            "ms",
            "bare loop, same due times",
            quantile(bare.errors, share) * 1e3,
        )
        for share in (0.5, 0.99)
    ]
    cpu = compared(
        f"{name}.cpu",
        1e3 * agent.cpu_s / count,
        "ms/canary",
        "bare loop, same due times",
        1e3 * bare.cpu_s / max(1, len(bare.errors)),
    )
    return [*found, cpu]
