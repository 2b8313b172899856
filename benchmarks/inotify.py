"""Moves into a directory, as the kernel tells them (inotify(7)); Linux only."""

import ctypes
import os
import struct
from collections.abc import Iterator
from pathlib import Path

_IN_MOVED_TO = 0x80
_EVENT = struct.Struct("iIII")
_BUFFER = 64 * 1024


class MovedTo:
    """Reports every file that is moved into ``directory``; ``fd`` is readable when there is news.

    Raises:
        OSError: when the directory cannot be watched.
    """

    def __init__(self, directory: Path) -> None:
        libc = ctypes.CDLL(None, use_errno=True)
        self.fd = libc.inotify_init1(os.O_CLOEXEC)
        if self.fd < 0:
            raise OSError(ctypes.get_errno(), "inotify_init1")
        if libc.inotify_add_watch(self.fd, os.fsencode(directory), _IN_MOVED_TO) < 0:
            number = ctypes.get_errno()
            os.close(self.fd)
            raise OSError(number, os.strerror(number), str(directory))

    def read(self) -> bytes:
        """The events that are there, unparsed, so that a caller can take the time first."""
        return os.read(self.fd, _BUFFER)

    def close(self) -> None:
        """Watch no more."""
        os.close(self.fd)


def names(events: bytes) -> Iterator[str]:
    """The names of the files in what :meth:`MovedTo.read` gave."""
    start = 0
    while start < len(events):
        _, mask, _, length = _EVENT.unpack_from(events, start)
        start += _EVENT.size
        if mask & _IN_MOVED_TO:
            yield os.fsdecode(events[start : start + length].rstrip(b"\0"))
        start += length
