"""Canaries that wait in a relay's queue, as the agents on the relays see them there.

A canary is known there by the queue id that the relay named when it took it. Relays use ids again,
so the time at which it came into the queue has to be about that at which it was handed over.
"""

from collections.abc import Callable, Iterable
from typing import Protocol

import msgspec

from collector.rollup.canary import EVENTS, Canary, RowKey
from probes.contract.checks import QueuedCanary
from probes.contract.events import Check
from probes.contract.outcome import Outcome
from probes.contract.stages import Reason, Stage
from probes.contract.units import NS_PER_S

WITHIN_NS = 600 * NS_PER_S
"""By how much the relay's time of a mail's coming may differ from that of its submission."""
SAME_NS = 2 * NS_PER_S
"""By how much what a relay tells of the same mail's coming may differ from look to look."""
LISTED = 1000
"""Canaries of one look that are taken."""
AT_ONCE = 64
"""Pending canaries that may have one id of one relay at once; of more nothing is told apart."""
CACHED = 50_000
MAX_ID = 64
MAX_TEXT = 1000

Place = tuple[str, str]
"""Relay and queue id."""


class Sighting(msgspec.Struct, gc=False, eq=False):
    """A canary in its relay's queue: since when and until when it was seen there, and why it waits.

    ``number``, ``key`` and ``born_ns`` are the canary's. Times are those of the looks; the mail
    came into the queue at ``arrived_ns`` by the relay's clock.
    """

    number: int
    key: RowKey
    born_ns: int
    relay: str
    queue_id: str
    arrived_ns: int
    first_ns: int
    last_ns: int
    queue: str = ""
    stage: Stage | None = None
    reason: Reason | None = None
    text: str | None = None


class Shelf(Protocol):
    """Where the sightings lie that are not in memory."""

    def sightings(self, places: Iterable[Place]) -> list[Sighting]:
        """Those of the canaries that were ever seen at one of the places."""


class Canaries(Protocol):
    """The canaries of a rollup."""

    def known(self, key: RowKey) -> Canary | None:
        """The canary of that key as it is now, ``None`` when there is none."""

    def touch(self, canary: Canary) -> None:
        """Something of it has changed."""


_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(Sighting)
_PUT_OFF_AT = frozenset((Stage.EGRESS_MAIL, Stage.EGRESS_RCPT, Stage.EGRESS_DATA))


def pack(sighting: Sighting) -> bytes:
    """A sighting as it lies in the file."""
    return _encoder.encode(sighting)


def unpack(data: bytes) -> Sighting:
    """The sighting that :func:`pack` wrote.

    Raises:
        msgspec.MsgspecError: ``data`` is no sighting.
    """
    return _decoder.decode(data)


def puts_off(stage: Stage | None, reason: Reason | None) -> bool:
    """Whether the next host put the mail off, as one does that greylists (RFC 6647)."""
    return reason is Reason.GREYLISTED or (reason is Reason.REPLY_4XX and stage in _PUT_OFF_AT)


