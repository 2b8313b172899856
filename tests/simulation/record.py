"""What is left of a simulated schedule once it is over, for the invariants to judge."""

from dataclasses import dataclass, field

import msgspec

from agent.assignment import Assignment
from probes.contract.events import CanaryEvent, Event, Intent, Unknown, decode
from tests.simulation.scenario import Scenario
from tests.simulation.world import Truth, World


@dataclass(frozen=True, slots=True)
class Uptime:
    """When one life of the agent began, and when it died or was told to stop, in true seconds."""

    start_s: float
    end_s: float
    end: str


@dataclass(frozen=True, slots=True)
class Written:
    """One event as it stood in a spool, and when it was found there."""

    epoch: str
    seq: int
    event: Event


class _Line(msgspec.Struct):
    epoch: str
    seq: int
    event: msgspec.Raw


@dataclass(slots=True)
class Record:
    """One schedule's end."""

    scenario: Scenario
    world: World
    assignment: Assignment
    stepped_s: float = 0.0
    booted_ns: dict[str, int] = field(default_factory=dict)
    """When each boot's clock began, in true nanoseconds."""
    uptimes: list[Uptime] = field(default_factory=list)
    bodies: dict[tuple[str, int], bytes] = field(default_factory=dict)
    epochs: list[str] = field(default_factory=list)
    left: dict[str, list[int]] = field(default_factory=dict)
    """What each epoch's spool still held when it was last closed."""
    exported: bytes | None = None
    lost_epochs: set[str] = field(default_factory=set)
    """Epochs whose spool was damaged before everything in it was exported."""
    violations: list[str] = field(default_factory=list)
    _events: list[Written] = field(default_factory=list)
    intent_times: dict[str, list[float]] = field(default_factory=dict)
    """When each path's intents were written, in true seconds."""

    def violate(self, text: str) -> None:
        """Something that must never be has been."""
        self.violations.append(text)
        self.world.trace(f"VIOLATION {text}")

    def note(self, epoch: str, seq: int, body: bytes) -> None:
        """An event was found in a spool."""
        if epoch not in self.epochs:
            self.epochs.append(epoch)
        if (epoch, seq) not in self.bodies and body.startswith(b'{"kind":"intent"'):
            event = decode(body)
            assert isinstance(event, Intent)
            self.intent_times.setdefault(str(event.path), []).append(self.world.now())
        known = self.bodies.setdefault((epoch, seq), body)
        if known != body:
            self.violate(f"event {epoch} {seq} has changed: {known!r}, then {body!r}")

    def export_lines(self) -> list[tuple[str, int, bytes]]:
        """The exported lines as (epoch, seq, event).

        Raises:
            msgspec.DecodeError: one of them is torn.
        """
        lines = (self.exported or b"").splitlines()
        found = (msgspec.json.decode(line, type=_Line) for line in lines)
        return [(line.epoch, line.seq, bytes(line.event)) for line in found]

    def true_s(self, boot_id: str | None, boot_ns: int | None) -> float:
        """The true time at which that boot's clock showed that."""
        assert boot_id is not None
        assert boot_ns is not None
        return (self.booted_ns[boot_id] + boot_ns) / 1e9

    def events(self) -> list[Written]:
        """All events, epoch by epoch in order; to be asked for when the schedule is over."""
        if self._events:
            return self._events
        written = self._events
        for (epoch, seq), body in sorted(
            self.bodies.items(), key=lambda item: (self.epochs.index(item[0][0]), item[0][1])
        ):
            event = decode(body)
            assert not isinstance(event, Unknown)
            written.append(Written(epoch, seq, event))
        return written

    def by_canary(self) -> dict[str, list[tuple[str, CanaryEvent]]]:
        """Each canary's events with their epoch, in the order of their writing."""
        stories: dict[str, list[tuple[str, CanaryEvent]]] = {}
        for written in self.events():
            if isinstance(written.event, CanaryEvent):
                stories.setdefault(written.event.canary, []).append((written.epoch, written.event))
        return stories

    def intents(self) -> list[Intent]:
        """All intents."""
        return [w.event for w in self.events() if isinstance(w.event, Intent)]

    def truth(self, canary: str) -> Truth | None:
        """What really happened to a canary; ``None`` when no attempt was made."""
        return self.world.truths.get(canary)
