"""Any order of sending, looking, forgetting and failing: the air against a simple model."""

from dataclasses import dataclass

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from agent.air import Air
from agent.clock import Moment
from agent.spool.flight import Flight, FlightState
from agent.wall import WallLog
from probes.contract.names import Path

S = 1_000_000_000
_RAN_S = 500
BOXES = ("acme/inbox", "acme/two")
_which = st.integers(0, 30)


@dataclass
class Wait:
    """One awaited canary of the model. Seconds of the boot clock.

    ``since_s`` is when it was sent by the wall clock, ``began_s`` by what the machine has run.
    """

    flight: Flight
    since_s: int
    began_s: int
    ends_s: int
    over: bool = False
    dot_s: int | None = None


class AirMachine(RuleBasedStateMachine):
    """The canaries in the air of one boot; those of the boot before are taken up.

    How old these are the wall clock says, and how long they were waited for what both boots ran.
    """

    def __init__(self) -> None:
        super().__init__()
        wall = WallLog()
        for boot_s, boot in ((0, "before"), (_RAN_S, "before"), (0, "boot")):
            wall.note(Moment((boot_s + 10_000) * S, boot_s * S, boot))
        self.air = Air(wall)
        self.boot_s = 10
        self.made = 0
        self.waits: dict[str, Wait] = {}

    def _now(self) -> Moment:
        # The wall clock is ten thousand seconds ahead, so that nothing mistakes one for the other.
        return Moment((self.boot_s + 10_000) * S, self.boot_s * S, "boot")

    def _flight(self, box: str, age_s: int, loss_after_s: int, *, before_boot: bool) -> Flight:
        self.made += 1
        now = self._now()
        boot_ns = (_RAN_S - age_s) * S if before_boot else now.boot_ns - age_s * S
        sent = Moment(now.wall_ns - age_s * S, boot_ns, "before" if before_boot else "boot")
        path = Path("sfo", "r1", box)
        return Flight(f"{self.made:032x}", path, 0, sent, 5.0, float(loss_after_s))

    def _some(self, which: int) -> Wait:
        return list(self.waits.values())[which % len(self.waits)]

    @rule(seconds=st.integers(0, 50))
    def time_passes(self, seconds: int) -> None:
        """Only the boot clock matters."""
        self.boot_s += seconds

    @rule(box=st.sampled_from(BOXES), age_s=st.integers(0, 5), loss_after_s=st.integers(1, 60))
    def dot_is_sent(self, box: str, age_s: int, loss_after_s: int) -> None:
        """A canary has left and is awaited from now on."""
        flight = self._flight(box, age_s, loss_after_s, before_boot=False)
        self.air.expect(flight, self._now(), dot=self._now())
        began_s = self.boot_s - age_s
        self.waits[flight.canary] = Wait(
            flight, self.boot_s, began_s, began_s + loss_after_s, dot_s=self.boot_s
        )

    @rule(
        box=st.sampled_from(BOXES),
        age_s=st.integers(0, 200),
        loss_after_s=st.integers(1, 60),
        before_boot=st.booleans(),
    )
    def taken_up(self, box: str, age_s: int, loss_after_s: int, before_boot: bool) -> None:
        """A flight of before is awaited again, with the time that is left of its wait."""
        flight = self._flight(box, age_s, loss_after_s, before_boot=before_boot)
        self.air.expect(flight, self._now(), dot=None)
        since_s = self.boot_s - age_s
        began_s = -age_s if before_boot else since_s
        self.waits[flight.canary] = Wait(flight, since_s, began_s, began_s + loss_after_s)

    @precondition(lambda self: self.waits)
    @rule(which=_which)
    def accounted_for(self, which: int) -> None:
        """A canary arrived, came back, or was refused."""
        wait = self._some(which)
        self.air.forget(wait.flight)
        del self.waits[wait.flight.canary]

    @rule(box=st.sampled_from(BOXES), ago_s=st.integers(0, 20))
    def mailbox_was_checked(self, box: str, ago_s: int) -> None:
        """Those whose wait ended before the check are over, each of them told once."""
        mark_s = self.boot_s - ago_s
        over = {flight.canary for flight in self.air.mailbox(box).overdue(mark_s * S)}
        wanted = {
            canary
            for canary, wait in self.waits.items()
            if wait.flight.path.mailbox == box and wait.ends_s <= mark_s and not wait.over
        }
        assert over == wanted
        for canary in over:
            self.waits[canary].over = True

    @precondition(lambda self: any(wait.over for wait in self.waits.values()))
    @rule()
    def spool_refused_the_expiry(self) -> None:
        """An overdue canary is overdue again at the next check from now on."""
        wait = next(wait for wait in self.waits.values() if wait.over)
        self.air.mailbox(wait.flight.path.mailbox).wait_again(wait.flight, self._now())
        wait.over, wait.ends_s = False, self.boot_s

    @rule(age_s=st.integers(1, 300))
    def given_up(self, age_s: int) -> None:
        """Those in the air for too long are named, each with its mailbox."""
        for box in BOXES:
            named = self.air.mailbox(box).older_than(float(age_s), self._now())
            assert {flight.canary for flight in named} == {
                canary
                for canary, wait in self._of(box).items()
                if self.boot_s - wait.began_s > age_s
            }

    def _of(self, box: str) -> dict[str, Wait]:
        return {c: wait for c, wait in self.waits.items() if wait.flight.path.mailbox == box}

    @invariant()
    def the_air_holds_what_is_awaited(self) -> None:
        """Neither more nor less, the last one in being the youngest."""
        assert len(self.air) == len(self.waits)
        for box in BOXES:
            air, waits = self.air.mailbox(box), self._of(box)
            assert len(air) == len(waits)
            for canary, wait in waits.items():
                assert air.get(canary) == wait.flight.moved(FlightState.AWAITED)
                assert air.dot_ns(canary) == (None if wait.dot_s is None else wait.dot_s * S)
            last = next(reversed(waits.values()), None)
            age_s = None if last is None else float(self.boot_s - last.since_s)
            assert air.youngest_age_s(self._now()) == age_s
        first = self.air.oldest()
        sent = [wait.flight.sent.wall_ns for wait in self.waits.values()]
        assert (first is None) == (not sent)
        if first is not None:
            assert first.sent.wall_ns in sent


TestAir = AirMachine.TestCase
TestAir.settings = settings(max_examples=80, stateful_step_count=40, deadline=None)
