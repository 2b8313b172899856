"""A spool as an agent's is after it was cut off from its collector for a while."""

from pathlib import Path as FilePath
from typing import NamedTuple

from agent.clock import Moment
from agent.spool.flight import Flight, FlightState
from agent.spool.schema import FILE_NAME, open_spool
from agent.spool.store import Store
from probes.contract.events import Arrival, Carrier, Hop, Interval, Submission
from probes.contract.names import Path
from probes.contract.stages import Result
from probes.contract.units import NS_PER_S

DELAY_S = 2
PER_CANARY = 3
"""Events: it is meant to be sent, was taken by the relay, and arrived."""
_COMMIT = 5_000
_PHASES = dict.fromkeys(("connect", "banner", "ehlo", "mail", "rcpt", "data", "accept"), 0.0123)


class Backlog(NamedTuple):
    """What lies in a spool: ``canaries`` that all came home, over ``seconds`` up to now."""

    canaries: int
    events: int
    seconds: float
    bytes: int


def build(state: FilePath, path: Path, seconds: float, per_second: float, now_ns: int) -> Backlog:
    """Fill the spool of an agent that is not running with its last ``seconds`` of canaries.

    The agent goes on with their numbers when it is started. Nothing of it is in the air any more.
    """
    canaries = round(seconds * per_second)
    step_ns = round(NS_PER_S / per_second)
    begin_ns = now_ns - canaries * step_ns - DELAY_S * NS_PER_S
    behind = round(DELAY_S * per_second)
    opened = open_spool(state)
    store = Store(opened.connection, opened.epoch)
    out: dict[int, Flight] = {}
    try:
        for first in range(0, canaries + behind, _COMMIT):
            store.begin()
            for number in range(first, min(first + _COMMIT, canaries + behind)):
                if number < canaries:
                    out[number] = _send(store, path, number, begin_ns + number * step_ns)
                if number >= behind:
                    event = _arrival(out.pop(number - behind))
                    store.append(event, event.seen_ns)
            store.commit()
        events = store.depth().rows
    finally:
        store.close()
        opened.lock.close()
    return Backlog(canaries, events, seconds, (state / FILE_NAME).stat().st_size)


def _send(store: Store, path: Path, number: int, at_ns: int) -> Flight:
    """A canary's intent and its relay's reply, as the sender writes them."""
    draft = Flight(
        canary=f"{number * 0x9E3779B97F4A7C15 & (1 << 64) - 1:032x}",
        path=path,
        due_ns=at_ns,
        sent=Moment(at_ns, at_ns, "boot-of-the-backlog"),
        deadline_s=60.0,
        loss_after_s=1800.0,
    )
    flight = store.begin_flight(draft, "of-the-backlog")
    told = Submission(
        canary=flight.canary,
        path=path,
        at_ns=at_ns + NS_PER_S // 5,
        sent_ns=at_ns,
        result=Result.ACCEPTED,
        phases=_PHASES,
        peer="192.0.2.25:25",
        queue_id="4ZkQ2v1x7Bz",
    )
    # Its arrival follows; what is closed here is only that a restart would look for it.
    store.end_submission(told, flight.sent, FlightState.CLOSED)
    return flight


def _arrival(sent: Flight) -> Arrival:
    at_ns = sent.sent.wall_ns
    return Arrival(
        canary=sent.canary,
        path=sent.path,
        path_seq=sent.path_seq,
        mailbox_seq=sent.mailbox_seq,
        stream_epoch=sent.stream_epoch,
        sent_ns=at_ns,
        seen_ns=at_ns + DELAY_S * NS_PER_S,
        delay=Interval(DELAY_S - 0.03, float(DELAY_S)),
        clock="boottime",
        folder="INBOX",
        junk=False,
        uidvalidity=1_760_000_000,
        uid=sent.mailbox_seq,
        hops=[
            Hop(
                by=f"mx{hop}.example",
                helo="relay",
                address="192.0.2.1",
                protocol="ESMTP",
                tls=None,
                at_ns=at_ns,
                delay_s=0.1,
            )
            for hop in range(2)
        ],
        carrier=Carrier(relay_as_planned=True, egress_as_planned=None),
    )
