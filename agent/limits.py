"""The agent's own bounds."""

from dataclasses import dataclass, field

from agent.caps import Caps, for_relays
from agent.mailbox.cadence import INBOX, JUNK, Cadence


@dataclass(frozen=True, slots=True)
class Limits:
    """The agent's own bounds. Bytes and seconds.

    ``caps`` are those that hold as they are. Without them ``asked`` and ``sending``, if given, are
    made fit for the relays of the assignment of the day.
    """

    spool_bytes: int = 1 << 30
    spool_age_s: float = 7 * 86400.0
    heartbeat_s: float = 10.0
    grace_s: float = 7.0
    wall_error_s: float = 1.0
    imap_command_s: float = 30.0
    inbox: Cadence = INBOX
    junk: Cadence = JUNK
    caps: Caps | None = None
    asked: Caps = field(default_factory=Caps)
    sending: int | None = None

    def caps_for(self, relays: int) -> Caps:
        """The caps of an agent that sends through so many relays."""
        return self.caps or for_relays(relays, self.asked, sending=self.sending)
