"""When to look into a folder again: often while a canary is young, within a command budget.

The time between two checks bounds the error of every delay that they measure. Letting it grow with
the age of the youngest canary in flight keeps the error a fixed share of the delay, and a canary
that is stuck for an hour costs a few hundred checks instead of a hundred thousand.
"""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Cadence:
    """How often to look: at least ``floor_s`` apart, else ``growth`` times the youngest's age.

    ``idle_s`` is how long the server's notices alone are relied on when nothing is in flight
    (RFC 2177 asks to re-issue IDLE within 29 minutes; NAT boxes forget connections much sooner),
    ``poll_s`` how often to look then where IDLE is missing.
    """

    floor_s: float = 0.015
    growth: float = 0.025
    idle_s: float = 240.0
    poll_s: float = 30.0

    def wait_s(self, youngest_age_s: float | None, *, has_idle: bool) -> float:
        """Seconds to wait before the next check, were there no budget."""
        if youngest_age_s is None:
            return self.idle_s if has_idle else self.poll_s
        return min(max(self.floor_s, self.growth * youngest_age_s), self.poll_s)


INBOX = Cadence()
# Mail in the junk folder is rare and its delay seldom matters to a hundredth of a second; that it
# is there must be known before it is called lost.
JUNK = Cadence(floor_s=0.5, growth=0.1)


class Budget:
    """A token bucket of IMAP commands, shared by all folders of a mailbox. Times in seconds."""

    def __init__(self, per_minute: float) -> None:
        self._rate = per_minute / 60.0
        # Ten seconds' worth: enough to follow one canary closely after a quiet time.
        self._size = max(20.0, 10.0 * self._rate)
        self._tokens = self._size
        self._at = 0.0
        self.spent = 0

    def take(self, now_s: float, commands: int = 1) -> float:
        """Spend ``commands``; gives the seconds to wait before they may be sent."""
        self._tokens = min(self._size, self._tokens + max(0.0, now_s - self._at) * self._rate)
        self._at = max(self._at, now_s)
        self._tokens -= commands
        self.spent += commands
        return 0.0 if self._tokens >= 0 else -self._tokens / self._rate
