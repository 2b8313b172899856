"""A consumer in a process of its own, as the collector sees it: started, told of the log, watched.

A collector's process decodes and writes down what agents report. What a consumer computes beside it
in the same interpreter is taken from that, event by event; in a process of its own it costs a line
now and then. ``docs/rollups.md`` has the rules.
"""

import asyncio
import contextlib
import os
import random
import signal
import sys
import time
from asyncio.subprocess import PIPE, Process
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec
import structlog

from collector.consumers import ConsumerStatus, Progress, lag_of, status_of
from collector.consuming.messages import (
    Damage,
    Line,
    Report,
    Start,
    ToProcess,
    as_line,
    from_process,
)
from collector.log.engine import LogError
from collector.log.follow import Stretch, outlook, reach, stretch
from collector.log.sqlite import SqliteLog
from collector.log.store import Segment

FEED_S = 0.1
"""The least time between two messages of what the log has."""
LOOK_S = 1.0
"""How often it looks whether segments changed though nothing was appended."""
LINE_BYTES = 1 << 20
_KILL_S = 2.0


@dataclass(frozen=True, slots=True)
class Patience:
    """What is borne of a process, in seconds of it being watched, every ``watch_s``.

    It reports at least once a second. One that does not for ``told_s`` is a problem, and is killed
    after ``silent_s``; so is one that reports for ``stuck_s`` that it comes no further though there
    is something to read, the longest pause between two tries of a consumer being a minute. After
    the n-th death in a row the next is started at a random time within ``retry_first_s * 2 **
    (n - 1)`` seconds, at most ``retry_most_s`` (full jitter).
    """

    watch_s: float = 1.0
    told_s: float = 10.0
    silent_s: float = 30.0
    stuck_s: float = 180.0
    retry_first_s: float = 0.5
    retry_most_s: float = 60.0


def command_of(name: str, state: Path) -> Sequence[str]:
    """What starts a consumer's process; no code comes out of the directory it is started in."""
    return (sys.executable, "-P", "-m", "collector.consuming.child", name, str(state))


