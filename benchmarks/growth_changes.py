"""Changes of one customer of a fleet, timed from the file to the first canary under them."""

import http.client
import io
import random
import threading
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import msgspec

from benchmarks.growth_fleet import Fleet, at_ns
from benchmarks.growth_site import PROBE, probe_document
from collector.log.transfer import Selection, export
from probes.contract.config.models import Config
from probes.contract.plan import due_times_ns, plan

_PING_S = 0.02
_CANARY_S = 0.3
"""A canary of the probe flies in that time, whatever its phase."""
PARTS = ("noticed", "checked", "in_force", "answered", "planned", "kept", "applied", "due", "sent")
"""What a change goes through, in order; each is timed from the one before."""


@dataclass(frozen=True, slots=True)
class Change:
    """A change as it was made: ``began_ns`` before, ``answered_ns`` when a PUT had its answer."""

    began_ns: int
    revision: str
    line: dict[str, Any]
    answered_ns: int = 0


@dataclass(slots=True)
class Timed:
    """Seconds to each of ``PARTS`` since the one before it."""

    parts: dict[str, float] = field(default_factory=dict)

    @property
    def total_s(self) -> float:
        """From the change to the first canary under it."""
        return sum(self.parts.values())


class Changer:
    """Makes changes, one after the other, each when the one before has reached every agent."""

    def __init__(self, fleet: Fleet) -> None:
        self._fleet = fleet
        self._number = 0
        # Changes must not fall into step with the collector's looks at the files.
        self._rng = random.Random(7)  # noqa: S311

    def by_file(self) -> Change:
        """Replace the probe's file."""
        self._number += 1
        known = self._known()
        began_ns = time.time_ns()
        self._fleet.site.change(self._number)
        return self._taken(began_ns, known)

    def by_put(self) -> Change:
        """PUT the probe."""
        self._number += 1
        path = f"/api/v1/customers/{PROBE}"
        _, _, headers = self._fleet.ask("GET", path)
        body = msgspec.json.encode(probe_document(self._fleet.site.ports, self._number))
        wanted = {"Content-Type": "application/json", "If-Match": headers["etag"]}
        known = self._known()
        began_ns = time.time_ns()
        status, answer, _ = self._fleet.ask("PUT", path, body, wanted)
        if status != 200:
            raise RuntimeError(f"PUT: {status} {answer!r}")
        return self._taken(began_ns, known, time.time_ns())

    def _known(self) -> int:
        return len(self._fleet.collector.told("configuration in force"))

    def _taken(self, began_ns: int, known: int, answered_ns: int = 0) -> Change:
        line = self._fleet.next_revision(known)
        self._fleet.wait_for(line["revision"])
        time.sleep(_CANARY_S + self._rng.random() * 0.3)
        return Change(began_ns, line["revision"], line, answered_ns)


def timed(change: Change, lines: Sequence[dict[str, Any]], events: "Events") -> Timed:
    """How long each part of a change took, for the agent that was the last to fly under it.

    ``lines`` are those by which agents told that they had it.
    """
    found = [_timed(change, line, events) for line in lines if line["revision"] == change.revision]
    return max(found, key=lambda one: one.total_s)


def _timed(change: Change, line: dict[str, Any], events: "Events") -> Timed:
    force, applied = at_ns(change.line), at_ns(line)
    checked = force - _ns(change.line["told_s"])
    kept = applied - _ns(line["apply_s"])
    planned = kept - _ns(line["keep_s"])
    due, sent = events.first(change.revision, planned)
    times = {
        "noticed": checked - _ns(change.line["check_s"]) - _ns(change.line["read_s"]),
        "checked": checked,
        "in_force": force,
        "answered": planned - _ns(line["plan_s"]),
        "planned": planned,
        "kept": kept,
        "applied": applied,
        "due": max(applied, due),
        "sent": max(applied, due, sent),
    }
    before, result = change.began_ns, Timed()
    for part, at in times.items():
        result.parts[part] = (at - before) / 1e9
        before = at
    return result


def _ns(seconds: float) -> int:
    return round(seconds * 1e9)


