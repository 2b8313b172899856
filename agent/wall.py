"""How the wall clock was set, as far as was seen: what a delay by it may be wrong by.

Where a canary's send is known by the wall clock only (after a reboot, or of a copy whose flight is
forgotten), its delay is a difference of two readings of a clock that people and time servers set.
Each step shows as a jump of the wall clock against the boot clock, so the steps are written down,
and an interval is widened by those that lie between the two readings.
"""

import asyncio
from collections.abc import Iterable
from itertools import pairwise

import msgspec

from agent.clock import Clock, Moment

_STEP_NS = 100_000_000
# Readings are noted with every heartbeat at least.
_UNNOTED_NS = 60_000_000_000
_MOST = 200


class Stretch(msgspec.Struct):
    """A time in which the wall clock was not set: it was the boot clock plus ``offset_ns``.

    ``since_ns`` and ``until_ns`` are of the boot clock: the first and the last reading in it.
    """

    boot_id: str
    since_ns: int
    until_ns: int
    offset_ns: int


class WallLog:
    """The stretches between the wall clock's steps, oldest first. Steps below 0.1 s go unseen."""

    def __init__(self) -> None:
        self._stretches: list[Stretch] = []
        self._stepped = asyncio.Event()

    async def stepped(self) -> None:
        """Wait for a step, or a boot, that was noted since this was last awaited."""
        await self._stepped.wait()
        self._stepped.clear()

    def note(self, now: Moment) -> None:
        """The clocks were read."""
        offset_ns = now.wall_ns - now.boot_ns
        last = self._stretches[-1] if self._stretches else None
        if (
            last is not None
            and last.boot_id == now.boot_id
            and abs(offset_ns - last.offset_ns) < _STEP_NS
        ):
            last.until_ns = max(last.until_ns, now.boot_ns)
            return
        self._stepped.set()
        self._stretches.append(Stretch(now.boot_id, now.boot_ns, now.boot_ns, offset_ns))
        del self._stretches[:-_MOST]

    def dump(self) -> bytes:
        """What :meth:`resume` takes."""
        return msgspec.json.encode(self._stretches)

    def resume(self, text: bytes, now: Moment) -> None:
        """Go on from what an earlier run had seen; a step since then shows with this reading."""
        self._stretches = msgspec.json.decode(text, type=list[Stretch])
        self.note(now)

    def error_s(self, sent: Moment, wall_error_s: float) -> float:
        """How far the wall clock's time from ``sent`` until now may be wrong, in seconds.

        ``wall_error_s`` for the clock as such, once more for every reboot after the first, and all
        steps that were seen since. Where ``sent`` may lie in several stretches it is the first.
        """
        first = next((i for i, one in enumerate(self._stretches) if _may_hold(one, sent)), 0)
        since = self._stretches[first:]
        steps_ns = sum(_step_ns(*pair) for pair in pairwise(since))
        reboots = _reboots(since)
        return wall_error_s * max(1, reboots) + steps_ns / 1e9

    def ran_s(self, sent: Moment, now: Moment) -> float:
        """Seconds that have passed since ``sent`` for certain, whatever the wall clock says.

        Within a boot it is exact. Across reboots it is how long the boots were seen to run since:
        how long the machine was off only the wall clock knows, and after a boot that may be wrong
        by years until it is set. Of a boot that is not known any more nothing counts.
        """
        if sent.boot_id and sent.boot_id == now.boot_id:
            return (now.boot_ns - sent.boot_ns) / 1e9
        ran_ns: dict[str, int] = {}
        for one in self._stretches:
            if one.boot_id == sent.boot_id:
                # That boot is where it begins to count.
                ran_ns = {one.boot_id: max(0, one.until_ns - sent.boot_ns)}
            elif one.boot_id != now.boot_id:
                ran_ns[one.boot_id] = one.until_ns
        if sent.boot_id not in ran_ns:
            ran_ns = {}
        return (sum(ran_ns.values()) + now.boot_ns) / 1e9


def _may_hold(one: Stretch, sent: Moment) -> bool:
    if sent.boot_id:
        same = one.boot_id == sent.boot_id
        return same and one.since_ns <= sent.boot_ns <= one.until_ns + _UNNOTED_NS
    boot_ns = sent.wall_ns - one.offset_ns
    return one.since_ns - _STEP_NS <= boot_ns <= one.until_ns + _UNNOTED_NS


def _step_ns(one: Stretch, following: Stretch) -> int:
    """By how much the clock was set between them; across a reboot nobody knows."""
    same = one.boot_id == following.boot_id
    return abs(following.offset_ns - one.offset_ns) if same else 0


def _reboots(stretches: Iterable[Stretch]) -> int:
    boots = [one.boot_id for one in stretches]
    return sum(one != following for one, following in pairwise(boots))


class NotingClock:
    """A clock of which every reading is noted."""

    def __init__(self, clock: Clock, log: WallLog) -> None:
        self._clock = clock
        self._log = log

    def now(self) -> Moment:
        """Both clocks, read together."""
        now = self._clock.now()
        self._log.note(now)
        return now
