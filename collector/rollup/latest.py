"""The newest canary of each path, and the newest of which the end is known."""

import msgspec

from probes.contract.outcome import Outcome, Verdict


class Newest(msgspec.Struct, frozen=True):
    """One canary: when it was sent, which it is, and what is known of it.

    ``lo_s`` and ``hi_s`` bound its delay, where it has one.
    """

    sent_ns: int
    number: int
    canary: str
    outcome: str
    lo_s: float | None = None
    hi_s: float | None = None


class Latest(msgspec.Struct, frozen=True, array_like=True):
    """A path's newest canary, and the newest one that is not pending."""

    sent: Newest | None = None
    ended: Newest | None = None

    def fold(self, newest: Newest) -> "Latest":
        """With what is known of one canary now; the greatest (time, number) is the newest."""
        sent, ended = self.sent, self.ended
        if sent is None or _place(newest) >= _place(sent):
            sent = newest
        if newest.outcome != Outcome.PENDING and (ended is None or _place(newest) >= _place(ended)):
            ended = newest
        return Latest(sent, ended)


def newest(sent_ns: int, number: int, canary: str, verdict: Verdict) -> Newest:
    """The canary as a path's newest."""
    delay = verdict.delay
    lo, hi = (None, None) if delay is None else (delay.lo, delay.hi)
    return Newest(sent_ns, number, canary, verdict.outcome.value, lo, hi)


def _place(one: Newest) -> tuple[int, int]:
    return one.sent_ns, one.number