class Events:
    """What a collector's log holds of canaries."""

    def __init__(self, envelopes: Iterable[dict[str, Any]]) -> None:
        self.envelopes = list(envelopes)
        self.intents = [e["event"] for e in self.envelopes if e["event"]["kind"] == "intent"]
        self._ends = [e["event"] for e in self.envelopes if e["event"]["kind"] == "submission"]
        self._sent = {end["canary"]: end["sent_ns"] for end in self._ends}

    @classmethod
    def of(cls, fleet: Fleet) -> "Events":
        """Those of a fleet's collector so far."""
        out = io.BytesIO()
        kinds = frozenset({"intent", "submission", "heartbeat"})
        export(fleet.state / "log", Selection(kinds=kinds), out)
        return cls(msgspec.json.decode(line) for line in out.getvalue().splitlines())

    def first(self, revision: str, since_ns: int) -> tuple[int, int]:
        """When the probe's first canary under ``revision`` was due, and when it was sent."""
        found = [
            (intent["due_ns"], self._sent[intent["canary"]])
            for intent in self.intents
            if intent["revision"] == revision
            and intent["path"]["mailbox"].startswith(f"{PROBE}/")
            and intent["at_ns"] >= since_ns
            and intent["canary"] in self._sent
        ]
        return min(found, key=lambda times: times[1])

    def senders(self) -> set[str]:
        """The agents whose canaries fly."""
        return {i["path"]["agent"] for i in self.intents if i["canary"] in self._sent}

    def first_sent_ns(self) -> int:
        """When the first canary of all was sent."""
        return int(min(self._sent.values()))

    def refused(self) -> float:
        """Which share of all canaries the relays refused, as they refuse whatever reaches them."""
        refused = [end for end in self._ends if end["result"] == "rejected"]
        return len(refused) / max(1, len(self._ends))

    def between(self, begin_ns: int, end_ns: int) -> int:
        """How many were taken in in that time."""
        return sum(begin_ns <= e["ingested_at_ns"] < end_ns for e in self.envelopes)

    def flown(self, begin_ns: int, end_ns: int) -> int:
        """How many canaries were due in that time and flew."""
        return sum(begin_ns <= intent["due_ns"] < end_ns for intent in self.intents)

    def lateness_s(self, begin_ns: int, end_ns: int) -> list[float]:
        """By how much each canary that was due in that time was sent later."""
        return [
            (self._sent[intent["canary"]] - intent["due_ns"]) / 1e9
            for intent in self.intents
            if begin_ns <= intent["due_ns"] < end_ns and intent["canary"] in self._sent
        ]


def disturbed(config: Config, events: Events, begin_ns: int, end_ns: int) -> int:
    """How many canaries of the others did not fly in that time as ``config`` plans them.

    Those that flew unplanned or did not fly, and those of anybody whose number does not follow on
    that of the one before in their stream.
    """
    planned = {
        (entry.path.agent, entry.path.relay, entry.path.mailbox, due)
        for entry in plan(config).paths()
        if not entry.path.mailbox.startswith(f"{PROBE}/")
        for due in _until(due_times_ns(entry, begin_ns), end_ns)
    }
    flown: set[tuple[str, str, str, int]] = set()
    numbers: dict[tuple[str, ...], tuple[str, int]] = {}
    broken = 0
    for intent in events.intents:
        path = intent["path"]
        key = (path["agent"], path["relay"], path["mailbox"])
        if begin_ns < intent["due_ns"] < end_ns and not key[2].startswith(f"{PROBE}/"):
            flown.add((*key, intent["due_ns"]))
        for stream, number in ((key, "path_seq"), ((key[0], key[2]), "mailbox_seq")):
            before = numbers.get(stream)
            now = (intent["stream_epoch"], intent[number])
            broken += before is not None and now != (before[0], before[1] + 1)
            numbers[stream] = now
    return len(planned ^ flown) + broken


def _until(times: Iterator[int], end_ns: int) -> Iterator[int]:
    for at in times:
        if at >= end_ns:
            return
        yield at


@contextmanager
def pinged(fleet: Fleet) -> Iterator[list[float]]:
    """Ask the collector how it is fifty times a second; seconds that each answer took."""
    took: list[float] = []
    stop = threading.Event()

    def ping() -> None:
        connection = http.client.HTTPConnection("127.0.0.1", fleet.port, timeout=60)
        while not stop.wait(_PING_S):
            began = time.monotonic()
            connection.request(
                "GET", "/api/v1/health", headers={"Authorization": f"Bearer {fleet.token}"}
            )
            connection.getresponse().read()
            took.append(time.monotonic() - began)
        connection.close()

    thread = threading.Thread(target=ping)
    thread.start()
    try:
        yield took
    finally:
        stop.set()
        thread.join()
