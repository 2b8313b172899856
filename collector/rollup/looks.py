"""What the relays' own side looks like now: the newest state of every look of every agent.

A look is one thing that is looked at again and again: (agent, relay, probe, target, host and port,
source). Its state is kept until nothing has been heard of it for ``remember``; whether it is stale
is for whoever asks to say.
"""

from collections import Counter
from collections.abc import Iterable
from typing import NamedTuple

import msgspec

from probes.contract.checks import (
    EgressPattern,
    EgressSeen,
    QueueDepth,
    QueueGroup,
    QueueSeen,
)
from probes.contract.events import Check
from probes.contract.units import NS_PER_S

LOOKS = 5000
"""Looks of one agent; what it tells of others is counted and goes no further."""
STALE_AFTER = 3
"""Intervals after which a look that was not told again is stale."""
INTERVAL_S = 60.0
"""That of a look that does not tell its own."""
GROUPS = 50
QUEUES = 20
MAX_NAME = 255
MAX_TEXT = 1000
MAX_SAID = 32 << 10
"""Bytes that the details of a look may take."""
_LONGEST_S = 7 * 86400.0


class LookKey(NamedTuple):
    """Which look. ``target`` and ``source`` are empty where there is none, ``place`` is the host
    and port of a look at one host."""

    relay: str
    probe: str
    target: str
    place: str
    source: str
    agent: str


class LookState(NamedTuple):
    """How a look stands. ``since_ns`` is the first look that came to the same, ``at_ns`` the last
    one, by the agent's clock but not later than it was told (``told_ns``, the log's time)."""

    ok: bool
    stage: str
    reason: str
    since_ns: int
    at_ns: int
    told_ns: int


class LookRow(NamedTuple):
    """A look as it is written down; ``said`` is a packed :class:`Said`."""

    key: LookKey
    state: LookState
    control: bool
    stale_ns: int
    said: bytes


class QueueLook(msgspec.Struct, frozen=True, kw_only=True):
    """A relay's queues at one look; ``canaries`` counts those of ours that wait there."""

    queues: dict[str, QueueDepth]
    groups: list[QueueGroup] = []
    canaries: int = 0
    more_groups: int = 0
    unreadable: int = 0
    complete: bool = True


class Said(msgspec.Struct, frozen=True, kw_only=True):
    """The details of a look's newest state."""

    detail: str | None = None
    interval_s: float | None = None
    egress: EgressSeen | None = None
    pattern: EgressPattern | None = None
    queue: QueueLook | None = None


_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(Said)


def unpack_said(data: bytes) -> Said:
    """The details that a row holds.

    Raises:
        msgspec.MsgspecError: ``data`` is nothing of the sort.
    """
    return _decoder.decode(data)


def look_key(agent: str, check: Check) -> LookKey | None:
    """The look that a check is a state of; ``None`` for names that are none."""
    place = ""
    if check.egress is not None:
        host = check.egress.host
        place = f"[{host}]" if ":" in host else host
        place = f"{place}:{check.egress.port}"
    names = (check.relay or "", check.probe, check.target or "", place, check.source or "", agent)
    for name in names:
        if len(name) > MAX_NAME or not name.isascii() or not name.isprintable() or "|" in name:
            return None
    return LookKey(*names)


class Looks:
    """The states of all looks, ahead of the file by what :meth:`take_changes` has not given yet."""

    def __init__(self, known: Iterable[tuple[LookKey, LookState]] = ()) -> None:
        # In the order in which they were told of last, so that what is forgotten stands in front.
        self._states = dict(sorted(known, key=lambda one: one[1].told_ns))
        self._of_agent = Counter(key.agent for key in self._states)
        self._changed: dict[LookKey, LookRow] = {}
        self._gone: set[LookKey] = set()

    def fold(self, agent: str, check: Check, clock_ns: int) -> bool:
        """Take up what ``agent`` told at ``clock_ns``; ``False`` where that cannot be kept.

        What is older than the state that is known changes nothing.

        Raises:
            OverflowError: it has a number that cannot be written down.
        """
        key = look_key(agent, check)
        if key is None:
            return False
        old = self._states.get(key)
        # A clock that was ahead once must not hold up what is told when it is right again.
        at_ns = min(check.at_ns, clock_ns)
        if old is not None and at_ns < old.at_ns:
            return True
        if old is None and self._of_agent[agent] >= LOOKS:
            return False
        said = _said(check)
        came_to = (check.ok, check.stage or "", check.reason or "")
        since_ns = old.since_ns if old is not None and old[:3] == came_to else at_ns
        state = LookState(*came_to, since_ns, at_ns, clock_ns)
        if old is None:
            self._of_agent[agent] += 1
        else:
            del self._states[key]
        self._states[key] = state
        control = check.egress is not None and check.egress.control
        stale_ns = clock_ns + _stale_after_ns(check.interval_s)
        self._changed[key] = LookRow(key, state, control, stale_ns, said)
        return True

    def forget(self, before_ns: int) -> None:
        """Forget what was told of last before then."""
        old = []
        for key, state in self._states.items():
            if state.told_ns >= before_ns:
                break
            old.append(key)
        for key in old:
            del self._states[key]
            self._of_agent[key.agent] -= 1
            self._changed.pop(key, None)
            self._gone.add(key)

    def take_changes(self) -> tuple[list[LookRow], list[LookKey]]:
        """What has to be written down since this was asked last: first what is gone goes."""
        changed, gone = list(self._changed.values()), list(self._gone)
        self._changed, self._gone = {}, set()
        return changed, gone


def _stale_after_ns(interval_s: float | None) -> int:
    known = INTERVAL_S if interval_s is None else interval_s
    return int(STALE_AFTER * min(max(known, 1.0), _LONGEST_S) * NS_PER_S)


def _said(check: Check) -> bytes:
    detail = _cut(check.detail)
    queue = None if check.queue is None else _summary(check.queue)
    said = _encoder.encode(
        Said(
            detail=detail,
            interval_s=check.interval_s,
            egress=check.egress,
            pattern=check.pattern,
            queue=queue,
        )
    )
    if len(said) <= MAX_SAID:
        return said
    less = None if queue is None else QueueLook(queues=queue.queues, canaries=queue.canaries)
    return _encoder.encode(Said(detail=detail, interval_s=check.interval_s, queue=less))


def _summary(seen: QueueSeen) -> QueueLook:
    named = [(name, depth) for name, depth in seen.queues.items() if len(name) <= 64]
    groups = [
        msgspec.structs.replace(group, text=_cut(group.text)) for group in seen.groups[:GROUPS]
    ]
    return QueueLook(
        queues=dict(named[:QUEUES]),
        groups=groups,
        canaries=len(seen.canaries) + seen.more_canaries,
        more_groups=seen.more_groups + len(seen.groups) - len(groups),
        unreadable=seen.unreadable,
        complete=seen.complete,
    )


def _cut(text: str | None) -> str | None:
    return None if text is None else text[:MAX_TEXT]
