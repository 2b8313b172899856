"""When each canary really arrived: ``python -m benchmarks.truth MAILDIR``, a process of its own.

Writes a line per mail moved into ``new``: ``{"canary", "wall_ns", "boot_ns", "moved_ns"}``. The
first two times are read right after the event, later than the move by as long as this process took
to wake up; it has real-time priority, and waits for no other thread's Python code. ``moved_ns`` is
the inode's change time, which the kernel takes from the clock of its last tick: earlier than the
move by up to a tick, on the wall clock; null when the server has renamed the mail since.
"""

import contextlib
import os
import re
import select
import sys
import time
from collections import deque
from pathlib import Path
from typing import NamedTuple

import msgspec

from benchmarks.inotify import MovedTo, names

_ID = re.compile(rb"^Mailcanary:\s.*?\bid=([0-9a-f]{32});", re.MULTILINE | re.DOTALL)
_HEAD = 8192


class Moved(NamedTuple):
    """A mail that has come, and when that was noticed."""

    name: str
    wall_ns: int
    boot_ns: int


def canary_of(head: bytes) -> str | None:
    """The id of the canary that a mail is."""
    found = _ID.search(head)
    return None if found is None else found[1].decode()


def find(maildir: Path, name: str) -> Path | None:
    """Where the mail of that name lies now: a server moves it from ``new`` to ``cur``."""
    fresh = maildir / "new" / name
    if fresh.exists():
        return fresh
    return next((maildir / "cur").glob(f"{name}:*"), None)


def record(maildir: Path, moved: Moved) -> bytes | None:
    """The line for a mail; ``None`` when it is gone, or no canary."""
    try:
        changed = (maildir / "new" / moved.name).stat().st_ctime_ns
    except FileNotFoundError:
        changed = None
    # The server may rename it between the look and the open.
    for _ in range(3):
        path = find(maildir, moved.name)
        if path is None:
            return None
        try:
            with path.open("rb") as file:
                canary = canary_of(file.read(_HEAD))
        except FileNotFoundError:
            continue
        if canary is None:
            return None
        line = {
            "canary": canary,
            "wall_ns": moved.wall_ns,
            "boot_ns": moved.boot_ns,
            "moved_ns": changed,
        }
        return msgspec.json.encode(line) + b"\n"
    return None


def watch(maildir: Path, out: int) -> None:
    """Report to ``out`` for ever; which mail it was is looked up while nothing comes."""
    moves = MovedTo(maildir / "new")
    poll = select.poll()
    poll.register(moves.fd, select.POLLIN)
    os.write(out, b"{}\n")
    waiting: deque[Moved] = deque()
    while True:
        if poll.poll(0 if waiting else None):
            events = moves.read()
            wall_ns = time.time_ns()
            boot_ns = time.clock_gettime_ns(time.CLOCK_BOOTTIME)
            waiting += (Moved(name, wall_ns, boot_ns) for name in names(events))
        elif line := record(maildir, waiting.popleft()):
            os.write(out, line)


def main() -> None:
    """Watch the Maildir that the command line names."""
    # Before the servers and the readers, which share the processors; it does almost nothing.
    with contextlib.suppress(PermissionError):
        os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(1))
    watch(Path(sys.argv[1]), sys.stdout.fileno())


if __name__ == "__main__":
    main()
