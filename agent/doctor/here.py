"""This host: where the state is kept, room on the disk, the clock."""

import getpass
import os
import tempfile
from pathlib import Path

from agent.doctor.kernel_clock import KernelClock
from agent.doctor.model import Findings

_MIB = 1 << 20
LITTLE_BYTES = 1024 * _MIB
"""The spool's own limit, unless ``--spool-max-mb`` says otherwise."""
TOO_LITTLE_BYTES = 100 * _MIB


def state_directory(found: Findings, state: Path) -> None:
    """Whether this user can write there, and how much room there is."""
    user = _user()
    place = state
    while not place.exists() and place != place.parent:
        place = place.parent
    try:
        if place != state:
            # Tried, not asked: in /proc, say, root has every right and can make nothing.
            with tempfile.TemporaryDirectory(dir=place):
                pass
            found.ok("state directory", f"{state} is not there yet; {user} can make it in {place}")
        else:
            with tempfile.TemporaryFile(dir=state):
                pass
            found.ok("state directory", f"{state} can be written by {user}")
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        found.fail(
            "state directory",
            f"{state}: {reason} (as {user}, in {place})",
            f"make it: install -d -m 0700 -o {user} {state}; or name another with --state, or run "
            "doctor as the user that the agent runs as",
        )
    _room(found, place)


def _room(found: Findings, place: Path) -> None:
    try:
        room = os.statvfs(place)
    except OSError as error:
        found.fail("disk", f"{place}: {(error.strerror or str(error)).lower()}", "mount the disk")
        return
    judge_room(found, str(place), room.f_bavail * room.f_frsize)


def judge_room(found: Findings, place: str, free: int) -> None:
    """What so many free bytes are good for."""
    seen = f"{free / _MIB:,.0f} MiB free at {place}"
    advice = (
        "make room, or give the state a disk of its own; with --spool-max-mb the agent keeps less"
    )
    if free < TOO_LITTLE_BYTES:
        found.fail("disk", f"{seen}: too little to keep events through an outage", advice)
    elif free < LITTLE_BYTES:
        found.warn("disk", f"{seen}: less than the spool may grow to", advice)
    else:
        found.ok("disk", seen)


def judge_clock(found: Findings, clock: KernelClock | None, *, timesyncd: bool) -> None:
    """Whether the clock can be relied on.

    Delays are measured on the boot-time clock and do not suffer; send times, certificates' expiry
    and the delays between a mail's hops do.
    """
    if clock is not None and clock.synchronised:
        found.ok("clock", f"synchronised, off by at most {clock.max_error_s * 1000:,.0f} ms")
    elif timesyncd:
        found.ok("clock", "synchronised, systemd-timesyncd says")
    elif clock is None:
        found.skip(["clock"], "whether the clock is synchronised cannot be told from here")
    else:
        found.warn(
            "clock",
            "nobody keeps it right, the kernel says",
            "run chrony or systemd-timesyncd here (in a container: on its host); delays stay "
            "right, but send times, hops' delays and certificates' expiry are judged by this clock",
        )


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return f"uid {os.geteuid()}"
