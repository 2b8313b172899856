"""What must hold at the end of every schedule, judged against the truth about the world."""

from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from itertools import pairwise

import msgspec

from probes.contract.events import (
    Arrival,
    Bounce,
    CanaryEvent,
    Expiry,
    Heartbeat,
    Intent,
    Submission,
)
from probes.contract.outcome import Outcome, Timing, Verdict, tell
from probes.contract.stages import Reason, Result
from tests.simulation.clock import EPOCH_NS, NS
from tests.simulation.estate import DEADLINE_S, REMEMBER_S, STEADY
from tests.simulation.record import Record
from tests.simulation.world import Mail, Truth

Findings = Iterator[str]
_TOLERANCE_S = 1e-6
_WALL_ERROR_S = 1.0
_RACE_S = 60.0
_OF_RESULT = {
    Result.REJECTED: Outcome.REJECTED,
    Result.DEFERRED: Outcome.DEFERRED,
    Result.UNREACHABLE: Outcome.UNREACHABLE,
    Result.FAILED: Outcome.FAILED,
}


def judge(record: Record) -> list[str]:
    """Everything that is wrong with a schedule's end."""
    checks: tuple[Callable[[Record], Findings], ...] = (
        _numbers, _exports, _sent_once, _send_times, _outcomes, _ends, _false_losses, _sightings,
        _copies, _mailboxes, _watermarks, _bounces, _on_time, _no_silence,
    )  # fmt: skip
    return record.violations + [text for check in checks for text in check(record)]


# --- the spool ------------------------------------------------------------------------------


def _contiguous(numbers: list[int]) -> bool:
    return numbers == list(range(1, len(numbers) + 1))


def _numbers(record: Record) -> Findings:
    """Events are numbered without gaps within an epoch, and so are both streams of canaries."""
    by_epoch: dict[str, list[int]] = defaultdict(list)
    streams: dict[tuple[str, str], list[int]] = defaultdict(list)
    for written in record.events():
        by_epoch[written.epoch].append(written.seq)
        event = written.event
        if isinstance(event, Intent):
            if event.stream_epoch != written.epoch:
                yield f"{event.canary} is numbered in another epoch than the spool's"
            streams[(written.epoch, str(event.path))].append(event.path_seq)
            streams[(written.epoch, event.path.mailbox)].append(event.mailbox_seq)
    for epoch, numbers in by_epoch.items():
        if not _contiguous(numbers):
            yield f"epoch {epoch}: event numbers are not contiguous: {numbers[-5:]}"
    for stream, numbers in streams.items():
        if not _contiguous(numbers):
            yield f"stream {stream}: numbers are not contiguous: {numbers}"


def _exports(record: Record) -> Findings:
    """What was exported is what was written, once and in order; the rest is in the spool."""
    try:
        lines = record.export_lines()
    except msgspec.DecodeError as error:
        yield f"a torn line was exported: {error}"
        return
    seen: dict[str, int] = defaultdict(int)
    for epoch, seq, body in lines:
        if seq != seen[epoch] + 1:
            yield f"exported {epoch} {seq} after {seen[epoch]}"
        seen[epoch] = seq
        if record.bodies.get((epoch, seq)) != body:
            yield f"exported {epoch} {seq} is not what was written"
    last = Counter(epoch for epoch, _ in record.bodies)
    for epoch, count in last.items():
        left = record.left.get(epoch, [])
        if left and left != list(range(left[0], count + 1)):
            yield f"epoch {epoch}: the spool holds {left} of {count}"
        if epoch in record.lost_epochs:
            continue
        if (left[0] if left else count + 1) > seen[epoch] + 1:
            yield f"epoch {epoch}: events after {seen[epoch]} are neither exported nor kept"
        if record.exported is not None and seen[epoch] < count:
            yield f"epoch {epoch}: {count - seen[epoch]} events were not exported in the end"


# --- canaries -------------------------------------------------------------------------------


