"""Fires a shot from a program that has no event loop: signals, the loop, and a limit on it all."""

import asyncio
import contextlib
import os
import shutil
import signal
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from importlib.metadata import version
from pathlib import Path

from agent.app import loop_factory
from agent.assignment import Assignment
from agent.policy.models import PolicyFile
from agent.shot.shoot import TEMPORARY, Shot, Watch, shoot

_SAYING_S = 1.0
"""For how long a line may be on its way to a reader that does not read."""
_ENDING_S = 5.0
"""For how long the result at the limit may be on its way, and what is temporary be deleted."""
_LONGEST_START_S = 10.0


def fire(
    assignment: Assignment, policy: PolicyFile, watch: Watch, wait: Callable[[], float]
) -> Shot:
    """One canary for each path of the assignment; ``wait`` as of :func:`shoot`.

    SIGINT, SIGTERM and SIGHUP end the waiting: what was seen until then is the result. A second
    one ends the process.

    Raises:
        SpoolError: no temporary file can be written.
        SecretError: a signing key cannot be read.
    """

    async def run() -> None:
        with _signals(watch.interrupt):
            await shoot(
                assignment,
                policy,
                os.environ,
                watch,
                wait=wait,
                version=version("mailcanary"),
            )

    with asyncio.Runner(loop_factory=loop_factory()) as runner:
        runner.run(run())
    return watch.shot()


@contextlib.contextmanager
def _signals(interrupt: Callable[[str], None]) -> Iterator[None]:
    loop = asyncio.get_running_loop()
    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    seen: list[int] = []

    def on_signal(number: signal.Signals) -> None:
        if seen:
            os._exit(128 + number)
        seen.append(number)
        interrupt(f"interrupted by {number.name}")

    for number in numbers:
        loop.add_signal_handler(number, on_signal, number)
    try:
        yield
    finally:
        for number in numbers:
            loop.remove_signal_handler(number)


class Saying:
    """Who says the result: one at a time, and none after somebody has said it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.said = False

    def acquire(self, timeout: float = -1) -> bool:
        """Begin to say it; whether nobody else is at it."""
        return self._lock.acquire(timeout=timeout)

    def __enter__(self) -> None:
        self.acquire()

    def __exit__(self, *_: object) -> None:
        self.said = True
        self._lock.release()


@contextlib.contextmanager
def limited(
    limit_s: float | None, at_limit: Callable[[], int], stuck_code: int
) -> Iterator[Saying]:
    """After ``limit_s`` seconds ``at_limit`` says what there is to say, and the process ends.

    Nothing holds that up, neither a disk nor a server that hangs; ``at_limit`` gives the exit code
    and runs in a thread. Whoever says something before that does so within what this gives, so
    that it is said once; ``stuck_code`` is the exit code when nobody takes what is being said, or
    it cannot be said. Without a limit nothing ends.
    """
    saying = Saying()
    if limit_s is None:
        yield saying
        return
    code = stuck_code

    def end() -> None:
        nonlocal code
        if not saying.acquire(timeout=_SAYING_S):
            os._exit(stuck_code)
        if saying.said:
            # The main thread was at it, and has nothing left to do but to end.
            saying.__exit__()
            return
        # What is said here may hang, too, and so may the disk with what is to be deleted.
        last = threading.Timer(_ENDING_S, lambda: os._exit(code))
        last.daemon = True
        last.start()
        try:
            code = at_limit()
            for directory in Path(tempfile.gettempdir()).glob(f"{TEMPORARY}{os.getpid()}-*"):
                shutil.rmtree(directory, ignore_errors=True)
        finally:
            # Whatever was raised: else the main thread would wait for this one for ever.
            os._exit(code)

    timer = threading.Timer(max(0.0, limit_s), end)
    timer.daemon = True
    timer.start()
    try:
        yield saying
    finally:
        timer.cancel()


def age_s() -> float:
    """For how many seconds this process has existed: a program's start takes its time too."""
    try:
        fields = Path("/proc/self/stat").read_text().rpartition(")")[2].split()
        started_s = int(fields[19]) / os.sysconf("SC_CLK_TCK")
        age = time.clock_gettime(time.CLOCK_BOOTTIME) - started_s
        # More can only be a clock that is not the one meant.
        return age if 0 <= age <= _LONGEST_START_S else 0.0
    except (OSError, ValueError, IndexError):
        return 0.0
