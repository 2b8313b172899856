"""Any order of operations, roll-backs, restarts and kills: the spool against a simple model."""

import shutil
import tempfile
from dataclasses import dataclass, field
from pathlib import Path as FilePath
from typing import TypeVar

import msgspec
import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from agent.clock import Moment
from agent.spool.flight import Flight, FlightState
from agent.spool.schema import FILE_NAME, open_spool
from agent.spool.store import Cursor, Store
from agent.spool.writer import Operation, run_batch
from probes.contract import events as ev
from probes.contract.names import Path
from probes.contract.stages import Reason, Result
from tests.agent.fakes import S, arrival_of

T = TypeVar("T")
PATHS = [Path("sfo", relay, box) for relay in ("r1", "r2") for box in ("acme/inbox", "acme/two")]
FOLDERS = [("acme/inbox", "INBOX"), ("acme/inbox", "Junk"), ("acme/two", "INBOX")]
_which = st.integers(0, 30)
TOLD = {
    FlightState.INTENT: FlightState.AWAITED,
    FlightState.EXPIRED_UNTOLD: FlightState.EXPIRED,
}
EXPIRED = {
    FlightState.INTENT: FlightState.EXPIRED_UNTOLD,
    FlightState.AWAITED: FlightState.EXPIRED,
}


@dataclass
class Model:
    """What the spool should hold."""

    events: dict[int, tuple[int, str, str]] = field(default_factory=dict)
    last_seq: int = 0
    shipped: int = 0
    dropped: int = 0
    flights: dict[str, Flight] = field(default_factory=dict)
    streams: dict[str, int] = field(default_factory=dict)
    cursors: dict[tuple[str, str], Cursor] = field(default_factory=dict)
    cleanup: set[tuple[str, str, int, int]] = field(default_factory=set)

    def append(self, at_ns: int, kind: str, canary: str) -> None:
        """An event is written."""
        self.last_seq += 1
        self.events[self.last_seq] = (at_ns, kind, canary)

    def number(self, key: str) -> int:
        """The next number of a stream."""
        self.streams[key] = self.streams.get(key, 0) + 1
        return self.streams[key]


