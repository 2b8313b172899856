"""What an agent wrote into its events file, by canary."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import msgspec

from probes.contract.events import (
    Arrival,
    Bounce,
    CanaryEvent,
    Event,
    Expiry,
    Heartbeat,
    Intent,
    MailboxHealth,
    Submission,
    Unknown,
    decode,
)
from probes.contract.outcome import Outcome, Verdict, tell
from probes.contract.stages import Reason
from tests.servers.process import wait_until


class _Line(msgspec.Struct):
    epoch: str
    seq: int
    event: msgspec.Raw


@dataclass(frozen=True)
class Entry:
    """One line of the file."""

    epoch: str
    seq: int
    event: Event | Unknown


@dataclass
class Canary:
    """All that was written down about one canary, in that order."""

    events: list[CanaryEvent]

    @property
    def intents(self) -> list[Intent]:
        return [event for event in self.events if isinstance(event, Intent)]

    @property
    def submissions(self) -> list[Submission]:
        return [event for event in self.events if isinstance(event, Submission)]

    @property
    def arrivals(self) -> list[Arrival]:
        return [event for event in self.events if isinstance(event, Arrival)]

    @property
    def bounces(self) -> list[Bounce]:
        return [event for event in self.events if isinstance(event, Bounce)]

    @property
    def expiries(self) -> list[Expiry]:
        return [event for event in self.events if isinstance(event, Expiry)]

    @property
    def intent(self) -> Intent:
        return self.intents[0]

    @property
    def submission(self) -> Submission:
        """Of one that has been submitted."""
        return self.submissions[0]

    @property
    def arrival(self) -> Arrival:
        """Of one that has arrived."""
        return self.arrivals[0]

    @property
    def id(self) -> str:
        return self.events[0].canary

    @property
    def relay(self) -> str:
        return self.events[0].path.relay

    @property
    def mailbox(self) -> str:
        return self.events[0].path.mailbox

    @property
    def was_interrupted(self) -> bool:
        """Whether the agent ended while the canary was on its way out."""
        return any(submission.reason is Reason.INTERRUPTED for submission in self.submissions)

    @property
    def verdict(self) -> Verdict:
        return tell(self.events).verdict()

    @property
    def outcome(self) -> Outcome:
        return self.verdict.outcome


@dataclass
class Journal:
    """Follows an events file as it grows; `must_run` raises when nobody will write any more."""

    file: Path
    must_run: Callable[[], None] = lambda: None
    entries: list[Entry] = field(default_factory=list)
    _read: int = 0
    _canaries: dict[str, Canary] = field(default_factory=dict)

    def refresh(self) -> None:
        """Take in the whole lines that were added; a torn one is left for later."""
        if not self.file.exists():
            return
        with self.file.open("rb") as file:
            file.seek(self._read)
            data = file.read()
        whole = data[: data.rfind(b"\n") + 1]
        self._read += len(whole)
        for line in whole.splitlines():
            raw = msgspec.json.decode(line, type=_Line)
            self._add(Entry(raw.epoch, raw.seq, decode(bytes(raw.event))))

    def _add(self, entry: Entry) -> None:
        self.entries.append(entry)
        if isinstance(entry.event, CanaryEvent):
            self._canaries.setdefault(entry.event.canary, Canary([])).events.append(entry.event)

    def canaries(
        self,
        *,
        relay: str | None = None,
        mailbox: str | None = None,
        outcome: Outcome | None = None,
        since_ns: int = 0,
    ) -> list[Canary]:
        """Those that fit, in the order of their intents; `since_ns` is about when they were due."""
        self.refresh()
        return [
            canary
            for canary in self._canaries.values()
            if relay in (None, canary.relay)
            and mailbox in (None, canary.mailbox)
            and outcome in (None, canary.outcome)
            and canary.intent.due_ns >= since_ns
        ]

    def heartbeats(self) -> list[Heartbeat]:
        """All of them, oldest first."""
        self.refresh()
        return [entry.event for entry in self.entries if isinstance(entry.event, Heartbeat)]

    def health(self, mailbox: str) -> MailboxHealth | None:
        """How the last heartbeat says that the reading of a mailbox goes."""
        beats = self.heartbeats()
        return beats[-1].mailboxes[mailbox] if beats else None

    def wait_for(self, ready: Callable[[], bool], what: str, *, timeout: float = 60) -> None:
        """As `wait_until`, with a time for slow machines, and no longer than the agent runs."""

        def tried() -> bool:
            self.must_run()
            self.refresh()
            return ready()

        wait_until(tried, what, timeout=timeout)

    def wait_for_each(
        self,
        paths: Sequence[tuple[str, str]],
        outcome: Outcome,
        *,
        count: int = 1,
        since_ns: int = 0,
    ) -> None:
        """Until `count` canaries of each (relay, mailbox) have that outcome."""

        def enough(relay: str, mailbox: str) -> bool:
            found = self.canaries(relay=relay, mailbox=mailbox, outcome=outcome, since_ns=since_ns)
            return len(found) >= count

        for path in paths:
            what = f"{count} canaries {outcome} through {' to '.join(path)}"
            self.wait_for(partial(enough, *path), what)

    def summary(self) -> str:
        """Per path how many canaries have which outcome, and the last heartbeat."""
        counts: dict[tuple[str, str, str], int] = {}
        for canary in self._canaries.values():
            key = canary.relay, canary.mailbox, str(canary.outcome)
            counts[key] = counts.get(key, 0) + 1
        lines = [f"{' '.join(key)}: {count}" for key, count in sorted(counts.items())]
        return "\n".join([*lines, *map(repr, self.heartbeats()[-1:])])

    def assert_contiguous(self) -> None:
        """One epoch, and every number from 1 once and in order."""
        self.refresh()
        assert {entry.epoch for entry in self.entries} == {self.entries[0].epoch}
        assert [entry.seq for entry in self.entries] == list(range(1, len(self.entries) + 1))
