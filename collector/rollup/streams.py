"""The order of arrival, judged stream by stream, and the state of each stream as few bytes.

Counts are kept in cells; what is kept here is only what judges the next arrival.
"""

import math
from typing import Any

import msgspec

from collector.rollup.cells import DEGREE, Cell, Key
from probes.contract.events import Arrival, Interval
from probes.contract.metrics.missing import Missing, Opening, Range, Standing
from probes.contract.metrics.overtaking import (
    Crossing,
    Folder,
    Handover,
    Lead,
    Overtaking,
    new_mailbox,
)
from probes.contract.metrics.reordering import (
    MAX_DEGREE,
    Low,
    ReorderCounts,
    Reordering,
    new_stream,
)
from probes.contract.metrics.spans import Span, arrival_span
from probes.contract.units import NS_PER_S

RANGES = 1024
"""Ranges of missing numbers that a stream remembers."""
LEADS = 128
"""Arrivals per folder that others may turn out to have been overtaken by."""

_RECEIVED, _JUDGED = Key.RECEIVED.value, Key.JUDGED.value

NOT_KNOWN = Handover(None, None)
Stream = Reordering | Overtaking


def path_stream(arrival: Arrival) -> str:
    """The name of the path's stream: one state per stream, stream epoch and folder."""
    return f"p|{arrival.path}|{arrival.stream_epoch}|{arrival.folder}"


def mailbox_stream(arrival: Arrival) -> str:
    """The name of the (agent, mailbox) stream across relays."""
    return f"m|{arrival.path.agent}|{arrival.path.mailbox}|{arrival.stream_epoch}"


def new(name: str) -> Stream:
    """The state of a stream of which nothing has arrived."""
    return new_stream(limit=RANGES) if name[0] == "p" else new_mailbox(limit=LEADS)


def span_of(arrival: Arrival) -> Span:
    """When it arrived; of a delay that is no interval, the time at which it was seen."""
    try:
        return arrival_span(arrival.sent_ns, arrival.delay)
    except ValueError:
        return Span(arrival.seen_ns, arrival.seen_ns)


def judge_order(stream: Reordering, arrival: Arrival, arrived: Span) -> Cell:
    """Fold the arrival of a first copy and give what it counts as."""
    judgement = stream.fold(arrival.path_seq, arrived)
    if judgement.standing in (Standing.COPY, Standing.UNJUDGED):
        return {Key.UNJUDGED.value: 1}
    cell: Cell = {_RECEIVED: 1}
    if judgement.gap:
        cell[Key.DISCONTINUITIES.value] = 1
        cell[Key.GAP_PACKETS.value] = judgement.gap
    if judgement.extent is not None:
        cell[Key.REORDERED.value] = 1
        cell[Key.EXTENT_SUM.value] = cell[Key.EXTENT_MAX.value] = judgement.extent
        cell |= _late(judgement.late, Key.LATE_LO_NS, Key.LATE_HI_NS)
        if judgement.degree:
            cell[DEGREE + min(judgement.degree, MAX_DEGREE)] = 1
    return cell


def judge_overtaking(
    mailbox: Overtaking, arrival: Arrival, handover: Handover | None, arrived: Span
) -> Cell:
    """Fold the arrival of a first copy and give what it counts as."""
    told = mailbox.fold(
        Crossing(
            seq=arrival.mailbox_seq,
            relay=arrival.path.relay,
            handover=handover or NOT_KNOWN,
            folder=arrival.folder,
            uidvalidity=arrival.uidvalidity,
            uid=arrival.uid,
            arrived=arrived,
        )
    )
    if told.standing in (Standing.COPY, Standing.UNJUDGED):
        return {Key.OVERTAKING_UNJUDGED.value: 1}
    cell: Cell = {_JUDGED: 1}
    if told.extent is not None:
        cell[Key.OVERTAKEN.value] = 1
        cell[Key.OVERTAKEN_EXTENT_SUM.value] = cell[Key.OVERTAKEN_EXTENT_MAX.value] = told.extent
        cell |= _late(told.late, Key.OVERTAKEN_LATE_LO_NS, Key.OVERTAKEN_LATE_HI_NS)
    return cell


def _late(late: Interval | None, lo: Key, hi: Key) -> Cell:
    if late is None:
        return {}
    return {lo.value: math.floor(late.lo * NS_PER_S), hi.value: math.ceil(late.hi * NS_PER_S)}


_encoder = msgspec.msgpack.Encoder()


def pack(stream: Stream) -> bytes:
    """The stream's state as it lies in the file."""
    m = stream.missing
    missing = (
        m.first,
        m.floor,
        m.next_expected,
        [(r.lo, r.hi, r.opening.place, r.opening.span.lo_ns, r.opening.span.hi_ns)
         for r in m.ranges],
    )  # fmt: skip
    if isinstance(stream, Reordering):
        lows = [(low.seq, low.place) for low in stream.lows]
        return _encoder.encode((missing, stream.counts.received, lows))
    folders = [
        (
            name,
            f.uidvalidity,
            f.uid,
            f.places,
            f.forgotten_ns,
            [(x.data_ns, x.seq, x.relay, x.place, x.arrived.lo_ns, x.arrived.hi_ns)
             for x in f.leads],
        )
        for name, f in stream.folders.items()
    ]  # fmt: skip
    return _encoder.encode((missing, folders))


def unpack(name: str, data: bytes) -> Stream:
    """The state that :func:`pack` wrote.

    Raises:
        msgspec.MsgspecError: ``data`` is no such state.
    """
    try:
        return _unpacked(name, msgspec.msgpack.decode(data))
    except (AttributeError, TypeError, ValueError) as error:
        raise msgspec.MsgspecError(f"stream: {error}") from error


def _unpacked(name: str, state: Any) -> Stream:
    head, *rest = state
    if name[0] == "p":
        received, lows = rest
        return Reordering(
            missing=_missing(head, RANGES),
            counts=ReorderCounts(received=received),
            lows=[Low(*low) for low in lows],
        )
    folders = {
        name: Folder(
            uidvalidity=uidvalidity,
            uid=uid,
            places=places,
            leads=[Lead(data_ns, seq, relay, place, Span(lo, hi))
                   for data_ns, seq, relay, place, lo, hi in leads],
            forgotten_ns=forgotten_ns,
        )
        for name, uidvalidity, uid, places, forgotten_ns, leads in rest[0]
    }  # fmt: skip
    return Overtaking(missing=_missing(head, LEADS), limit=LEADS, folders=folders)


def _missing(head: Any, limit: int) -> Missing:
    first, floor, next_expected, ranges = head
    return Missing(
        first=first,
        limit=limit,
        floor=floor,
        next_expected=next_expected,
        ranges=[Range(lo, hi, Opening(place, Span(lo_ns, hi_ns)))
                for lo, hi, place, lo_ns, hi_ns in ranges],
    )  # fmt: skip
