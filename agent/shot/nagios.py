"""A shot's result as a Nagios plugin says it: one line, performance data, an exit code.

After the Monitoring Plugins' Development Guidelines: ``'label'=value;warn;crit;min;max``, seconds
as ``s``, exit 0 OK, 1 WARNING, 2 CRITICAL, 3 UNKNOWN, what does not fit into the line below it.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from enum import IntEnum

from agent.shot.shoot import Flown, Shot
from agent.shot.thresholds import Thresholds
from agent.shot.words import NAMED, STARTING, in_brief, unread, waits_unread, why
from probes.contract.events import MailboxHealth
from probes.contract.outcome import Outcome, Verdict

LINE = 80
"""Columns that are sure to be shown on a status page or a pager."""


class State(IntEnum):
    """A plugin's exit codes."""

    OK = 0
    WARNING = 1
    CRITICAL = 2
    UNKNOWN = 3


ORDER = (State.OK, State.WARNING, State.UNKNOWN, State.CRITICAL)
"""From best to worst: a known fault outweighs one that cannot be told."""


@dataclass(frozen=True, slots=True)
class Judged:
    """What a shot says of each of its paths, and all in all."""

    state: State
    paths: tuple[tuple[State, Flown], ...]
    blind: Mapping[str, MailboxHealth]
    """Mailboxes of which a part is not read: a canary may lie there unseen."""

    @property
    def home(self) -> int:
        """How many canaries came home in time."""
        return sum(state in (State.OK, State.WARNING) and flown.home for state, flown in self.paths)

    @property
    def bad(self) -> list[tuple[State, Flown]]:
        """What is not OK, the worst first."""
        found = [(state, flown) for state, flown in self.paths if state is not State.OK]
        return sorted(found, key=lambda one: -ORDER.index(one[0]))


def judge(shot: Shot, thresholds: Thresholds) -> Judged:
    """What the shot says of its paths."""
    paths = tuple((_judge(flown, shot, thresholds), flown) for flown in shot.flown)
    waiting = {flown.path.mailbox for flown in shot.flown if waits_unread(flown, shot)}
    blind = {
        name: found
        for name in sorted({*shot.mailboxes, *waiting})
        for found in [shot.mailboxes.get(name, STARTING)]
        if name in waiting or found.state not in ("ok", "starting")
    }
    states = [state for state, _ in paths] + [State.WARNING] * bool(blind)
    return Judged(max(states, key=ORDER.index, default=State.UNKNOWN), paths, blind)


def _judge(flown: Flown, shot: Shot, thresholds: Thresholds) -> State:
    """What one canary says of its path.

    Silence counts against the path only when the mailbox was being read and the wait was long
    enough: otherwise it is unknown.
    """
    verdict = flown.verdict
    if flown.home:
        # The interval: a mailbox that was read late makes no mail late.
        delay = verdict.delay
        lo_s, hi_s = (0.0, 0.0) if delay is None else (delay.lo, delay.hi)
        return _by_delay(flown, thresholds, lo_s, hi_s) or _by_manner(verdict)
    if verdict.outcome is Outcome.PENDING:
        if not flown.begun or waits_unread(flown, shot):
            return State.UNKNOWN
        found = _by_delay(flown, thresholds, shot.waited_s, math.inf, at_least=True)
        # A wait that was cut short says of a delay only that it is too long, if it is.
        return State.UNKNOWN if found is None or (shot.cut and found < State.CRITICAL) else found
    if verdict.outcome in (Outcome.UNSENT, Outcome.UNKNOWN):
        return State.UNKNOWN
    return State.CRITICAL


def _by_delay(
    flown: Flown, thresholds: Thresholds, lo_s: float, hi_s: float, *, at_least: bool = False
) -> State | None:
    """What a delay from ``lo_s`` to ``hi_s`` comes to; with ``at_least`` it is longer than that."""
    critical = thresholds.critical_of(flown.deadline_s)
    warning = thresholds.warning_of(flown.deadline_s)
    if critical.alerts(lo_s, hi_s) or (at_least and not critical.inside and lo_s >= critical.end_s):
        return State.CRITICAL
    if warning is None:
        return None
    if warning.alerts(lo_s, hi_s) or (at_least and not warning.inside and lo_s >= warning.end_s):
        return State.WARNING
    return None


def _by_manner(verdict: Verdict) -> State:
    return State.WARNING if verdict.junk or verdict.duplicates else State.OK


def summary(judged: Judged, shot: Shot, columns: int | None = LINE) -> str:
    """The result in one line: its state, how many came home, which did not, in a word each.

    What does not fit into ``columns`` is for the :func:`details` below it.
    """
    count = f"{judged.home} of {len(judged.paths)} home"
    slowest = max((f.verdict.delay.hi for _, f in judged.paths if f.verdict.delay), default=None)
    if judged.state is State.OK and slowest is not None:
        count += f", the slowest after {slowest:.3g} s"
    line = f"MAIL {judged.state.name} - {f'{shot.cut}, ' if shot.cut else ''}{count}"
    if columns is None:
        return "; ".join([line, *_faults(judged, shot, NAMED)])
    tries = [_fitting(line, _faults(judged, shot, n), columns) for n in range(NAMED, 0, -1)]
    return max(tries, key=lambda one: one[0])[1]


def _faults(judged: Judged, shot: Shot, named: int) -> list[str]:
    """What is wrong, in a few words each, the worst first."""
    said = []
    for state in reversed(ORDER):
        said += in_brief([flown for found, flown in judged.bad if found is state], shot, named)
    return said + [f"mailbox {name} {found.state}" for name, found in judged.blind.items()]


def _fitting(line: str, faults: list[str], columns: int) -> tuple[int, str]:
    """How many of the faults the line takes, and the line with those."""
    more = "; more below"
    for index, fault in enumerate(faults):
        after = more if index + 1 < len(faults) else ""
        if len(f"{line}; {fault}{after}") > columns:
            return index, line + more
        line += f"; {fault}"
    return len(faults), line


def details(judged: Judged, shot: Shot) -> list[str]:
    """A line for each path that is not OK, and for each mailbox that is not read whole.

    One for a mailbox that is not read stands for all canaries that may lie there.
    """
    lines = [
        f"{flown.path.relay} to {flown.path.mailbox}: {why(flown, shot)}"
        for _, flown in judged.bad
        if not waits_unread(flown, shot)
    ]
    return lines + [unread(name, found, shot) for name, found in judged.blind.items()]


def clean(text: str) -> str:
    """``text`` in one line, without the bar that starts performance data."""
    return " ".join(text.split()).replace("|", "/")


def _perf(flown: Flown, thresholds: Thresholds) -> str:
    label = f"{flown.path.relay}/{flown.path.mailbox}".replace("'", "")
    delay = flown.verdict.delay
    value = "U" if delay is None else f"{delay.hi:.3f}s"
    warning = thresholds.warning_of(flown.deadline_s)
    critical = thresholds.critical_of(flown.deadline_s)
    return f"'{label}'={value};{'' if warning is None else warning};{critical};0;"


def plugin(shot: Shot, thresholds: Thresholds) -> tuple[State, str]:
    """The exit code and the plugin's output: the line, and below it the details."""
    judged = judge(shot, thresholds)
    # The total first: it stays when a transport cuts the rest off.
    perf = [f"'delivered'={judged.home};;;0;{len(judged.paths)}"]
    perf += [_perf(flown, thresholds) for flown in shot.flown]
    lines = [f"{clean(summary(judged, shot))} | {' '.join(perf)}"]
    lines += [clean(line) for line in details(judged, shot)]
    return judged.state, "\n".join(lines)
