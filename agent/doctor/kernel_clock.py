"""Whether this host's clock is kept right, as the kernel and systemd tell it."""

import ctypes
from dataclasses import dataclass
from pathlib import Path

TIMESYNC = Path("/run/systemd/timesync/synchronized")
"""systemd-timesyncd touches it when it has set the clock."""

_STA_UNSYNC = 0x40
_TIME_ERROR = 5


class _Timex(ctypes.Structure):
    """``struct timex`` of adjtimex(2)."""

    _fields_ = (
        ("modes", ctypes.c_uint),
        ("offset", ctypes.c_long),
        ("freq", ctypes.c_long),
        ("maxerror", ctypes.c_long),
        ("esterror", ctypes.c_long),
        ("status", ctypes.c_int),
        ("constant", ctypes.c_long),
        ("precision", ctypes.c_long),
        ("tolerance", ctypes.c_long),
        ("time", ctypes.c_long * 2),
        ("tick", ctypes.c_long),
        ("pps", ctypes.c_long * 2),
        ("shift", ctypes.c_int),
        ("counts", ctypes.c_long * 5),
        ("tai", ctypes.c_int),
        ("padding", ctypes.c_int * 16),
    )


@dataclass(frozen=True, slots=True)
class KernelClock:
    """``max_error_s`` is the kernel's bound; it grows while nobody corrects the clock."""

    synchronised: bool
    max_error_s: float


def kernel_clock() -> KernelClock | None:
    """What adjtimex(2) tells, without changing anything; ``None`` where it cannot be asked."""
    state = _Timex(modes=0)
    try:
        code = ctypes.CDLL(None, use_errno=True).adjtimex(ctypes.byref(state))
    except (OSError, AttributeError):
        return None
    if code < 0:
        return None
    synchronised = code != _TIME_ERROR and not state.status & _STA_UNSYNC
    return KernelClock(synchronised, state.maxerror / 1e6)


def timesyncd_says_so(mark: Path = TIMESYNC) -> bool:
    """Whether systemd-timesyncd has set the clock since boot."""
    try:
        return mark.exists()
    except OSError:
        return False