def _sent_once(record: Record) -> Findings:
    """One intent per canary, written before its only attempt."""
    intents = Counter(intent.canary for intent in record.intents())
    yield from (f"{canary} has {n} intents" for canary, n in intents.items() if n > 1)
    for canary, truth in record.world.truths.items():
        if truth.attempts > 1:
            yield f"{canary} was sent {truth.attempts} times"
        if canary not in intents:
            yield f"{canary} was sent without an intent"


def _whole(record: Record) -> Iterator[tuple[Intent, list[CanaryEvent], Truth | None]]:
    """The canaries of epochs that were not lost, with all their events."""
    for canary, events in record.by_canary().items():
        intents = [event for _, event in events if isinstance(event, Intent)]
        if not intents:
            record.violate(f"{canary} has events and no intent")
        elif intents[0].stream_epoch not in record.lost_epochs:
            yield intents[0], [event for _, event in events], record.truth(canary)


def _interrupted(events: list[CanaryEvent]) -> bool:
    return any(isinstance(e, Submission) and e.reason is Reason.INTERRUPTED for e in events)


def _expected(truth: Truth | None, events: list[CanaryEvent]) -> set[Outcome]:
    """The outcomes that the truth allows."""
    if truth is None:
        unsent = any(isinstance(e, Submission) and e.result is Result.UNSENT for e in events)
        return {Outcome.UNSENT} if unsent else {Outcome.UNKNOWN}
    if truth.copies:
        return {Outcome.DELIVERED, Outcome.LATE}
    if truth.failed_dsn_s is not None:
        return {Outcome.BOUNCED}
    if truth.result is None or _interrupted(events):
        # Nobody lived to hear, or to write down, what the relay said.
        return {Outcome.UNKNOWN}
    if truth.result is Result.ACCEPTED:
        return {Outcome.LOST}
    return {_OF_RESULT.get(truth.result, Outcome.UNKNOWN)}


def _outcomes(record: Record) -> Findings:
    """Every intent ends in exactly one outcome, and it is the true one."""
    for intent, events, truth in _whole(record):
        verdict = tell(events).verdict()
        wanted = _expected(truth, events)
        if (
            Outcome.BOUNCED in wanted
            and "monitor/bounces" in record.world.renumbered
            and verdict.outcome in (Outcome.LOST, Outcome.UNKNOWN)
        ):
            continue
        if verdict.outcome not in wanted:
            yield f"{intent.canary}: {verdict.outcome}, truly {sorted(wanted)}: {truth}"
        elif truth is not None and truth.copies:
            yield from _timing(record, intent, events, truth, verdict)


def _by_wall(record: Record, events: list[CanaryEvent]) -> bool:
    """Whether a wall clock whose steps were lost with a spool has had a part in a delay."""
    walls = any(isinstance(event, Arrival) and event.clock != "boottime" for event in events)
    return walls and bool(record.lost_epochs) and record.stepped_s > _WALL_ERROR_S


def _timing(
    record: Record, intent: Intent, events: list[CanaryEvent], truth: Truth, verdict: Verdict
) -> Findings:
    first = min(truth.copies, key=lambda copy: copy.at_s)
    delay = first.at_s - truth.sent_s
    if _by_wall(record, events):
        return
    told = verdict.delay
    if told is None or not told.lo - _TOLERANCE_S <= delay <= told.hi + _TOLERANCE_S:
        yield f"{intent.canary}: delay {delay}, told {told}"
    if verdict.timing is Timing.IN_TIME and delay > DEADLINE_S + _TOLERANCE_S:
        yield f"{intent.canary}: told in time, truly {delay} s"
    if verdict.outcome is Outcome.LATE and delay < DEADLINE_S - _TOLERANCE_S:
        yield f"{intent.canary}: told late, truly {delay} s"


