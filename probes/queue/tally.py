"""Adds up what waits in a queue, in bounded memory whatever the listing says; pure."""

from dataclasses import dataclass, field
from heapq import heappush, heappushpop

from probes.contract.checks import QueuedCanary, QueueDepth, QueueGroup, QueueSeen
from probes.contract.stages import Reason
from probes.contract.units import NS_PER_S
from probes.queue.model import Mail, Recipient
from probes.queue.reasons import Why, read_reason
from probes.queue.text import one_line

EVERYWHERE_ELSE = "*"
"""The domain of a group that holds what waits for all domains that are not listed themselves."""

MAX_TEXT = 200
_MAX_ADDRESS = 254
_MAX_NAME = 64
_NS_LIMIT = (1 << 63) - 1

Key = tuple[str, str, Why | None]
"""Queue, domain, and why; ``None`` where no reason is given."""


@dataclass(frozen=True, slots=True)
class Bounds:
    """How much is kept: queues and groups while reading, groups and canaries at the end.

    In an event they are 0.8 MB at most, which may have 1 MiB (``MAX_EVENT_BYTES``).
    """

    queues: int = 16
    groups: int = 1_000
    listed_groups: int = 50
    listed_others: int = 30
    listed_canaries: int = 200


@dataclass(slots=True)
class _Group:
    text: str | None
    count: int
    oldest_s: int
    newest_s: int

    def add(self, other: "_Group") -> None:
        self.count += other.count
        self.oldest_s = min(self.oldest_s, other.oldest_s)
        self.newest_s = max(self.newest_s, other.newest_s)
        self.text = self.text or other.text


@dataclass(slots=True)
class _Depth:
    count: int = 0
    bytes: int = 0
    oldest_s: int = _NS_LIMIT

    def add(self, mail: Mail) -> None:
        self.count += 1
        self.bytes = min(_NS_LIMIT, self.bytes + mail.size)
        self.oldest_s = min(self.oldest_s, mail.arrived_s)


@dataclass(slots=True)
class PutOff:
    """Canaries that wait in one queue for one reason; ``text`` is what is said of the oldest."""

    queue: str
    why: Why
    text: str
    count: int = 0
    oldest_s: int = _NS_LIMIT