class SpoolMachine(RuleBasedStateMachine):
    """The store on a real file. Each rule is one transaction."""

    def __init__(self) -> None:
        super().__init__()
        self._root = FilePath(tempfile.mkdtemp())
        self._copies = 0
        self.model = Model()
        self.time_s = 1000
        self.made: list[Flight] = []
        self._open()

    def _open(self) -> None:
        self._opened = open_spool(self._root / str(self._copies))
        self.store = Store(self._opened.connection, self._opened.epoch)

    def _do(self, operation: Operation[T]) -> T:
        self.time_s += 1
        result: T = run_batch(self.store, [operation])[0]
        return result

    def _now(self) -> Moment:
        return Moment(self.time_s * S, self.time_s * S - 500 * S, "boot")

    def _some(self, which: int) -> Flight:
        return self.made[which % len(self.made)]

    def teardown(self) -> None:
        """Leave nothing behind."""
        self.store.close()
        self._opened.lock.close()
        shutil.rmtree(self._root)

    # --- what an agent does -----------------------------------------------------------------

    @rule(path=st.sampled_from(PATHS))
    def begin_flight(self, path: Path) -> None:
        """An intent is made durable."""
        model, now = self.model, self._now()
        draft = Flight(f"{len(self.made):032x}", path, now.wall_ns, now, 5.0, 30.0)
        made = self._do(lambda store: store.begin_flight(draft, "r"))
        numbers = model.number(f"path:{path}"), model.number(f"mailbox:{path.mailbox}")
        assert (made.path_seq, made.mailbox_seq) == numbers
        model.flights[made.canary] = made
        model.append(now.wall_ns, "intent", made.canary)
        self.made.append(made)

    @precondition(lambda self: self.made)
    @rule(which=_which, result=st.sampled_from([Result.ACCEPTED, Result.REJECTED, Result.UNKNOWN]))
    def end_submission(self, which: int, result: Result) -> None:
        """An attempt is over; its flight may have ended before."""
        flight, model, now = self._some(which), self.model, self._now()
        event = ev.Submission(
            canary=flight.canary,
            path=flight.path,
            sent_ns=now.wall_ns,
            at_ns=now.wall_ns,
            result=result,
            reason=None if result is Result.ACCEPTED else Reason.CLOSED,
        )
        state = FlightState.CLOSED if result is Result.REJECTED else FlightState.AWAITED
        self._do(lambda store: store.end_submission(event, now, state))
        model.append(now.wall_ns, "submission", flight.canary)
        known = model.flights.get(flight.canary)
        if state is FlightState.CLOSED or (known and known.state is FlightState.ARRIVED_UNTOLD):
            model.flights.pop(flight.canary, None)
        elif known and known.state in TOLD:
            model.flights[flight.canary] = known.moved(TOLD[known.state], now)

    @precondition(lambda self: self.made)
    @rule(which=_which, lost=st.booleans())
    def end_wait(self, which: int, lost: bool) -> None:
        """A wait is over."""
        flight, model, now = self._some(which), self.model, self._now()
        event = ev.Expiry(
            canary=flight.canary, path=flight.path, at_ns=now.wall_ns, lost=lost, watermark_ns=None
        )
        self._do(lambda store: store.end_wait(event))
        model.append(now.wall_ns, "expiry", flight.canary)
        known = model.flights.get(flight.canary)
        if known and known.state in EXPIRED:
            model.flights[flight.canary] = known.moved(EXPIRED[known.state])

    @rule(
        where=st.sampled_from(FOLDERS),
        validity=st.integers(1, 2),
        finds=st.lists(st.tuples(st.integers(1, 20), _which, st.sampled_from("abd")), max_size=3),
    )
    def record_check(
        self, where: tuple[str, str], validity: int, finds: list[tuple[int, int, str]]
    ) -> None:
        """A folder was looked into: arrivals, bounces (delayed, failed), or nothing."""
        model, now = self.model, self._now()
        cursor = Cursor(validity, 21, now)
        found: list[tuple[int, ev.Arrival | ev.Bounce]] = []
        for uid, which, kind in finds if self.made else []:
            flight = self._some(which)
            event = (
                arrival_of(flight, uid, seen_ns=now.wall_ns)
                if kind == "a"
                else _bounce(flight, now, kind)
            )
            found.append((uid, event))
        self._do(lambda store: store.record_check(*where, cursor, found))
        for uid, event in found:
            kind = "arrival" if isinstance(event, ev.Arrival) else "bounce"
            model.append(now.wall_ns, kind, event.canary)
            model.cleanup.add((*where, validity, uid))
            if isinstance(event, ev.Arrival) or event.action == "failed":
                known = model.flights.pop(event.canary, None)
                if known and known.untold:
                    model.flights[event.canary] = known.moved(FlightState.ARRIVED_UNTOLD)
        model.cursors[where] = cursor

    @rule(where=st.sampled_from(FOLDERS), validity=st.integers(1, 2))
    def clean(self, where: tuple[str, str], validity: int) -> None:
        """What lies in a folder is deleted; rows of another UIDVALIDITY mean nothing any more."""
        model = self.model
        model.cleanup = {row for row in model.cleanup if row[:2] != where or row[2] == validity}
        uids = self._do(lambda store: store.cleanup(*where, validity))
        assert uids == sorted(row[3] for row in model.cleanup if row[:3] == (*where, validity))
        gone = uids[:2]
        self._do(lambda store: store.cleaned(*where, validity, gone))
        model.cleanup -= {(*where, validity, uid) for uid in gone}

    @rule(age_s=st.integers(1, 40))
    def forget_flights(self, age_s: int) -> None:
        """Expired flights are kept for a while only."""
        now = self._now()
        before = Moment(now.wall_ns - age_s * S, now.boot_ns - age_s * S, now.boot_id)
        gone = {
            canary
            for canary, flight in self.model.flights.items()
            if flight.state is FlightState.EXPIRED and flight.sent.boot_ns < before.boot_ns
        }
        assert self._do(lambda store: store.forget_flights(before)) == len(gone)
        for canary in gone:
            del self.model.flights[canary]

    # --- events leave -----------------------------------------------------------------------

    @rule(back=st.integers(0, 10))
    def mark_shipped(self, back: int) -> None:
        """Events are safe elsewhere."""
        model = self.model
        seq = max(model.shipped, model.last_seq - back)
        self._do(lambda store: store.mark_shipped(seq))
        model.shipped = seq
        model.events = {s: event for s, event in model.events.items() if s > seq}

    @rule(age_s=st.integers(0, 40))
    def trim_by_age(self, age_s: int) -> None:
        """The oldest events are dropped, up to the first that is young enough."""
        model, min_ns = self.model, (self.time_s - age_s) * S
        gone = []
        for seq, (at_ns, _, _) in sorted(model.events.items()):
            if at_ns >= min_ns:
                break
            gone.append(seq)
        dropped = self._do(lambda store: store.trim(max_bytes=1 << 40, min_at_ns=min_ns))
        assert dropped == len(gone)
        model.dropped += dropped
        for seq in gone:
            del model.events[seq]

    @rule()
    def trim_by_size(self) -> None:
        """Everything is dropped where there is no room, and counted; flights stay."""
        model = self.model
        dropped = self._do(lambda store: store.trim(max_bytes=1, min_at_ns=0))
        left = [record.seq for record in self.store.read_after(0, 10_000)]
        assert sorted(model.events)[dropped:] == left
        model.dropped += dropped
        model.events = {seq: model.events[seq] for seq in left}

    # --- what goes wrong --------------------------------------------------------------------

    @rule(path=st.sampled_from(PATHS), which=_which)
    def roll_back(self, path: Path, which: int) -> None:
        """A transaction fails after it has done a lot; nothing of it is there."""
        now = self._now()

        def much(store: Store) -> None:
            draft = Flight("f" * 32, path, now.wall_ns, now, 5.0, 30.0)
            store.begin_flight(draft, "r")
            if self.made:
                found: list[tuple[int, ev.Arrival | ev.Bounce]] = [
                    (99, arrival_of(self._some(which), 99, seen_ns=now.wall_ns))
                ]
                store.record_check(*FOLDERS[0], Cursor(9, 100, now), found)
            store.mark_shipped(10_000)
            raise KeyError("a fault of the operation's own")

        with pytest.raises(KeyError):
            self._do(much)

    @rule()
    def restart(self) -> None:
        """The file is closed and opened again."""
        epoch = self._opened.epoch
        self.store.close()
        self._opened.lock.close()
        self._open()
        assert self._opened.epoch == epoch
        assert self._opened.quarantined is None

    @rule(in_transaction=st.booleans())
    def kill(self, in_transaction: bool) -> None:
        """The process dies, perhaps in a transaction; the next one finds the files as they are."""
        if in_transaction:
            self.store.begin()
            self.store.mark_shipped(10_000)
        old = self._root / str(self._copies)
        self._copies += 1
        new = self._root / str(self._copies)
        new.mkdir()
        for name in (FILE_NAME, FILE_NAME + "-wal"):
            if (old / name).exists():
                shutil.copy(old / name, new)
        self.store.rollback()
        self.store.close()
        self._opened.lock.close()
        self._open()

    # --- what must hold ---------------------------------------------------------------------

    @invariant()
    def events_are_those_written(self) -> None:
        """Contiguous from what was shipped or dropped to the last, each with its own body."""
        model, records = self.model, self.store.read_after(0, 10_000)
        assert [record.seq for record in records] == sorted(model.events)
        for record in records:
            event = ev.decode(record.body)
            assert isinstance(event, ev.CanaryEvent)
            _, kind, canary = model.events[record.seq]
            assert (type(event).__name__.lower(), event.canary) == (kind, canary)
        depth = self.store.depth()
        assert (depth.rows, depth.last_seq) == (len(model.events), model.last_seq)
        assert (depth.shipped, depth.dropped) == (model.shipped, model.dropped)
        assert self.store.shipped() == model.shipped

    @invariant()
    def flights_are_those_in_the_air(self) -> None:
        """For the next start: all but the expired; known: all but those that have arrived."""
        kept = {
            c: msgspec.structs.replace(f, stream_epoch=self.store.epoch)
            for c, f in self.model.flights.items()
        }
        known = {c: f for c, f in kept.items() if f.state is not FlightState.ARRIVED_UNTOLD}
        assert self.store.find_flights([flight.canary for flight in self.made]) == known
        flying = [flight for flight in kept.values() if flight.state is not FlightState.EXPIRED]
        flying.sort(key=lambda flight: (flight.sent.wall_ns, flight.canary))
        assert self.store.flights() == flying
        for box in ("acme/inbox", "acme/two", None):
            flown = any(box in (None, flight.path.mailbox) for flight in self.made)
            assert self.store.has_flown(box) == flown

    @invariant()
    def cursors_are_the_last_ones(self) -> None:
        """Each folder is where its last check left it."""
        assert self.store.cursors() == self.model.cursors


def _bounce(flight: Flight, now: Moment, kind: str) -> ev.Bounce:
    return ev.Bounce(
        canary=flight.canary,
        path=flight.path,
        seen_ns=now.wall_ns,
        action="failed" if kind == "b" else "delayed",
        status=None,
        diagnostic=None,
        remote_mta=None,
        reporting_mta=None,
    )


TestSpool = SpoolMachine.TestCase
TestSpool.settings = settings(
    max_examples=60,
    stateful_step_count=40,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
)
