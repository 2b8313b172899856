"""A shot's result as a Nagios plugin says it: one line, performance data, an exit code.

After the Monitoring Plugins' Development Guidelines: ``label=value;warn;crit;min``, seconds as
``s``, exit 0 OK, 1 WARNING, 2 CRITICAL, 3 UNKNOWN.
"""

from dataclasses import dataclass
from enum import IntEnum

from agent.shot.shoot import Flown, Shot
from probes.contract.events import MailboxHealth
from probes.contract.outcome import Outcome, Verdict


class State(IntEnum):
    """A plugin's exit codes."""

    OK = 0
    WARNING = 1
    CRITICAL = 2
    UNKNOWN = 3


@dataclass(frozen=True, slots=True)
class Thresholds:
    """From which delay on, in seconds, a delivered canary is a warning, or critical."""

    warning_s: float
    critical_s: float


_ORDER = (State.OK, State.WARNING, State.UNKNOWN, State.CRITICAL)
"""From best to worst: a known fault outweighs one that cannot be told."""


def judge(flown: Flown, thresholds: Thresholds, mailbox: MailboxHealth | None) -> State:
    """What one canary says of its path.

    Silence counts against the path only when the mailbox was being read: otherwise it is unknown.
    """
    verdict = flown.verdict
    if verdict.outcome in (Outcome.DELIVERED, Outcome.LATE):
        return _judge_delay(verdict, thresholds)
    if verdict.outcome in (Outcome.UNSENT, Outcome.UNKNOWN):
        return State.UNKNOWN
    if verdict.outcome is Outcome.PENDING and (mailbox is None or mailbox.state != "ok"):
        return State.UNKNOWN
    return State.CRITICAL


def _judge_delay(verdict: Verdict, thresholds: Thresholds) -> State:
    # The lower bound: a mailbox that was read late makes no mail late.
    delay = verdict.delay.lo if verdict.delay is not None else 0.0
    if delay > thresholds.critical_s:
        return State.CRITICAL
    if delay > thresholds.warning_s or verdict.junk or verdict.duplicates:
        return State.WARNING
    return State.OK


def why(flown: Flown, mailbox: MailboxHealth | None) -> str:
    """In a few words, what is wrong with a canary that is not OK."""
    verdict = flown.verdict
    if verdict.outcome in (Outcome.DELIVERED, Outcome.LATE) and verdict.delay is not None:
        extras = [
            word for word, said in (("junk", verdict.junk), ("twice", verdict.duplicates)) if said
        ]
        return " ".join([f"{verdict.outcome} after {verdict.delay.hi:.3g} s", *extras])
    if flown.bounce is not None and verdict.outcome is Outcome.BOUNCED:
        return f"bounced: {flown.bounce.status or ''} {flown.bounce.diagnostic or ''}".strip()
    submission = flown.submission
    if submission is not None and submission.detail:
        return f"{verdict.outcome} at {submission.detail}"
    if mailbox is not None and mailbox.state != "ok":
        return f"mailbox {mailbox.state}: {mailbox.detail or 'not read yet'}"
    if submission is None:
        # Nothing was accepted yet, as far as anybody knows.
        return "still being sent when the wait was over: the relay has not answered to the end"
    return "accepted, not seen in the mailbox (transit)"


def _clean(text: str) -> str:
    """One line, without the bar that starts performance data."""
    return " ".join(text.split()).replace("|", "/")


def _perf(flown: Flown, thresholds: Thresholds) -> str:
    label = f"{flown.path.relay}/{flown.path.mailbox}".replace("'", "")
    delay = flown.verdict.delay
    value = "U" if delay is None else f"{delay.hi:.3f}s"
    return f"'{label}'={value};{thresholds.warning_s:g};{thresholds.critical_s:g};0"


def _blind(shot: Shot) -> list[str]:
    """Mailboxes that are not read whole: a canary could lie unseen in a folder of theirs."""
    return [
        f"mailbox {name} {health.state}: {health.detail or 'not read yet'}"
        for name, health in sorted(shot.mailboxes.items())
        if health.state not in ("ok", "starting")
    ]


def plugin(shot: Shot, thresholds: Thresholds) -> tuple[State, str]:
    """The exit code and the plugin's output."""
    judged = [
        (judge(flown, thresholds, shot.mailboxes.get(flown.path.mailbox)), flown)
        for flown in shot.flown
    ]
    states = [state for state, _ in judged]
    blind = _blind(shot)
    if blind:
        states.append(State.WARNING)
    state = max(states, key=_ORDER.index, default=State.UNKNOWN)
    home = sum(found in (State.OK, State.WARNING) for found, _ in judged)
    text = f"MAIL {state.name} - {home} of {len(judged)} canaries came home in time"
    bad = [
        f"{flown.path.relay} to {flown.path.mailbox}: "
        f"{why(flown, shot.mailboxes.get(flown.path.mailbox))}"
        for found, flown in judged
        if found is not State.OK
    ] + blind
    if bad:
        text += "; " + "; ".join(bad[:3]) + (f"; and {len(bad) - 3} more" if len(bad) > 3 else "")
    perf = [_perf(flown, thresholds) for _, flown in judged]
    perf.append(f"delivered={home};;;0;{len(judged)}")
    lines = [f"{_clean(text)} | {' '.join(perf)}", *(_clean(line) for line in bad[3:])]
    return state, "\n".join(lines)