@dataclass
class Tally:
    """What a listing adds up to. ``senders`` are the canaries', in lower case.

    Those of ``queues`` that hold nothing are told of, too.

    Of the groups ``bounds.groups`` are kept at a time. When there are more, the smaller half is
    added to the group of all other domains of its queue and reason, so that no recipient is lost
    from the counts, and a large group is found whenever it begins. A domain that is dropped and
    comes again then has a count that is too low, and is counted as not listed once more.
    """

    senders: frozenset[str]
    queues: tuple[str, ...] = ()
    bounds: Bounds = field(default_factory=Bounds)
    unreadable: int = 0
    _queues: dict[str, _Depth] = field(init=False)
    _groups: dict[Key, _Group] = field(init=False, default_factory=dict)
    _rest: dict[Key, _Group] = field(init=False, default_factory=dict)
    _dropped: int = field(init=False, default=0)
    _canaries: list[tuple[int, int, QueuedCanary]] = field(init=False, default_factory=list)
    _canaries_seen: int = field(init=False, default=0)
    _put_off: dict[tuple[str, Why], PutOff] = field(init=False, default_factory=dict)

    def __post_init__(self) -> None:
        self._queues = {name: _Depth() for name in self.queues}

    @property
    def mails(self) -> int:
        """How many were taken."""
        return sum(depth.count for depth in self._queues.values())

    def skip(self) -> None:
        """An entry that cannot be read."""
        self.unreadable += 1

    def take(self, mail: Mail) -> None:
        """A mail that waits."""
        queue = self._queue(mail.queue)
        self._queues[queue].add(mail)
        for each in mail.recipients:
            why = read_reason(each.text) if each.text else None
            self._group(queue, mail, each, why)
        # Empty is the sender of a bounce, and no canary's.
        if mail.sender and mail.sender.lower() in self.senders:
            for each in mail.recipients:
                self._canary(queue, mail, each)

    def seen(self, *, complete: bool) -> QueueSeen:
        """All of it: the largest groups, then those of all other domains, and the oldest canaries.

        ``more_groups`` counts the domains' groups that are in those of all others.
        """
        largest = sorted(self._groups.items(), key=lambda item: (-item[1].count, item[0][:2]))
        rest = {key: _copy(group) for key, group in self._rest.items()}
        unlisted = largest[self.bounds.listed_groups :]
        for key, group in unlisted:
            _add(rest, key, group)
        others = sorted(rest.items(), key=lambda item: (-item[1].count, item[0][:2]))
        listed = largest[: self.bounds.listed_groups] + others[: self.bounds.listed_others]
        canaries = sorted(self._canaries, key=lambda item: (-item[0], item[1]))
        return QueueSeen(
            queues={name: _depth(depth) for name, depth in sorted(self._queues.items())},
            groups=[_listed(key, group) for key, group in listed],
            canaries=[canary for _, _, canary in canaries],
            more_groups=self._dropped + len(unlisted),
            more_canaries=self._canaries_seen - len(canaries),
            unreadable=self.unreadable,
            complete=complete,
        )

    def put_off(self) -> list[PutOff]:
        """Canaries that wait for another reason than greylisting; what most wait for comes first.

        One that has no reason yet has not been tried, and is not put off.
        """
        return sorted(self._put_off.values(), key=lambda each: (-each.count, each.oldest_s))

    def _queue(self, name: str) -> str:
        name = one_line(name, _MAX_NAME)
        if name not in self._queues:
            if len(self._queues) >= self.bounds.queues:
                name = EVERYWHERE_ELSE
            self._queues.setdefault(name, _Depth())
        return name

    def _group(self, queue: str, mail: Mail, each: Recipient, why: Why | None) -> None:
        key = (queue, _domain(each.address), why)
        found = self._groups.get(key)
        if found is None:
            if len(self._groups) >= self.bounds.groups:
                self._drop_half()
            text = one_line(each.text, MAX_TEXT) if each.text else None
            self._groups[key] = _Group(text, 1, mail.arrived_s, mail.arrived_s)
            return
        found.count += 1
        found.oldest_s = min(found.oldest_s, mail.arrived_s)
        found.newest_s = max(found.newest_s, mail.arrived_s)

    def _drop_half(self) -> None:
        smallest = sorted(self._groups.items(), key=lambda item: item[1].count)
        for key, group in smallest[: max(1, len(smallest) // 2)]:
            _add(self._rest, key, group)
            del self._groups[key]
            self._dropped += 1

    def _canary(self, queue: str, mail: Mail, each: Recipient) -> None:
        why = read_reason(each.text) if each.text else None
        text = one_line(each.text, MAX_TEXT) if each.text else None
        self._canaries_seen += 1
        canary = QueuedCanary(
            queue_id=one_line(mail.queue_id, _MAX_NAME),
            queue=queue,
            arrived_ns=mail.arrived_s * NS_PER_S,
            sender=one_line(mail.sender, _MAX_ADDRESS),
            recipient=one_line(each.address, _MAX_ADDRESS),
            stage=why[0] if why else None,
            reason=why[1] if why else None,
            text=text,
        )
        # The newest is on top, and the first to go; the number keeps canaries from being compared.
        entry = (-mail.arrived_s, self._canaries_seen, canary)
        if len(self._canaries) < self.bounds.listed_canaries:
            heappush(self._canaries, entry)
        else:
            heappushpop(self._canaries, entry)
        if why is not None and text is not None and why[1] is not Reason.GREYLISTED:
            found = self._put_off.setdefault((queue, why), PutOff(queue, why, text))
            found.count += 1
            if mail.arrived_s < found.oldest_s:
                found.oldest_s, found.text = mail.arrived_s, text


def _domain(address: str) -> str:
    """In lower case; empty for an address that has none."""
    return one_line(address.rpartition("@")[2].lower(), _MAX_ADDRESS) if "@" in address else ""


def _add(rest: dict[Key, _Group], key: Key, group: _Group) -> None:
    other = (key[0], EVERYWHERE_ELSE, key[2])
    if other in rest:
        rest[other].add(group)
    else:
        rest[other] = _copy(group)


def _copy(group: _Group) -> _Group:
    return _Group(group.text, group.count, group.oldest_s, group.newest_s)


def _depth(depth: _Depth) -> QueueDepth:
    oldest_ns = depth.oldest_s * NS_PER_S if depth.count else None
    return QueueDepth(count=depth.count, bytes=depth.bytes, oldest_ns=oldest_ns)


def _listed(key: Key, group: _Group) -> QueueGroup:
    queue, domain, why = key
    return QueueGroup(
        queue=queue,
        domain=domain,
        stage=why[0] if why else None,
        reason=why[1] if why else None,
        text=group.text,
        count=group.count,
        oldest_ns=group.oldest_s * NS_PER_S,
        newest_ns=group.newest_s * NS_PER_S,
    )
