"""Whether an event may go into the log, said of each event by itself."""

from collections.abc import Callable, Sequence

import msgspec

from collector.log.engine import Batch, DeadLetter, Item
from probes.contract.events import (
    Action,
    Arrival,
    Bounce,
    Check,
    Complaint,
    Config,
    Event,
    Expiry,
    Heartbeat,
    Intent,
    Submission,
    Tick,
    Unknown,
    decode,
)
from probes.contract.names import Path
from probes.contract.wire import MAX_EVENT_BYTES, BatchHeader, Refusal, RefusalReason

_MAX_DETAIL = 300
_KIND_OF = {
    Intent: "intent",
    Submission: "submission",
    Arrival: "arrival",
    Expiry: "expiry",
    Bounce: "bounce",
    Check: "check",
    Heartbeat: "heartbeat",
}
"""What agents write; everything else that we know is the collector's own."""
_OWN = (Action, Complaint, Config, Tick)

Allows = Callable[[Path], bool]


def judge(header: BatchHeader, lines: Sequence[bytes], allows: Allows, now_ns: int) -> Batch:
    """The batch as it goes into the log, each event an item of it or a dead letter.

    ``allows`` says of a path whether it was ever assigned to its agent.
    """
    known: dict[Path, bool] = {}

    def assigned(path: Path) -> bool:
        # The same paths come again and again within a batch.
        answer = known.get(path)
        if answer is None:
            answer = known[path] = allows(path)
        return answer

    items: list[Item] = []
    dead: list[DeadLetter] = []
    for seq, line in enumerate(lines, start=header.first_seq):
        kind, why, detail = _judge(line, header.agent, assigned)
        if why is None:
            items.append(Item(seq, kind, line))
        else:
            refusal = Refusal(seq=seq, reason=why, detail=detail[:_MAX_DETAIL])
            letter = line[:MAX_EVENT_BYTES]
            dead.append(DeadLetter(now_ns, header.agent, header.epoch, refusal, letter))
    return Batch(
        source=header.agent,
        epoch=header.epoch,
        first_seq=header.first_seq,
        last_seq=header.first_seq + len(lines) - 1,
        items=items,
        dead=dead,
        ingested_at_ns=now_ns,
    )


_Judged = tuple[str, RefusalReason | None, str]
"""The kind of an event that is taken; or why it is not, and what was found."""


def _judge(line: bytes, agent: str, assigned: Callable[[Path], bool]) -> _Judged:
    if len(line) > MAX_EVENT_BYTES:
        found = f"found {len(line)} bytes, allowed is at most {MAX_EVENT_BYTES}"
        return "", RefusalReason.TOO_LARGE, found
    try:
        event = decode(line)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        return "", RefusalReason.INVALID, str(error)
    if isinstance(event, Unknown):
        return event.kind, None, ""
    return _of_agent(event, agent, assigned)


def _of_agent(event: Event, agent: str, assigned: Callable[[Path], bool]) -> _Judged:
    if isinstance(event, _OWN):
        kind = type(event).__name__.lower()
        return "", RefusalReason.WRONG_KIND, f"found {kind}, allowed is what agents report"
    kind = _KIND_OF[type(event)]
    if isinstance(event, Check | Heartbeat):
        if event.agent != agent:
            return "", RefusalReason.WRONG_AGENT, _foreign(event.agent, agent)
        return kind, None, ""
    if event.path.agent != agent:
        return "", RefusalReason.WRONG_AGENT, _foreign(event.path.agent, agent)
    if not assigned(event.path):
        found = f"found {event.path}, allowed is a path that was assigned to {agent}"
        return "", RefusalReason.NOT_ASSIGNED, found
    return kind, None, ""


def _foreign(found: str, agent: str) -> str:
    return f"found an event of agent {found!r}, allowed is {agent}"
