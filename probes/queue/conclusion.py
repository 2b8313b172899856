"""From what a listing held and how its program ended to a finding; pure."""

from typing import NamedTuple

from probes.contract.checks import Finding
from probes.contract.stages import Reason, Stage
from probes.contract.units import NS_PER_S, format_duration
from probes.queue.model import QueueCommand
from probes.queue.program import Cut, Ending
from probes.queue.tally import PutOff, Tally
from probes.queue.text import one_line

_MAX_DETAIL = 500
_MAX_SAID = 200

_NO_RIGHT = {
    "postfix": "postqueue needs its setgid bit, which NoNewPrivileges takes away, or the group "
    "postdrop for this user; and authorized_mailq_users may name others only",
    "exim": "the group of Exim (Debian-exim, exim) for this user, "
    "or queue_list_requires_admin = false",
}
_RIGHTS = ("permission denied", "is not allowed to view")
_DOWN = "mail system is down"
_WHY = (*_RIGHTS, _DOWN, "fatal:", "error:")


class _Trouble(NamedTuple):
    """Why a listing is not what it should be."""

    reason: Reason
    text: str


def conclude_listing(
    command: QueueCommand, relay: str, tally: Tally, ending: Ending, took_s: float, now_ns: int
) -> Finding:
    """What one reading of the queue of ``relay`` came to.

    Canaries that are put off for another reason than greylisting are at fault, stage and reason of
    most, also in a listing that was cut off. Otherwise one that could not be read, or not to its
    end, is, in stage ``queue``.
    """
    trouble = _trouble(command, tally, ending)
    waiting = tally.put_off()
    details = [trouble.text] if trouble else []
    if waiting:
        details.append(_canaries(waiting, relay, now_ns))
    if tally.unreadable and tally.mails:
        details.append(f"{tally.unreadable} entries could not be read, or not to their end")
    stage, reason = (None, None) if not waiting else waiting[0].why
    if trouble and not (waiting and ending.cut):
        stage, reason = Stage.QUEUE, trouble.reason
    complete = ending.code == 0
    return Finding(
        ok=not (trouble or waiting),
        stage=stage,
        reason=reason,
        detail=one_line("; ".join(details), _MAX_DETAIL) or None,
        timings={"listing": took_s},
        queue=tally.seen(complete=complete) if _saw_any(tally, ending) else None,
    )


def _saw_any(tally: Tally, ending: Ending) -> bool:
    """Whether there is anything to tell: a program that failed at once has not said 0."""
    return ending.code == 0 or ending.cut is not None or tally.mails + tally.unreadable > 0


def no_program(relay: str) -> Finding:
    """There is nothing to read the queue with."""
    return Finding(
        ok=False,
        stage=Stage.QUEUE,
        reason=Reason.LOCAL,
        detail=f"nothing lists the queue of {relay}: there is no postqueue, exim4 or exim in "
        "/usr/sbin; name the program in the agent's policy",
    )


def _trouble(command: QueueCommand, tally: Tally, ending: Ending) -> _Trouble | None:
    program = command.argv[0]
    said = _said(ending.errors)
    if ending.failure is not None:
        why = ending.failure.strerror or str(ending.failure)
        return _Trouble(Reason.LOCAL, f"{program} cannot be run: {why}")
    if ending.cut is Cut.DEADLINE:
        return _Trouble(Reason.TIMEOUT, f"{program} did not end in time; {_so_far(tally)}")
    if ending.cut is Cut.BYTES:
        return _Trouble(Reason.TIMEOUT, f"{program} printed without end; {_so_far(tally)}")
    # As root, postqueue reads the queue of a Postfix that does not run, and says so.
    if _DOWN in said.lower():
        return _Trouble(Reason.REFUSED, f"Postfix is not running: {said}")
    if ending.code != 0:
        return _Trouble(Reason.LOCAL, f"{program}: {_exit(ending.code)}{_advice(command, said)}")
    if tally.unreadable and not tally.mails:
        return _Trouble(
            Reason.PROTOCOL,
            f"none of the {tally.unreadable} entries that {program} printed could be read: "
            f"is it in the form of {_FORMS[command.form]}?",
        )
    return None


_FORMS = {"postfix": "postqueue -j", "exim": "exim -bp"}


def _said(errors: str) -> str:
    """What was written to standard error: the line that says why, else the first.

    Postfix may warn of other things before it gives up.
    """
    lines = [line for line in errors.splitlines() if line.strip()]
    why = [line for line in lines if any(word in line.lower() for word in _WHY)]
    return one_line(next(iter(why or lines), ""), _MAX_SAID)


def _exit(code: int | None) -> str:
    if code is None:
        return "ended"
    return f"ended by signal {-code}" if code < 0 else f"exit {code}"


def _advice(command: QueueCommand, said: str) -> str:
    if any(words in said.lower() for words in _RIGHTS):
        return f": {said} (it takes: {_NO_RIGHT[command.form]})"
    return f": {said}" if said else ""


def _so_far(tally: Tally) -> str:
    return f"{tally.mails} mails were seen"


def _canaries(waiting: list[PutOff], relay: str, now_ns: int) -> str:
    count = sum(each.count for each in waiting)
    most = waiting[0]
    age_s = max(0, now_ns // NS_PER_S - min(each.oldest_s for each in waiting))
    age = format_duration(age_s if age_s < 60 else age_s // 60 * 60)
    mails = "1 canary waits" if count == 1 else f"{count} canaries wait"
    share = "" if most.count == count else f", {most.count} of them"
    return f"{mails} in {most.queue} of {relay}, the oldest for {age}{share}: {most.text}"