class Queued:
    """Finds the canaries that a look at a queue tells of.

    ``goes_to(canary, recipient)`` says whether a mail to that address may be the canary.
    """

    def __init__(
        self, shelf: Shelf, canaries: Canaries, goes_to: Callable[[Canary, str], bool]
    ) -> None:
        self._shelf = shelf
        self._canaries = canaries
        self._goes_to = goes_to
        # A key alone, as nearly always; several that have one id at once in the order they came.
        self._open: dict[Place, RowKey | dict[RowKey, None]] = {}
        self._known: dict[Place, list[Sighting]] = {}
        self._changed: dict[int, Sighting] = {}

    def handed(self, place: Place, key: RowKey) -> None:
        """A canary was handed to a relay, which gave it that id."""
        others = self._open.setdefault(place, key)
        if others is key:
            return
        if isinstance(others, dict):
            others[key] = None
        elif others != key:
            self._open[place] = {others: None, key: None}

    def ended(self, place: Place, key: RowKey) -> None:
        """Its end is known: one that was not seen in the queue until now is not looked for."""
        keys = self._open.get(place)
        if isinstance(keys, dict):
            keys.pop(key, None)
            if keys:
                return
        elif keys != key:
            return
        del self._open[place]

    def take(self, cursor: int, check: Check, at_ns: int, before_ns: int) -> None:
        """Take up the canaries that the look ``check`` lists, which stands at ``cursor``.

        ``at_ns`` is when it was; canaries that became known before ``before_ns`` are forgotten.
        """
        if check.queue is None or check.relay is None:
            return
        listed = [one for one in check.queue.canaries[:LISTED] if 0 < len(one.queue_id) <= MAX_ID]
        self._fetch((check.relay, one.queue_id) for one in listed)
        for one in listed:
            place = check.relay, one.queue_id
            known = self._known[place]
            seen = self._again(known, one, before_ns)
            if seen is None:
                seen = self._first(place, known, one, at_ns, before_ns)
            if seen is not None and at_ns >= seen.last_ns:
                self._see(seen, cursor, one, at_ns)

    def _fetch(self, places: Iterable[Place]) -> None:
        missing = {place for place in places if place not in self._known}
        for place in missing:
            self._known[place] = []
        for sighting in self._shelf.sightings(missing):
            self._known[sighting.relay, sighting.queue_id].append(sighting)

    def _again(
        self, known: Iterable[Sighting], one: QueuedCanary, before_ns: int
    ) -> Sighting | None:
        for seen in known:
            same = abs(seen.arrived_ns - one.arrived_ns) <= SAME_NS
            if same and seen.born_ns >= before_ns:
                return seen
        return None

    def _first(
        self, place: Place, known: list[Sighting], one: QueuedCanary, at_ns: int, before_ns: int
    ) -> Sighting | None:
        keys = self._open.get(place)
        if keys is None or (isinstance(keys, dict) and len(keys) > AT_ONCE):
            return None
        found: list[tuple[int, int, Canary]] = []
        for key in keys if isinstance(keys, dict) else (keys,):
            canary = self._canaries.known(key)
            if canary is None or canary.handed is None or canary.born_ns < before_ns:
                continue
            away_ns = abs(canary.handed[1] - one.arrived_ns)
            if (
                away_ns <= WITHIN_NS
                and all(seen.number != canary.number for seen in known)
                and canary.verdict().outcome is Outcome.PENDING
                and self._goes_to(canary, one.recipient)
            ):
                found.append((away_ns, canary.number, canary))
        if not found:
            return None
        _, number, canary = min(found, key=lambda it: it[:2])
        seen = Sighting(
            number,
            canary.key,
            canary.born_ns,
            *place,
            one.arrived_ns,
            first_ns=at_ns,
            last_ns=at_ns,
        )
        known.append(seen)
        return seen

    def _see(self, seen: Sighting, cursor: int, one: QueuedCanary, at_ns: int) -> None:
        news = (seen.queue, seen.stage, seen.reason) != (one.queue[:64], one.stage, one.reason)
        seen.last_ns, seen.queue = at_ns, one.queue[:64]
        seen.stage, seen.reason = one.stage, one.reason
        seen.text = None if one.text is None else one.text[:MAX_TEXT]
        self._changed[seen.number] = seen
        if not news or (canary := self._canaries.known(seen.key)) is None:
            return
        if canary.number != seen.number:
            return
        canary.put_off = canary.put_off or puts_off(one.stage, one.reason)
        # Half of the room is for what its own agent tells.
        if len(canary.cursors) < EVENTS // 2 and cursor not in canary.cursors:
            canary.cursors.append(cursor)
        self._canaries.touch(canary)

    def take_changes(self) -> list[Sighting]:
        """The sightings that have to be written down since this was asked last."""
        changed, self._changed = list(self._changed.values()), {}
        return changed

    def shrink(self) -> None:
        """Let go of what the file holds by now."""
        for place in list(self._known)[: max(0, len(self._known) - CACHED)]:
            del self._known[place]
