"""Runs a program and hands on what it prints, piece by piece, until its end or a bound."""

import asyncio
import os
import signal
from asyncio.subprocess import DEVNULL, PIPE
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from enum import Enum, auto
from typing import cast

from probes.queue.model import SEARCH_PATH

MAX_BYTES = 4_000_000_000
"""Of a listing that are read."""

_STDOUT, _STDERR = 1, 2
_MAX_ERRORS = 4_096
_PIECE = 4_096
_AT_A_TIME_S = 0.001
"""How long is worked before others on the event loop have their turn."""

_GRACE_S = 1.0
"""How long is waited for a program that was killed. One that runs as somebody else may live on; it
then ends at its next write, and is reaped when it does."""

_ENVIRONMENT = {"PATH": SEARCH_PATH, "LC_ALL": "C"}


class Cut(Enum):
    """Why a program was not heard to its end."""

    DEADLINE = auto()
    BYTES = auto()


@dataclass(frozen=True, slots=True)
class Ending:
    """How it ended: by itself with ``code`` (negative: by that signal), cut, or never begun.

    ``errors`` is the beginning of what it wrote to standard error, ``failure`` why it did not
    start.
    """

    code: int | None = None
    cut: Cut | None = None
    errors: str = ""
    failure: OSError | None = None


async def run(
    argv: tuple[str, ...],
    take: Callable[[bytes], None],
    deadline_s: float,
    max_bytes: int = MAX_BYTES,
) -> Ending:
    """Run ``argv`` for at most ``deadline_s`` and give what it prints to ``take`` as it comes.

    What is not taken yet waits in the pipe. The program gets no input, nothing of this process'
    environment, and a process group of its own, which is killed at the deadline, at ``max_bytes``
    and on cancelling.
    """
    start = asyncio.get_running_loop().subprocess_exec(
        _Output,
        *argv,
        stdin=DEVNULL,
        stdout=PIPE,
        stderr=PIPE,
        env=_ENVIRONMENT,
        start_new_session=True,
    )
    starting = asyncio.ensure_future(start)
    try:
        transport, output = await asyncio.shield(starting)
    except asyncio.CancelledError:
        # Cancelled itself, it would kill the program alone, and wait for what that has started.
        with suppress(OSError, ValueError):
            await _end(*await starting)
        raise
    except (OSError, ValueError) as error:
        # ValueError: a NUL in an argument.
        return Ending(failure=error if isinstance(error, OSError) else OSError(str(error)))
    cut = None
    try:
        async with asyncio.timeout(deadline_s):
            cut = await _hear(output, take, max_bytes)
    except TimeoutError:
        cut = Cut.DEADLINE
    finally:
        await _end(transport, output)
    code = None if cut else transport.get_returncode()
    return Ending(code, cut, output.errors.decode("utf-8", "replace"))


async def _hear(output: "_Output", take: Callable[[bytes], None], left: int) -> Cut | None:
    """Up to its end, or until there are no more bytes ``left`` that may be taken."""
    loop = asyncio.get_running_loop()
    began = loop.time()
    while (chunk := await output.chunks.get()) is not None:
        for at in range(0, len(chunk), _PIECE):
            piece = chunk[at : at + _PIECE]
            if left < len(piece):
                return Cut.BYTES
            left -= len(piece)
            take(piece)
            if loop.time() - began > _AT_A_TIME_S:
                await asyncio.sleep(0)
                began = loop.time()
        output.more()
    return None


async def _end(transport: asyncio.SubprocessTransport, output: "_Output") -> None:
    """Let nothing of it live on, and wait until it is reaped."""
    if not output.closed.is_set():
        # Its pid is its group's number, and stays so until all of the group have ended.
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(transport.get_pid(), signal.SIGKILL)
        for fd in (_STDOUT, _STDERR):
            if (pipe := transport.get_pipe_transport(fd)) is not None:
                pipe.close()
    # The transport reaps what it is told to close, behind the back of who waits for its end.
    with suppress(TimeoutError):
        async with asyncio.timeout(_GRACE_S):
            await output.closed.wait()
    with suppress(ProcessLookupError, PermissionError):
        transport.close()


class _Output(asyncio.SubprocessProtocol):
    """``chunks`` of standard output, and ``None`` when the program has ended and is reaped.

    After each chunk nothing is read until :meth:`more`.
    """

    def __init__(self) -> None:
        self.chunks: asyncio.Queue[bytes | None] = asyncio.Queue()
        self.closed = asyncio.Event()
        self.errors = b""
        self._pipe: asyncio.ReadTransport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        process = cast("asyncio.SubprocessTransport", transport)
        self._pipe = cast("asyncio.ReadTransport", process.get_pipe_transport(_STDOUT))

    def more(self) -> None:
        """Read on."""
        if self._pipe is not None and not self._pipe.is_closing():
            self._pipe.resume_reading()

    def pipe_data_received(self, fd: int, data: bytes) -> None:
        if fd == _STDERR:
            self.errors += data[: _MAX_ERRORS - len(self.errors)]
            return
        self.chunks.put_nowait(data)
        if self._pipe is not None:
            self._pipe.pause_reading()

    def connection_lost(self, exc: Exception | None) -> None:
        del exc
        self.closed.set()
        self.chunks.put_nowait(None)
