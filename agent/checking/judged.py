"""A round of looks as a Nagios plugin judges it, and in words."""

from collections.abc import Sequence
from dataclasses import dataclass

from agent.shot.nagios import LINE, ORDER, State, clean
from agent.shot.thresholds import Range
from probes.contract.events import Check
from probes.contract.stages import Reason
from probes.contract.units import NS_PER_S


@dataclass(frozen=True, slots=True)
class Judged:
    """What a round comes to: a state, and sentences for what counts, the worst first."""

    state: State
    sentences: tuple[str, ...]


def judge(
    checks: Sequence[Check], warning: Range | None = None, critical: Range | None = None
) -> Judged:
    """What a round comes to.

    Where a round has been concluded, the conclusions count, not each host. What lies in this host's
    own means, or took no part, cannot be told. ``warning`` and ``critical`` are of the age of the
    oldest mail in a queue, in seconds.
    """
    concluded = [check for check in checks if check.pattern is not None]
    counting = concluded or list(checks)
    found = [(_state(check), _sentence(check)) for check in counting]
    found += [
        judged for check in checks for judged in _ages(check, warning=warning, critical=critical)
    ]
    if not found:
        return Judged(State.UNKNOWN, ("there was nothing to look at",))
    found.sort(key=lambda one: -ORDER.index(one[0]))
    return Judged(found[0][0], tuple(text for _, text in found))


def _state(check: Check) -> State:
    if check.ok:
        return State.OK
    return State.UNKNOWN if check.reason is Reason.LOCAL else State.CRITICAL


def _sentence(check: Check) -> str:
    return check.detail or (check.reason.value if check.reason else "ok" if check.ok else "not ok")


def _ages(
    check: Check, *, warning: Range | None, critical: Range | None
) -> list[tuple[State, str]]:
    """What the ages of the queues' oldest mails come to."""
    found = []
    for name, age_s in ages_s(check).items():
        for state, wanted in ((State.CRITICAL, critical), (State.WARNING, warning)):
            if wanted is not None and wanted.alerts(age_s, age_s):
                found.append((state, f"the oldest mail in {name} is {age_s:.0f} s old"))
                break
    return found


def ages_s(check: Check) -> dict[str, float]:
    """The age of the oldest mail in each queue, in seconds."""
    queues = check.queue.queues if check.queue is not None else {}
    return {
        name: max(0.0, (check.at_ns - depth.oldest_ns) / NS_PER_S)
        for name, depth in sorted(queues.items())
        if depth.oldest_ns is not None
    }


def plugin(
    checks: Sequence[Check], kind: str, warning: Range | None, critical: Range | None
) -> tuple[State, str]:
    """The exit code, and the output: a line with performance data, and the details below it."""
    judged = judge(checks, warning, critical)
    first, *rest = judged.sentences
    line = f"MAIL {kind.upper()} {judged.state.name} - {first}"
    if len(line) > LINE:
        rest = [first, *rest]
        line = line[: LINE - 1].rstrip() + "…"
    lines = [f"{clean(line)} | {' '.join(_perf(checks, warning, critical))}".rstrip(" |")]
    lines += [clean(text) for text in rest]
    lines += [clean(f"{_name(check)}: {_sentence(check)}") for check in checks if _is_host(check)]
    return judged.state, "\n".join(lines)


def _is_host(check: Check) -> bool:
    return check.egress is not None and not check.ok


def _name(check: Check) -> str:
    seen = check.egress
    where = "" if seen is None else f" {seen.host}:{seen.port}"
    return f"{check.target or check.relay}{where}"


def _perf(checks: Sequence[Check], warning: Range | None, critical: Range | None) -> list[str]:
    found = []
    for check in checks:
        if check.egress is not None:
            label = f"{_name(check)} {check.source or ''}".strip().replace("'", "").replace("=", "")
            took = check.timings.get("connect") if check.ok else None
            found.append(f"'{label}'={'U' if took is None else f'{took:.4f}s'};;;0;")
        if check.queue is not None:
            ages = ages_s(check)
            for name, depth in sorted(check.queue.queues.items()):
                found.append(f"'{name}'={depth.count};;;0;")
                bounds = f"{warning or ''};{critical or ''}"
                found.append(f"'{name}_oldest'={ages.get(name, 0.0):.0f}s;{bounds};0;")
    return found
