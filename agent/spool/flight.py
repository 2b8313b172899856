"""A flight: one canary in the air, from its intent until it is accounted for."""

from enum import StrEnum

import msgspec

from agent.clock import Moment
from probes.contract.names import Path
from probes.contract.token import Token


class FlightState(StrEnum):
    """How far a flight has come.

    An untold one has no submission yet, although it may have arrived: a mail may overtake its
    relay's reply. It is kept until it has one, so that a restart can tell of it.
    """

    INTENT = "intent"
    """Its intent is durable; the attempt is running, or was interrupted."""
    AWAITED = "awaited"
    """The relay has it, or may have it: it is looked for in its mailbox."""
    EXPIRED = "expired"
    """The wait is over; kept so that a late arrival is still measured by the boot clock."""
    EXPIRED_UNTOLD = "expired-untold"
    """As expired; how its attempt ended is not written down yet."""
    ARRIVED_UNTOLD = "arrived-untold"
    """It arrived, or was returned for good; how its attempt ended is not written down yet."""
    CLOSED = "closed"
    """Accounted for; no longer kept."""


UNTOLD = (FlightState.INTENT, FlightState.EXPIRED_UNTOLD, FlightState.ARRIVED_UNTOLD)


class Flight(msgspec.Struct, frozen=True):
    """One canary in the air. ``sent`` is the intent's moment until the attempt has a send time."""

    canary: str
    path: Path
    due_ns: int
    sent: Moment
    deadline_s: float
    loss_after_s: float
    path_seq: int = 0
    mailbox_seq: int = 0
    stream_epoch: str = ""
    state: FlightState = FlightState.INTENT

    def numbered(self, path_seq: int, mailbox_seq: int, stream_epoch: str) -> "Flight":
        """The same flight with its place in both of its streams."""
        return msgspec.structs.replace(
            self, path_seq=path_seq, mailbox_seq=mailbox_seq, stream_epoch=stream_epoch
        )

    def moved(self, state: FlightState, sent: Moment | None = None) -> "Flight":
        """The same flight in another state."""
        return msgspec.structs.replace(self, state=state, sent=self.sent if sent is None else sent)

    @property
    def awaited(self) -> bool:
        """Whether it is looked for in its mailbox."""
        return self.state in (FlightState.INTENT, FlightState.AWAITED)

    @property
    def untold(self) -> bool:
        """Whether its submission has still to be written down."""
        return self.state in UNTOLD

    @property
    def token(self) -> Token:
        """What the canary says of itself."""
        return Token(
            canary=self.canary,
            path=self.path,
            stream_epoch=self.stream_epoch,
            path_seq=self.path_seq,
            mailbox_seq=self.mailbox_seq,
            sent_ns=self.sent.wall_ns,
        )