class ConsumerProcess:
    """The consumer ``name`` of a log, at work in the state directory, in a process of its own.

    ``command`` is another program, which says what :mod:`collector.consuming.child` says.
    """

    def __init__(
        self,
        log: SqliteLog,
        state: Path,
        name: str,
        *,
        command: Sequence[str] | None = None,
        patience: Patience | None = None,
        rng: random.Random | None = None,
        wall_ns: Callable[[], int] = time.time_ns,
    ) -> None:
        self.name = name
        self.pid: int | None = None
        self._log = log
        self._command = command or command_of(name, state)
        self._patience = patience or Patience()
        self._rng = rng or random.Random()  # noqa: S311 - spreads retries, guards no secret
        self._wall_ns = wall_ns
        self._stop = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._mending: asyncio.Task[None] | None = None
        self._tell = structlog.get_logger("collector.consuming").bind(consumer=name)
        self._grace_s = 10.0
        self._starts = self._deaths = 0
        self._trouble: str | None = None
        self._killed: str | None = None
        self._progress = self._before = Progress()
        self._reported = Progress()
        self._told = log.view
        self._silent_s = self._stuck_s = 0.0

    def start(self) -> None:
        """Begin: the process is there a moment later, and again whenever it ends."""
        self._task = asyncio.create_task(self._run(), name=f"consumer-{self.name}")

    async def stop(self, grace_s: float = 10.0) -> None:
        """Let it finish its batch and end; one that does not within the time is killed.

        What it had not committed is not lost, it reads it again.
        """
        self._grace_s = grace_s
        self._stop.set()
        tasks = [task for task in (self._task, self._mending) if task is not None]
        await asyncio.gather(*tasks)

    def status(self) -> ConsumerStatus:
        """How it fares; reads no disk."""
        progress = self._progress
        problem = self._trouble or progress.problem
        if problem is None and self._silent_s >= self._patience.told_s:
            problem = f"its process has said nothing for {self._silent_s:g} s"
        progress = msgspec.structs.replace(
            progress, failures=progress.failures + self._deaths, problem=problem
        )
        restarts = max(0, self._starts - 1)
        return status_of(self.name, progress, reach(self._log.view), self._wall_ns(), restarts)

    async def _run(self) -> None:
        while not self._stop.is_set():
            try:
                process = await self._spawn()
            except OSError as error:
                self._fell(f"its process could not be started ({error.strerror})")
            else:
                await self._attend(process)
            if not self._stop.is_set():
                await self._pause()

    async def _spawn(self) -> Process:
        # The same code as runs here, wherever that was found.
        path = os.pathsep.join(place or os.getcwd() for place in sys.path)  # noqa: PTH109 - text
        self._starts += 1
        return await asyncio.create_subprocess_exec(
            *self._command,
            stdin=PIPE,
            stdout=PIPE,
            env={**os.environ, "PYTHONPATH": path},
            # A ^C is for the collector to answer.
            start_new_session=True,
            limit=LINE_BYTES,
        )

    async def _attend(self, process: Process) -> None:
        """Be there for the process until it has ended."""
        self.pid = process.pid
        self._reported, self._before = Progress(), self._progress
        self._silent_s = self._stuck_s = 0.0
        self._killed = None
        hearing = asyncio.create_task(self._hear(process))
        works = [
            asyncio.create_task(self._feed(process)),
            asyncio.create_task(self._watch(process)),
        ]
        ended = asyncio.create_task(process.wait())
        stopping = asyncio.create_task(self._stop.wait())
        try:
            await asyncio.wait({ended, stopping}, return_when=asyncio.FIRST_COMPLETED)
            if not ended.done():
                await self._finish(process, ended)
            elif not self._stop.is_set():
                self._fell(self._why(ended.result()))
            await asyncio.wait({hearing}, timeout=1.0)
        finally:
            self.pid = None
            tasks = (*works, stopping, hearing, ended)
            for task in tasks:
                task.cancel()
            for result in await asyncio.gather(*tasks, return_exceptions=True):
                if isinstance(result, Exception):
                    self._tell.error("a part of its supervision failed", exc_info=result)
            if process.stdin is not None:
                process.stdin.close()

    async def _finish(self, process: Process, ended: "asyncio.Task[int]") -> None:
        """Have it end, in order if it can."""
        self._trouble = None
        if process.stdin is not None:
            process.stdin.close()
        await asyncio.wait({ended}, timeout=self._grace_s)
        if not ended.done():
            self._trouble = f"its process did not end within {self._grace_s:g} s"
            self._tell.warning("killed", problem=self._trouble)
            process.kill()
            # One that hangs in the kernel does not even end of that.
            await asyncio.wait({ended}, timeout=_KILL_S)

    def _why(self, code: int) -> str:
        return self._killed or f"its process ended ({_how(code)})"

    def _fell(self, problem: str) -> None:
        self._deaths += 1
        self._trouble = problem
        self._progress = msgspec.structs.replace(self._progress, failures=0, problem=None)
        self._tell.error("is not at work", problem=problem, failures=self._deaths)

    async def _pause(self) -> None:
        most_s = self._patience.retry_first_s * 2 ** min(self._deaths - 1, 30)
        pause_s = self._rng.uniform(0.0, min(self._patience.retry_most_s, most_s))
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._stop.wait(), pause_s)

    async def _feed(self, process: Process) -> None:
        """Tell it what the log has, and whenever that is something new."""
        pipe = process.stdin
        if pipe is None:
            return
        self._told = self._log.view
        with contextlib.suppress(OSError, LogError):
            _say(pipe, Start(self._log.log_id, outlook(self._told)))
            while True:
                # It may be slow to listen; what there is then is told at once.
                await pipe.drain()
                await asyncio.sleep(FEED_S)
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(self._log.wait_past(self._told.last_entry), LOOK_S)
                view = self._log.view
                now = outlook(view, self._told)
                if now.segments is not None or now.last != self._told.last_entry:
                    self._told = view
                    _say(pipe, now)

    async def _hear(self, process: Process) -> None:
        pipe = process.stdout
        if pipe is None:
            return
        while True:
            try:
                line = await pipe.readline()
                if not line:
                    return
                message = from_process.decode(line)
            except (ValueError, msgspec.MsgspecError) as error:
                self._tell.warning("a message was not understood", error=str(error))
                continue
            self._silent_s = 0.0
            match message:
                case Report(progress=progress):
                    self._take(progress)
                case Damage(segment=damaged):
                    self._mend(damaged)
                case Line(level=level, event=event, fields=fields):
                    getattr(self._tell, level)(event, **fields)

    def _take(self, told: Progress) -> None:
        """Note how far it is; what was counted before it was started again counts on."""
        read_all = not lag_of(told, reach(self._told))
        if told != self._reported or read_all:
            self._stuck_s, self._trouble = 0.0, None
        if not told.failures and (told.taken or read_all):
            self._deaths = 0
        self._reported, before = told, self._before
        # Until it has opened its file it does not know where that stands.
        opened = told.cursor or told.taken
        self._progress = msgspec.structs.replace(
            told,
            cursor=told.cursor if opened else self._progress.cursor,
            unread_ns=told.unread_ns or self._progress.unread_ns,
            missed=before.missed + told.missed,
            taken=before.taken + told.taken,
        )

    async def _watch(self, process: Process) -> None:
        """Kill it when it hangs. Time is counted in steps: we may have been stopped ourselves."""
        patience = self._patience
        while self._killed is None:
            await asyncio.sleep(patience.watch_s)
            self._silent_s += patience.watch_s
            self._stuck_s += patience.watch_s
            if self._silent_s >= patience.silent_s:
                self._killed = f"its process was silent for {self._silent_s:g} s and was killed"
            elif self._stuck_s >= patience.stuck_s:
                self._killed = f"its process stood still for {self._stuck_s:g} s and was killed"
        process.kill()

    def _mend(self, damaged: Stretch) -> None:
        """Repair what it found damaged, unless that is done or being done."""
        found = [one for one in self._log.view.segments if stretch(one) == damaged]
        if found and (self._mending is None or self._mending.done()):
            self._mending = asyncio.create_task(self._repair(found[0]))

    async def _repair(self, segment: Segment) -> None:
        try:
            await self._log.mend(segment)
        except LogError as error:
            self._tell.warning("a damaged segment could not be repaired", error=str(error))


def _say(pipe: asyncio.StreamWriter, message: ToProcess) -> None:
    # Closed while there was something to tell: uvloop takes a write then for a program's error.
    if pipe.is_closing():
        raise BrokenPipeError
    pipe.write(as_line(message))


def _how(code: int) -> str:
    """How a process ended, by its exit code."""
    if code >= 0:
        return f"exit code {code}"
    try:
        return signal.Signals(-code).name
    except ValueError:
        return f"signal {-code}"
