"""When each canary really came into its mailbox: inotify tells, whoever else looks or not."""

import ctypes
import os
import re
import select
import struct
import threading
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple, Self

from tests.servers.dovecot import Mailbox

_IN_MOVED_TO = 0x80
_EVENT = struct.Struct("iIII")
_CREATED = re.compile(r"(\d+)\.M(\d+)P")
_CANARY = re.compile(rb"^Mailcanary:.*?\bid=([0-9a-f]{32});", re.MULTILINE | re.DOTALL)
_HEADER_BYTES = 8192


class Truth(NamedTuple):
    """The rename into `new` lay between these two moments, in nanoseconds since the Unix epoch."""

    not_before_ns: int
    not_after_ns: int


def created_ns(name: str) -> int:
    """When a mail's file was begun, by its name: Dovecot writes seconds and microseconds there."""
    found = _CREATED.match(name)
    assert found is not None, name
    return int(found[1]) * 1_000_000_000 + int(found[2]) * 1000


def names(events: bytes) -> Iterator[str]:
    """The names of the files that were moved in."""
    start = 0
    while start < len(events):
        _, _, _, length = _EVENT.unpack_from(events, start)
        start += _EVENT.size
        yield os.fsdecode(events[start : start + length].rstrip(b"\0"))
        start += length


def canary_in(box: Mailbox, name: str) -> str | None:
    """The canary that a file of the mailbox holds; None when it is gone, or something else."""
    # A reader moves a file from `new` to `cur` and adds flags to its name, perhaps just now.
    for path in (box.new / name, *(box.maildir / "cur").glob(f"{name}:*"), box.new / name):
        try:
            with path.open("rb") as file:
                found = _CANARY.search(file.read(_HEADER_BYTES))
        except FileNotFoundError:
            continue
        return None if found is None else found[1].decode()
    return None


class Arrivals:
    """Watches the inboxes of mailboxes in a thread of its own, for as long as the context lasts."""

    def __init__(self, boxes: Iterable[Mailbox]) -> None:
        self._boxes = list(boxes)
        self._seen: dict[str, Truth] = {}
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._stop, self._stopping = os.pipe()
        self._by_fd = {_moved_to(box.new): box for box in self._boxes}

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self._stopping)
        self._thread.join()
        for fd in (self._stop, *self._by_fd):
            os.close(fd)

    def of(self, canary: str) -> Truth | None:
        """When that canary came; None when it was not seen, or was deleted before it was read."""
        return self._seen.get(canary)

    def _watch(self) -> None:
        while True:
            ready, _, _ = select.select([self._stop, *self._by_fd], [], [])
            noticed_ns = time.time_ns()
            if self._stop in ready:
                return
            for fd in ready:
                box = self._by_fd[fd]
                for name in names(os.read(fd, 64 * 1024)):
                    canary = canary_in(box, name)
                    if canary is not None:
                        self._seen.setdefault(canary, Truth(created_ns(name), noticed_ns))


def _moved_to(directory: Path) -> int:
    """A descriptor that is readable when files were moved into `directory` (inotify(7))."""
    libc = ctypes.CDLL(None, use_errno=True)
    fd: int = libc.inotify_init1(os.O_CLOEXEC)
    if fd < 0 or libc.inotify_add_watch(fd, os.fsencode(directory), _IN_MOVED_TO) < 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()), str(directory))
    return fd
