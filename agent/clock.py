"""The agent's clocks: wall time for what others read, boot time for what is measured.

A delay is a difference of ``CLOCK_BOOTTIME`` readings: it neither jumps when the wall clock is set
nor stops while the machine sleeps. It ends with the boot, whose id is kept beside every reading.
"""

import time
from pathlib import Path
from typing import Protocol

import msgspec


# A struct is made in a fifth of the time of a frozen dataclass, and some twenty per canary are.
class Moment(msgspec.Struct, frozen=True, gc=False):
    """One instant on both clocks, in nanoseconds; ``boot_ns`` has a meaning only within a boot."""

    wall_ns: int
    boot_ns: int
    boot_id: str


def at_boot(now: Moment, boot_ns: int) -> Moment:
    """The moment of this boot at ``boot_ns``, seen from ``now``."""
    return Moment(now.wall_ns - (now.boot_ns - boot_ns), boot_ns, now.boot_id)


NEVER = Moment(0, 0, "")
"""Before everything, in no boot: what "not yet" compares as."""


class Clock(Protocol):
    """Where the agent gets the time from; simulations bring their own."""

    def now(self) -> Moment:
        """Both clocks, read together."""


class SystemClock:
    """The kernel's clocks."""

    def __init__(self) -> None:
        self._boot_id = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()

    def now(self) -> Moment:
        """Both clocks, read together."""
        return Moment(time.time_ns(), time.clock_gettime_ns(time.CLOCK_BOOTTIME), self._boot_id)


class Elapsed(msgspec.Struct, frozen=True, gc=False):
    """Seconds between two moments, and which clock told; ``error_s`` bounds the clock's error."""

    seconds: float
    clock: str
    error_s: float


def elapsed(start: Moment, end: Moment, *, wall_error_s: float) -> Elapsed:
    """The time from ``start`` to ``end``: exact within a boot, by the wall clock across one.

    ``wall_error_s`` is how far apart two readings of the wall clock around a reboot may be wrong.
    """
    if start.boot_id and start.boot_id == end.boot_id:
        return Elapsed((end.boot_ns - start.boot_ns) / 1e9, "boottime", 0.0)
    return Elapsed((end.wall_ns - start.wall_ns) / 1e9, "wall", wall_error_s)


_JUMP_NS = 60_000_000_000
_FIRST_NS = 600_000_000_000
_STANDING_NS = 86_400_000_000_000


class WallGuard:
    """The wall clock as far as it may be believed by what destroys things for their age.

    A wall clock that is set far ahead makes everything look old, and what was destroyed does not
    come back when the clock is set right. So a jump ahead by more than a minute, against the boot
    clock, is believed only when it has stood for a day, and the first reading of a run when it has
    stood for ten minutes: the time in which a clock is set after a boot. A clock that was set back
    is believed at once, since by it things look younger. Ask it regularly.
    """

    def __init__(self) -> None:
        self._boot_id = ""
        self._offset_ns: int | None = None
        self._claimed_ns = 0
        self._since_ns = 0

    def believed_ns(self, now: Moment) -> int | None:
        """The wall time that may be believed; ``None`` while none may."""
        claimed_ns = now.wall_ns - now.boot_ns
        if now.boot_id != self._boot_id:
            self._boot_id, self._offset_ns = now.boot_id, None
            self._claimed_ns, self._since_ns = claimed_ns, now.boot_ns
        if self._offset_ns is not None and claimed_ns - self._offset_ns <= _JUMP_NS:
            self._offset_ns = self._claimed_ns = claimed_ns
            self._since_ns = now.boot_ns
        elif abs(claimed_ns - self._claimed_ns) > _JUMP_NS:
            self._claimed_ns, self._since_ns = claimed_ns, now.boot_ns
        elif now.boot_ns - self._since_ns >= (
            _FIRST_NS if self._offset_ns is None else _STANDING_NS
        ):
            self._offset_ns = claimed_ns
        return None if self._offset_ns is None else now.boot_ns + self._offset_ns
