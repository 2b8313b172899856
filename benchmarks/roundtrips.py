"""Whole round trips through Postfix and Dovecot, beside a bare loop of the same two libraries.

Both keep the same number of canaries out, take turns on the same servers, and count the CPU time of
their own process only. The servers take most of the machine, so that round trips per second say
more of them than of the agent; CPU per canary is the agent's own.
"""

import tempfile

from benchmarks.figures import Figure, compared
from benchmarks.job import Done, Home, Job, command, run_job, run_text
from benchmarks.mail_estate import home, mail_estate
from benchmarks.samples import median, slope, spread

SECONDS = 10.0
ROUNDS = 3
IN_AIR = 16
PATHS = (20_000, 120_000)
FLIGHTS = (10_000, 60_000)

_FLOOR = "bare aiosmtplib + aioimaplib loop, same run"


def run(seconds: float = SECONDS, rounds: int = ROUNDS) -> list[Figure]:
    """Round trips per second, CPU and IMAP commands per canary, and memory."""
    with mail_estate(("acme",)) as estate:
        pairs = [_round(home(estate, "acme"), seconds) for _ in range(rounds)]
    return figures(pairs) + memory()


def _round(where: Home, seconds: float) -> tuple[Done, Done]:
    return _turn("agent_process", where, seconds), _turn("floor_process", where, seconds)


def _turn(module: str, where: Home, seconds: float) -> Done:
    with tempfile.TemporaryDirectory(prefix="mailcanary-roundtrips-") as state:
        return run_job(module, Job(home=where, state=state, seconds=seconds, in_air=IN_AIR))


def cpu_ms(done: Done) -> float:
    """Milliseconds of CPU for each canary."""
    return 1e3 * done.cpu_s / max(1, done.canaries)


def figures(pairs: list[tuple[Done, Done]]) -> list[Figure]:
    """Medians over all turns of the agent and of the floor."""
    agents, floors = zip(*pairs, strict=True)
    ratios = [cpu_ms(agent) / max(1e-9, cpu_ms(floor)) for agent, floor in pairs]
    return [
        compared(
            "roundtrips.rate",
            median([done.canaries / done.seconds for done in agents]),
            "canaries/s",
            _FLOOR,
            median([done.canaries / done.seconds for done in floors]),
        ),
        Figure(
            "roundtrips.cpu",
            median([cpu_ms(done) for done in agents]),
            "ms/canary",
            f"{_FLOOR}; ratio of each turn {spread(ratios)}; aim 1.5",
            median([cpu_ms(done) for done in floors]),
            median(ratios),
        ),
        compared(
            "roundtrips.commands",
            median([done.commands / max(1, done.canaries) for done in agents]),
            "IMAP/canary",
            _FLOOR,
            median([done.commands / max(1, done.canaries) for done in floors]),
        ),
    ]


def memory(paths: tuple[int, int] = PATHS, flights: tuple[int, int] = FLIGHTS) -> list[Figure]:
    """How much the process grows with each path and with each canary in the air."""
    found = []
    for kind, counts, what in (
        ("paths", paths, "scheduled path"),
        ("flights", flights, "canary in the air"),
    ):
        low, high = ((count, resident(kind, count)) for count in counts)
        text = f"growth from {counts[0]} to {counts[1]} of {high[1] / 2**20:.0f} MiB"
        name = "roundtrips.memory_per_" + kind.removesuffix("s")
        found.append(Figure(name, slope(low, high), f"bytes/{what}", text))
    return found


def resident(kind: str, count: int) -> float:
    """Bytes resident in a process that holds that many."""
    return float(run_text(command("memory_process", kind, str(count))))
