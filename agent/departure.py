"""One canary's one attempt: when it begins, what is sent, and when its final dot goes out."""

from collections.abc import Callable

from agent.air import Air
from agent.assignment import Terms
from agent.clock import Clock, Moment
from agent.spool.flight import Flight, FlightState
from probes.smtp import Mail


class Departure:
    """A flight on its way out.

    The send time is taken when the attempt begins, by whoever makes it, since the canary's signed
    token bears it: what the agent waits for on its own account is no delay of the mail's.
    """

    def __init__(
        self,
        flight: Flight,
        clock: Clock,
        air: Air,
        compose: Callable[[Flight], Mail],
        terms: Terms,
    ) -> None:
        self.flight = flight
        self.dotted = False
        self._clock = clock
        self._air = air
        self._compose = compose
        self._terms = terms

    @property
    def sent(self) -> Moment:
        """The send time; the intent's moment as long as nothing was sent."""
        return self.flight.sent

    def mail(self) -> Mail:
        """The attempt begins now: the mail, signed with this send time."""
        self.flight = self.flight.moved(FlightState.AWAITED, self._clock.now())
        return self._compose(self.flight)

    def dot_sent(self) -> None:
        """The final dot is about to be sent: from now on the canary is awaited."""
        self.dotted = True
        now = self._clock.now()
        self._air.expect(self.flight, now, dot=now, terms=self._terms)