def _ends(record: Record) -> Findings:
    """A canary's wait ends at most once, and not after it was accounted for."""
    for intent, events, _ in _whole(record):
        waits = [event for event in events if isinstance(event, Expiry)]
        if len(waits) > 1:
            yield f"{intent.canary}: its wait ended {len(waits)} times"
        heard = [
            event.seen_ns
            for event in events
            if isinstance(event, Arrival)
            or (isinstance(event, Bounce) and event.action == "failed")
        ]
        set_s = record.stepped_s
        if waits and heard and waits[0].at_ns - min(heard) > (_RACE_S + set_s) * NS:
            yield f"{intent.canary}: its wait ended long after it was accounted for"
        told = [event for event in events if isinstance(event, Submission)]
        if len(told) != 1:
            yield f"{intent.canary}: {len(told)} submissions"


def _send_times(record: Record) -> Findings:
    """Every send is told truly by the boot clock; of one that was cut off, by its intent's."""
    for intent, events, truth in _whole(record):
        written_s = record.true_s(intent.boot_id, intent.sent_boot_ns)
        if truth is None:
            continue
        if not 0.0 <= truth.sent_s - written_s <= 5.0:
            yield f"{intent.canary}: its intent is of {written_s}, it was sent at {truth.sent_s}"
        for event in events:
            if not isinstance(event, Submission):
                continue
            told_s = record.true_s(event.boot_id, event.sent_boot_ns)
            true_s = written_s if event.reason is Reason.INTERRUPTED else truth.sent_s
            if abs(told_s - true_s) > _TOLERANCE_S:
                yield f"{intent.canary}: sent at {truth.sent_s}, told as {told_s}"


def _false_losses(record: Record) -> Findings:
    """Nothing is called lost that lay in its mailbox before the wait was over."""
    for intent, events, truth in _whole(record):
        for event in events:
            if not isinstance(event, Expiry) or truth is None or not truth.copies:
                continue
            after = min(copy.at_s for copy in truth.copies) - truth.sent_s
            if event.lost and after < intent.loss_after_s - _WALL_ERROR_S - 0.3:
                yield f"{intent.canary} was called lost, truly delivered after {after} s"
            if record.stepped_s == 0 and event.watermark_ns is not None:
                mark_s = (event.watermark_ns - EPOCH_NS) / NS
                if mark_s > truth.sent_s + after + _TOLERANCE_S:
                    yield f"{intent.canary}: lost by a check that must have shown it"
                # Of a canary whose attempt was cut off only the intent's moment is known.
                known_s = (intent.at_ns - EPOCH_NS) / NS if _interrupted(events) else truth.sent_s
                if mark_s < known_s + intent.loss_after_s - 1e-3:
                    yield f"{intent.canary}: lost by a check begun before the wait was over"


# --- mails ----------------------------------------------------------------------------------


def _mail_of(record: Record, event: Arrival) -> Mail | None:
    folder = record.world.folders[(event.path.mailbox, event.folder)]
    return folder.places.get((event.uidvalidity, event.uid))


def _sightings(record: Record) -> Findings:
    """Every arrival is of a genuine copy, and its interval holds the true delay."""
    for canary, events in record.by_canary().items():
        truth = record.truth(canary)
        for _, event in events:
            if not isinstance(event, Arrival):
                continue
            mail = _mail_of(record, event)
            if mail is None or mail.canary != canary or truth is None:
                yield f"{canary}: an arrival at {event.uid} where there was {mail and mail.kind}"
                continue
            delay = mail.at_s - truth.sent_s
            error = record.stepped_s if _by_wall(record, [event]) else 0.0
            if not event.delay.lo - error - 1e-6 <= delay <= event.delay.hi + error + 1e-6:
                yield f"{canary}: copy after {delay} s, told {event.delay} by {event.clock}"


def _forgotten(record: Record, truth: Truth) -> bool:
    """Whether a clock that was set far may have made later copies look like old mail."""
    return len(truth.copies) > 1 and record.stepped_s > REMEMBER_S / 2


