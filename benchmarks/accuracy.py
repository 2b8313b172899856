"""How far an observed delay is from the true one, on real Postfix and Dovecot.

The truth is the rename into Maildir/new, told by inotify to a process that does nothing else. Three
readers follow the same mailbox at the same time: the agent, a reader that only idles, and one that
polls every ten seconds. The error is the agent's upper bound ``delay.hi`` minus the true delay; for
the plain readers, the time at which they held the mail's header minus the true arrival.
"""

import subprocess
import tempfile
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.figures import Figure, compared
from benchmarks.job import Done, Home, Job, Witness, read_lines, run_job
from benchmarks.mail_estate import home, mail_estate
from benchmarks.readers import POLL_S
from benchmarks.samples import quantile
from tests.servers.estate import ServerEstate

SECONDS = {1: 60.0, 10: 40.0, 50: 30.0}
"""Canaries a second, and for how long."""

AIM_S = 0.025
AIM_SHARE = 0.03

_KEEP_S = POLL_S + 2
_WARM_S = 2.0
_CLOCKS_AGREE_NS = 1_000_000


@dataclass(slots=True)
class Observed:
    """The errors of one reader, in seconds, and the IMAP commands that it took."""

    errors: list[float] = field(default_factory=list)
    commands_per_canary: float = 0.0


@dataclass(slots=True)
class Result:
    """What came out of one run. ``relative`` is error / max(25 ms, 3 % of the delay)."""

    agent: Observed
    idle: Observed
    poll: Observed
    delays: list[float] = field(default_factory=list)
    relative: list[float] = field(default_factory=list)
    held: int = 0
    widths: list[float] = field(default_factory=list)
    truth_late: list[float] = field(default_factory=list)
    outside: list[float] = field(default_factory=list)


def outside(lo: float, hi: float, delay: float, early: float) -> float:
    """By how many seconds the truth, which lies in [delay - early, delay], misses [lo, hi]."""
    return max(0.0, lo - delay, delay - early - hi)


def compare(
    truth: Mapping[str, Mapping[str, Any]],
    arrivals: Iterable[Mapping[str, Any]],
    idle: Observed,
    poll: Observed,
) -> Result:
    """The agent's arrivals against the truth."""
    result = Result(Observed(), idle, poll)
    for event in arrivals:
        known = truth.get(event["canary"])
        if known is None:
            continue
        delay = (known["wall_ns"] - event["sent_ns"]) / 1e9
        lo, hi = event["delay"]["lo"], event["delay"]["hi"]
        # How late inotify's reader may have been: it cannot have moved before its inode says so.
        moved_ns = known["moved_ns"]
        late = None if moved_ns is None else (known["wall_ns"] - moved_ns) / 1e9
        missed = outside(lo, hi, delay, late or 0.0)
        result.delays.append(delay)
        result.agent.errors.append(hi - delay)
        result.relative.append((hi - delay) / max(AIM_S, AIM_SHARE * delay))
        result.widths.append(hi - lo)
        result.held += missed == 0.0
        if missed:
            result.outside.append(missed)
        if late is not None:
            result.truth_late.append(late)
    return result


def plain(truth: Mapping[str, Mapping[str, Any]], lines: Sequence[Mapping[str, Any]]) -> Observed:
    """What a plain reader saw against the truth."""
    known = [(line, truth[line["canary"]]) for line in lines if line["canary"] in truth]
    errors = [(line["boot_ns"] - true["boot_ns"]) / 1e9 for line, true in known]
    commands = lines[-1]["commands"] - lines[0]["commands"] if lines else 0
    return Observed(errors, commands / max(1, len(lines)))


def _offset_ns() -> int:
    return time.time_ns() - time.clock_gettime_ns(time.CLOCK_BOOTTIME)


