"""Whether an event may go into the log, said of each event by itself."""

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import msgspec

from collector.ingest.bounds import Look, look_into
from collector.log.engine import Batch, DeadLetter, Item
from probes.contract.events import (
    KINDS,
    Action,
    Check,
    Complaint,
    Config,
    Tick,
    Unknown,
    decode,
)
from probes.contract.names import Path
from probes.contract.wire import MAX_EVENT_BYTES, BatchHeader, Refusal, RefusalReason

MAX_DETAIL = 160
"""Of a refusal. A batch of nothing but refusals must fit into an answer that agents still read."""
MAX_KIND = 64
_LETTER_OF_TOO_LARGE = 4096
"""Enough to see what it was: it can never be taken in, and would push good events out."""

_OWN = (Action, Complaint, Config, Tick)
_OF_AGENTS: dict[type[Any], tuple[str, Look, bool]] = {
    kind: (name, look_into(kind), "path" in kind.__struct_fields__)
    for name, kind in KINDS.items()
    if kind not in _OWN
}
"""What agents report: its name, how to find numbers out of range, whether it is about a path. All
else that we know only the collector writes."""

T = TypeVar("T")
Allows = Callable[[Path], bool]
Sits = Callable[[str, str], bool]
"""Whether an agent ever sat on a relay."""
_Refused = tuple[RefusalReason, str]
_Judged = tuple[str, _Refused | None]
"""The kind of an event that is taken; or why it is not, and what was found."""


def judge(
    header: BatchHeader, lines: Sequence[bytes], allows: Allows, sits: Sits, now_ns: int
) -> Batch:
    """The batch as it goes into the log, each event an item of it or a dead letter.

    ``allows`` says of a path whether it was ever assigned to its agent, ``sits`` of an agent and a
    relay whether it ever sat there.
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
        kind, refused = _judge(line, header.agent, assigned, sits)
        if refused is None:
            items.append(Item(seq, kind, line))
            continue
        why, found = refused
        refusal = Refusal(seq=seq, reason=why, detail=ascii(found)[1:-1][:MAX_DETAIL])
        kept = line[:_LETTER_OF_TOO_LARGE] if why is RefusalReason.TOO_LARGE else line
        dead.append(DeadLetter(now_ns, header.agent, header.epoch, refusal, kept))
    return Batch(
        source=header.agent,
        epoch=header.epoch,
        first_seq=header.first_seq,
        last_seq=header.first_seq + len(lines) - 1,
        items=items,
        dead=dead,
        ingested_at_ns=now_ns,
    )


def _judge(line: bytes, agent: str, assigned: Allows, sits: Sits) -> _Judged:
    if len(line) > MAX_EVENT_BYTES:
        found = f"found {len(line)} bytes, allowed is at most {MAX_EVENT_BYTES}"
        return "", (RefusalReason.TOO_LARGE, found)
    try:
        if not line.isascii():
            # The decoder passes over fields that it does not know without a look at their bytes.
            line.decode()
        event = decode(line)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        return "", (RefusalReason.INVALID, str(error))
    known = _OF_AGENTS.get(type(event))
    if known is not None:
        return _reported(event, known, agent, assigned, sits)
    if isinstance(event, Unknown):
        return _unknown(event, agent, assigned)
    found = f"found {type(event).__name__.lower()}, allowed is what agents report"
    return "", (RefusalReason.WRONG_KIND, found)


def _reported(
    event: Any, known: tuple[str, Look, bool], agent: str, assigned: Allows, sits: Sits
) -> _Judged:
    kind, look, of_path = known
    where = look(event)
    if where is not None:
        return "", (RefusalReason.INVALID, f"found a number beyond 64 bits - at `${where}`")
    if of_path:
        return kind, _not_its_own(agent, event.path.agent, event.path, assigned)
    refused = _not_its_own(agent, event.agent, None, assigned)
    if refused is None and isinstance(event, Check):
        refused = _not_its_relay(event, sits)
    return kind, refused


def _not_its_relay(check: Check, sits: Sits) -> _Refused | None:
    """Why a check is not its agent's to report: it is about a relay on which that never sat."""
    if check.relay is not None and sits(check.agent, check.relay):
        return None
    found = f"found {check.relay or 'no relay'}, allowed is one on which {check.agent} sits"
    return RefusalReason.NOT_ASSIGNED, found


def _not_its_own(
    agent: str, named: str | None, path: Path | None, assigned: Allows
) -> _Refused | None:
    """Why an event that speaks of agent ``named`` and of ``path`` is not ``agent``'s to report."""
    if named is not None and named != agent:
        return RefusalReason.WRONG_AGENT, f"found an event of {named}, allowed is {agent}"
    if path is not None and not assigned(path):
        found = f"found {path}, allowed is a path that was assigned to {agent}"
        return RefusalReason.NOT_ASSIGNED, found
    return None


class _Named(msgspec.Struct, frozen=True):
    """Whom an event of a kind that is not known speaks of, if it says so as all others do."""

    agent: msgspec.Raw = msgspec.Raw(b"null")
    path: msgspec.Raw = msgspec.Raw(b"null")


_named_decoder = msgspec.json.Decoder(_Named)


def _unknown(event: Unknown, agent: str, assigned: Allows) -> _Judged:
    if not 1 <= len(event.kind) <= MAX_KIND or not event.kind.isprintable():
        found = f"found the kind {event.kind[:MAX_KIND]!r}, allowed is a word of 1 to {MAX_KIND}"
        return "", (RefusalReason.INVALID, found)
    # A later version will know the kind and read what is stored: it must be the agent's own.
    fields = _named_decoder.decode(event.raw)
    path = _as(fields.path, Path)
    for named in (_as(fields.agent, str), None if path is None else path.agent):
        refused = _not_its_own(agent, named, None, assigned)
        if refused is not None:
            return "", refused
    return event.kind, _not_its_own(agent, None, path, assigned)


def _as(raw: msgspec.Raw, kind: type[T]) -> T | None:
    try:
        return msgspec.json.decode(raw, type=kind)
    except msgspec.ValidationError:
        return None
