"""Events out of the spool as JSON lines, each exactly once even across ``kill -9``.

A line is ``{"epoch": …, "seq": …, "event": {…}}``. The file is its own cursor: after a restart its
last whole line says where to go on, and a torn line at its end is cut off first.
"""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import BinaryIO, Protocol

import msgspec

from agent.spool.store import Record
from probes.contract.errors import SpoolError

_CHUNK = 1 << 18
# As long as no event of ours can be: what is longer is not read to its beginning.
_LONGEST = 1 << 26
_START = b'{"epoch":"'


class _Line(msgspec.Struct):
    epoch: str
    seq: int


def line(epoch: str, record: Record) -> bytes:
    """One event as it stands in the file."""
    return b'{"epoch":"%s","seq":%d,"event":%s}\n' % (epoch.encode(), record.seq, record.body)


def is_torn(end: bytes) -> bool:
    """Whether what stands after the last line end is the beginning of a line of ours.

    Where the power failed in the middle of a write, some file systems leave zero bytes.
    """
    begun = end.rstrip(b"\0")
    return begun.startswith(_START) or _START.startswith(begun)


class EventsOut(Protocol):
    """Where a running agent's events go besides the spool."""

    def resume(self, epoch: str) -> int:
        """The last sequence number of that epoch which is already there; 0 when none is."""

    def write(self, epoch: str, records: Sequence[Record]) -> None:
        """Write the events, and return when they are safe there.

        Raises:
            SpoolError: they are not, or not all; the caller resumes and writes again.
        """

    def close(self) -> None:
        """No more events will be written."""


def _opened(path: Path) -> BinaryIO:
    """The file, for appending and for reading its end.

    Raises:
        SpoolError: it cannot be opened, or has no end to look for, as a pipe or a terminal.
    """
    allowed = "allowed is a file that can be appended to and read, or - for standard output"
    try:
        file: BinaryIO = path.open("a+b", buffering=0)
    except OSError as error:
        raise SpoolError(f"{path}: found {error.strerror or error}, {allowed}") from error
    if not file.seekable():
        file.close()
        raise SpoolError(f"{path}: found a pipe or a terminal, {allowed}")
    return file


class EventsFile:
    """A file of JSON lines that only ever grows."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file = _opened(path)

    def resume(self, epoch: str) -> int:
        """The last sequence number of that epoch in the file, after mending its end.

        Raises:
            SpoolError: the file holds something else than events, and is left as it is; or it
                cannot be read.
        """
        try:
            return self._resume(epoch)
        except SpoolError:
            raise
        except OSError as error:
            raise SpoolError(f"{self._path}: could not read ({error.strerror})") from error

    def _resume(self, epoch: str) -> int:
        size = self._file.seek(0, os.SEEK_END)
        torn = self._since_line_end(size)
        whole = size - len(torn)
        seq = self._last_seq(epoch, self._since_line_end(whole - 1)) if whole else 0
        if not is_torn(torn):
            raise self._foreign("its end")
        if torn:
            self._file.truncate(whole)
        return seq

    def _since_line_end(self, end: int) -> bytes:
        """What stands before ``end``, back to a line end or to the file's beginning."""
        parts: list[bytes] = []
        begin = end
        while begin > 0:
            if end - begin > _LONGEST:
                raise self._foreign(f"longer than {_LONGEST >> 20} MiB")
            size = min(_CHUNK, begin)
            begin -= size
            self._file.seek(begin)
            chunk = self._file.read(size)
            line_end = chunk.rfind(b"\n")
            parts.append(chunk[line_end + 1 :])
            if line_end >= 0:
                break
        return b"".join(reversed(parts))

    def _last_seq(self, epoch: str, text: bytes) -> int:
        try:
            last = msgspec.json.decode(text, type=_Line)
        except msgspec.DecodeError as error:
            raise self._foreign(str(error)) from error
        return last.seq if last.epoch == epoch else 0

    def _foreign(self, what: str) -> SpoolError:
        return SpoolError(
            f"{self._path}: found a last line that is no event ({what}), allowed is a file that an "
            "agent wrote, or a new one"
        )

    def write(self, epoch: str, records: Sequence[Record]) -> None:
        """Append the events and wait for the disk; a file that was moved away is begun anew."""
        self._follow()
        data = b"".join(line(epoch, record) for record in records)
        try:
            written = self._file.write(data)
            os.fsync(self._file.fileno())
        except OSError as error:
            raise SpoolError(f"{self._path}: could not write ({error.strerror})") from error
        if written != len(data):
            raise SpoolError(f"{self._path}: could not write (disk full)")

    def _follow(self) -> None:
        """Open the file of that name if it is not the one that is open: log rotation moved it."""
        try:
            named = self._path.stat()
        except FileNotFoundError:
            named = None
        except OSError as error:
            raise SpoolError(f"{self._path}: could not look ({error.strerror})") from error
        mine = os.fstat(self._file.fileno())
        if named is not None and (named.st_dev, named.st_ino) == (mine.st_dev, mine.st_ino):
            return
        new = _opened(self._path)
        self._file.close()
        self._file = new

    def close(self) -> None:
        """Close the file."""
        self._file.close()


class ReaderGoneError(SpoolError):
    """Nobody reads standard output any more, and nobody ever will: a pipe is not opened again."""


class EventsStdout:
    """Standard output: for piping into something else, which keeps nothing to resume from.

    What a full disk cut off is kept, and is written before anything else. ``fd`` is for tests.
    """

    def __init__(self, fd: int = 1) -> None:
        self._fd = fd
        self._seq = 0
        self._rest = b""

    def resume(self, epoch: str) -> int:  # noqa: ARG002 - one run has one epoch
        """The last sequence number of this run that was written.

        Raises:
            SpoolError: what was cut off still cannot be written.
        """
        self._flush()
        return self._seq

    def write(self, epoch: str, records: Sequence[Record]) -> None:
        """Write the events, unbuffered: a failed flush would keep them and write them twice."""
        self._rest += b"".join(line(epoch, record) for record in records)
        self._seq = records[-1].seq
        self._flush()

    def _flush(self) -> None:
        try:
            while self._rest:
                self._rest = self._rest[os.write(self._fd, self._rest) :]
        except BrokenPipeError:
            raise ReaderGoneError(
                "--events: found standard output with nobody who reads it any more, allowed is one "
                "that is read; events stay in the spool"
            ) from None
        except OSError as error:
            raise SpoolError(f"standard output: could not write ({error.strerror})") from error

    def close(self) -> None:
        """Standard output stays open."""