def measure(home: Home, maildir: Path, per_second: float, seconds: float) -> Result:
    """One run, at that rate.

    Raises:
        RuntimeError: the wall clock was set meanwhile, or a process failed.
    """
    with tempfile.TemporaryDirectory(prefix="mailcanary-accuracy-") as directory:
        place = Path(directory)
        where = (home.imap, str(home.imap_port), home.user)
        password = home.password + "\n"
        witnesses = {
            "truth": Witness(place / "truth", "truth", str(maildir)),
            "idle": Witness(place / "idle", "readers", "idle", *where, text=password),
            "poll": Witness(place / "poll", "readers", "poll", *where, text=password),
        }
        try:
            for witness in witnesses.values():
                witness.wait_ready()
            offset_ns = _offset_ns()
            done = _run_agent(home, place, per_second, seconds)
            # The slow reader must have looked once more.
            time.sleep(POLL_S + 0.5)
            if abs(_offset_ns() - offset_ns) > _CLOCKS_AGREE_NS:
                raise RuntimeError("the wall clock was set while it was measured: run it again")
        finally:
            lines = {name: witness.stop() for name, witness in witnesses.items()}
        arrivals = read_lines(place / "events.jsonl", ("arrival",))
    truth = {line["canary"]: line for line in lines["truth"]}
    result = compare(truth, arrivals, plain(truth, lines["idle"]), plain(truth, lines["poll"]))
    result.agent.commands_per_canary = done.commands / max(1, done.canaries)
    return result


def _run_agent(home: Home, place: Path, per_second: float, seconds: float) -> Done:
    try:
        return run_job(
            "agent_process",
            Job(
                home=home,
                state=str(place),
                seconds=seconds,
                warm_s=_WARM_S,
                per_second=per_second,
                keep_s=_KEEP_S,
            ),
        )
    except subprocess.CalledProcessError as error:
        raise RuntimeError(
            f"the agent's process failed with exit code {error.returncode}"
        ) from None


def figures(per_second: int, result: Result) -> list[Figure]:
    """The figures of one run; times in milliseconds."""
    name = f"accuracy.{per_second}_per_s"
    agent = result.agent

    def error(share: float, beside: Observed, short: str, what: str) -> Figure:
        label = f"{name}.error_p{share * 100:.0f}_beside_{short}"
        value, other = quantile(agent.errors, share), quantile(beside.errors, share)
        return compared(label, value * 1e3, "ms", what, other * 1e3)

    idle, poll = "IDLE-only reader, same run", f"{POLL_S:g} s polling reader, same run"
    count = len(agent.errors)
    late = quantile(result.truth_late or [0.0], 0.99) * 1e3
    return [
        *(error(share, result.idle, "idle", idle) for share in (0.5, 0.99)),
        *(error(share, result.poll, "poll", poll) for share in (0.5, 0.99)),
        compared(
            f"{name}.error_p99_of_aim",
            quantile(result.relative, 0.99),
            "of the aim",
            "the larger of 25 ms and 3% of the delay",
            1.0,
        ),
        compared(f"{name}.interval_true", result.held / count, "of arrivals", "every one", 1.0),
        compared(
            f"{name}.commands",
            agent.commands_per_canary,
            "per canary",
            "IDLE-only reader, same run",
            result.idle.commands_per_canary,
        ),
        Figure(f"{name}.delay_p50", quantile(result.delays, 0.5) * 1e3, "ms", f"{count} canaries"),
        Figure(f"{name}.truth_uncertainty_p99", late, "ms", "inotify's time minus the inode's"),
    ]


def run(seconds: Mapping[int, float] = SECONDS) -> list[Figure]:
    """The figures at each rate, the rates one after the other, each with a mailbox of its own."""
    customers = {rate: f"rate-{rate}" for rate in seconds}
    found: list[Figure] = []
    with mail_estate(tuple(customers.values())) as estate:
        for rate, customer in customers.items():
            found += figures(rate, _measure(estate, customer, rate, seconds[rate]))
    return found


def _measure(estate: ServerEstate, customer: str, rate: int, seconds: float) -> Result:
    box = estate.mailboxes[customer]
    return measure(home(estate, customer), box.maildir, rate, seconds)
