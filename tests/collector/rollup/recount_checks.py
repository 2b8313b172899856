"""What a rollup should say of checks: recounted slowly, straight from the events in their order."""

from collections.abc import Sequence
from typing import Any

from collector.log.engine import Entry
from probes.contract.checks import QueuedCanary
from probes.contract.events import Check, Intent, Submission, Tick
from probes.contract.outcome import Outcome, tell
from probes.contract.stages import Reason, Result, Stage
from probes.contract.units import NS_PER_S
from tests.collector.rollup.histories import events_of

Place = tuple[str, str]


class CheckRecount:
    """``looks`` by their names, ``seen`` by canary, and the canaries that were ``put_off``."""

    def __init__(self, entries: Sequence[Entry]) -> None:
        self.looks: dict[str, tuple[Any, ...]] = {}
        self.seen: dict[str, dict[str, Any]] = {}
        self.put_off: set[str] = set()
        self._by_canary: dict[str, list[Any]] = {}
        self._places: dict[Place, list[str]] = {}
        clock_ns = 0
        for entry, event in zip(entries, events_of(entries), strict=True):
            clock_ns = max(clock_ns, entry.ingested_at_ns)
            if isinstance(event, Tick):
                clock_ns = max(clock_ns, event.at_ns)
            if (canary := getattr(event, "canary", None)) is not None:
                self._by_canary.setdefault(canary, []).append(event)
            if isinstance(event, Check) and event.relay is not None:
                self._look(entry.source, event, clock_ns)

    def _look(self, agent: str, event: Check, clock_ns: int) -> None:
        at_ns = min(event.at_ns, clock_ns)
        place = "" if event.egress is None else f"{event.egress.host}:{event.egress.port}"
        parts = (event.relay, event.probe, event.target, place, event.source, agent)
        name = "|".join(part or "" for part in parts)
        old = self.looks.get(name)
        if old is None or at_ns >= old[4]:
            told = (event.ok, event.stage or "", event.reason or "")
            since_ns = old[3] if old is not None and old[:3] == told else at_ns
            self.looks[name] = (*told, since_ns, at_ns, clock_ns)
        for one in event.queue.canaries if event.queue is not None else ():
            self._listed(event.relay or "", one, at_ns)

    def _listed(self, relay: str, one: QueuedCanary, at_ns: int) -> None:
        place = self._places.setdefault((relay, one.queue_id), [])
        for canary in place:
            if abs(self.seen[canary]["arrived_ns"] - one.arrived_ns) <= 2 * NS_PER_S:
                break
        else:
            found = [
                (away, canary)
                for canary in self._by_canary
                if canary not in place and (away := self._away(canary, relay, one)) is not None
            ]
            if not found:
                return
            canary = min(found, key=lambda it: it[0])[1]
            place.append(canary)
            self.seen[canary] = {
                "relay": relay,
                "queue_id": one.queue_id,
                "arrived_ns": one.arrived_ns,
                "first_ns": at_ns,
                "last_ns": at_ns,
            }
        if at_ns < self.seen[canary]["last_ns"]:
            return
        self.seen[canary] |= {"last_ns": at_ns, "stage": one.stage, "reason": one.reason}
        by_reply = one.reason is Reason.REPLY_4XX and one.stage in (
            Stage.EGRESS_MAIL,
            Stage.EGRESS_RCPT,
            Stage.EGRESS_DATA,
        )
        if by_reply or one.reason is Reason.GREYLISTED:
            self.put_off.add(canary)

    def _away(self, canary: str, relay: str, one: QueuedCanary) -> int | None:
        """By how much the mail's coming differs from the canary's; ``None`` if it cannot be it."""
        events = self._by_canary[canary]
        sent = next((event for event in events if isinstance(event, Intent)), None)
        given = next(
            (
                event
                for event in events
                if isinstance(event, Submission)
                and event.queue_id is not None
                and event.result is Result.ACCEPTED
            ),
            None,
        )
        if sent is None or given is None:
            return None
        away = abs(given.at_ns - one.arrived_ns)
        customer = sent.path.customer
        if (
            (sent.path.relay, given.queue_id) == (relay, one.queue_id)
            and away <= 600 * NS_PER_S
            and one.recipient.lower().endswith(f"@{customer}.example")
            and tell(events).verdict().outcome is Outcome.PENDING
        ):
            return away
        return None