def _copies(record: Record) -> Findings:
    """Every copy that came is counted, once, unless its folder was renumbered meanwhile."""
    for intent, events, truth in _whole(record):
        if truth is None or intent.path.mailbox in record.world.renumbered:
            continue
        if record.lost_epochs or _forgotten(record, truth):
            continue
        seen = {(e.folder, e.uid) for e in events if isinstance(e, Arrival)}
        reports = sum(isinstance(e, Arrival) for e in events)
        if len(seen) != len(truth.copies) or reports != len(seen):
            yield f"{intent.canary}: {len(truth.copies)} copies, {reports} reports of {len(seen)}"


def _mailboxes(record: Record) -> Findings:
    """In the end the agent's own mail is gone and every other mail is still there."""
    for (box, name), folder in record.world.folders.items():
        for (_, uid), mail in folder.places.items():
            foreign = mail.canary is None and not mail.kind.startswith("dsn")
            where = f"{box}/{name} uid {uid}"
            if foreign and mail.gone:
                yield f"{where}: a foreign mail ({mail.kind}) was deleted"
            truth = record.truth(mail.canary) if mail.canary is not None else None
            if truth is None or mail.gone or _forgotten(record, truth):
                continue
            if not record.lost_epochs and box not in record.world.renumbered:
                yield f"{where}: canary {mail.canary} still lies there"


def _watermarks(record: Record) -> Findings:
    """When a heartbeat names a watermark, all that came before it is in the spool already."""
    if record.lost_epochs:
        return
    told: set[int] = set()
    for written in record.events():
        event = written.event
        if isinstance(event, Arrival):
            told.add(id(_mail_of(record, event)))
        if not isinstance(event, Heartbeat):
            continue
        for box, health in event.mailboxes.items():
            if health.watermark_ns is None or box in record.world.renumbered:
                continue
            mark_s = record.true_s(event.boot_id, health.watermark_boot_ns)
            for truth in record.world.truths.values():
                wanted = truth.mailbox == box and not _forgotten(record, truth)
                for copy in truth.copies if wanted else ():
                    if copy.at_s < mark_s and id(copy) not in told:
                        yield f"{truth.canary}: came {copy.at_s}, not told at mark {mark_s}"


def _bounces(record: Record) -> Findings:
    """Every bounce event is about a canary of which a relay said just that."""
    for canary, events in record.by_canary().items():
        truth = record.truth(canary)
        said = set() if truth is None else truth.dsns
        for _, event in events:
            if isinstance(event, Bounce) and event.action not in said:
                yield f"{canary}: bounce {event.action!r}, truly {said}"


# --- the schedule ---------------------------------------------------------------------------


def _on_time(record: Record) -> Findings:
    """No relay, mailbox or disk delays a canary's start, whatever hangs."""
    if record.stepped_s or record.scenario.stalls or "disk-slow" in record.scenario.whats:
        return
    for intent in record.intents():
        truth = record.truth(intent.canary)
        if truth is None:
            continue
        late = truth.sent_s - (intent.due_ns - EPOCH_NS) / NS
        if not -_TOLERANCE_S <= late <= 0.05:
            yield f"{intent.canary} was sent {late} s after it was due"


def _no_silence(record: Record) -> Findings:
    """While the agent is up and can write, every path's slots are used or said to be unused."""
    spoiled = {"disk-full", "disk-slow"} & record.scenario.whats
    if spoiled or record.scenario.stalls or record.lost_epochs:
        return
    period = record.scenario.period_s
    # A clock that is set back moves the next slot away by up to a period.
    back = sum(seconds < 0 for _, seconds in record.scenario.steps)
    most_s = (1.2 + back) * period + 3.0
    for path in record.assignment.paths:
        if record.scenario.reassigns and path.path != STEADY:
            continue
        for up in record.uptimes[:-1]:
            marks = [up.start_s, *record.intent_times.get(str(path.path), []), up.end_s]
            inside = sorted(mark for mark in marks if up.start_s <= mark <= up.end_s)
            gap = max((b - a for a, b in pairwise(inside)), default=0.0)
            if gap > most_s:
                yield f"{path.path}: silent for {gap:.1f} s, its period is {period} s"
