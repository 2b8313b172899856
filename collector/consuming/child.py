"""A consumer in a process of its own: ``python -m collector.consuming.child NAME STATE``.

It is told on standard input what the log has, reads that from the disk, and says on standard output
how it fares. The end of its input is the order to end: whoever gave it that may be gone.
"""

import asyncio
import contextlib
import gc
import os
import queue
import sys
import threading
from collections.abc import Callable, Mapping, MutableMapping
from pathlib import Path
from typing import Any, NoReturn

import msgspec
import structlog

from collector.consumers import Consumer, Consumers
from collector.consuming.messages import (
    Damage,
    FromProcess,
    Level,
    Line,
    Report,
    Start,
    as_line,
    to_process,
)
from collector.log.follow import FollowedLog, Outlook

REPORT_S = 0.25
"""How often it looks whether there is something new to report."""
ROUNDS = 4
"""It reports after so many of these, new or not."""
GRACE_S = 10.0
LINE_BYTES = 4 << 20
GARBAGE = (20_000, 10, 10)
"""The garbage collector's thresholds; Python's own are 700, 10, 10."""
_UNSAID = 1000
_LEVELS: Mapping[str, Level] = {
    "debug": "debug", "info": "info", "warning": "warning", "critical": "critical",
}  # fmt: skip

told = structlog.get_logger("collector.consuming")


def _rollup(state: Path) -> Consumer:
    from collector.rollup.consumer import RollupConsumer

    return RollupConsumer(state, lambda text: told.warning("rollups", told=text))


CONSUMERS: Mapping[str, Callable[[Path], Consumer]] = {"rollup": _rollup}
"""How each consumer is made, given the collector's state directory."""


class Mouth:
    """Says messages to the collector; may be used by every thread.

    A thread of its own writes them: whoever does not listen holds up nobody.
    """

    def __init__(self, pipe: int) -> None:
        self._pipe = pipe
        self._lines: queue.Queue[bytes | None] = queue.Queue(_UNSAID)
        self._thread = threading.Thread(target=self._work, name="mouth", daemon=True)
        self._thread.start()

    def say(self, message: FromProcess) -> None:
        """Send the message, soon; where nobody listens, what was said before is enough."""
        with contextlib.suppress(queue.Full):
            self._lines.put_nowait(as_line(message))

    def log(self, _: Any, method: str, fields: MutableMapping[str, Any]) -> NoReturn:
        """Send a line of the log, as the last of structlog's processors."""
        event = str(fields.pop("event", ""))
        self.say(Line(_LEVELS.get(method, "error"), event, dict(fields)))
        raise structlog.DropEvent

    def close(self) -> None:
        """Let what was said go out, unless nobody takes it."""
        with contextlib.suppress(queue.Full):
            self._lines.put_nowait(None)
        self._thread.join(1.0)

    def _work(self) -> None:
        with contextlib.suppress(OSError):
            while (line := self._lines.get()) is not None:
                while line:
                    line = line[os.write(self._pipe, line) :]


def _mouth() -> Mouth:
    # What is printed by mistake goes where it is seen, and not among the messages.
    pipe = os.dup(sys.stdout.fileno())
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    return Mouth(pipe)


async def _ears() -> asyncio.StreamReader:
    reader = asyncio.StreamReader(limit=LINE_BYTES)
    protocol = asyncio.StreamReaderProtocol(reader)
    await asyncio.get_running_loop().connect_read_pipe(lambda: protocol, sys.stdin)
    return reader


async def _next(ears: asyncio.StreamReader) -> Start | Outlook | None:
    """The next message; ``None`` when there will be no more."""
    while True:
        try:
            line = await ears.readline()
            return to_process.decode(line) if line.endswith(b"\n") else None
        except (ValueError, msgspec.MsgspecError) as error:
            told.warning("a message was not understood", error=str(error))


async def _report(consumers: Consumers, name: str, mouth: Mouth) -> None:
    last, rounds = None, 0
    while True:
        now = consumers.progress()[name]
        rounds += 1
        if now != last or rounds >= ROUNDS:
            mouth.say(Report(now))
            last, rounds = now, 0
        await asyncio.sleep(REPORT_S)


async def work(name: str, state: Path) -> None:
    """Run the consumer until the input ends."""
    ears, mouth = await _ears(), _mouth()
    structlog.configure(processors=[structlog.processors.format_exc_info, mouth.log])
    start = await _next(ears)
    if not isinstance(start, Start):
        return
    log = FollowedLog(
        state / "log", start.log_id, start.outlook, lambda segment: mouth.say(Damage(segment))
    )
    consumers = Consumers(log, [CONSUMERS[name](state)])
    # What a consumer makes in great numbers holds no cycles: to look for these seldom is enough.
    gc.freeze()
    gc.set_threshold(*GARBAGE)
    consumers.start()
    reporting = asyncio.create_task(_report(consumers, name, mouth))
    while (message := await _next(ears)) is not None:
        if isinstance(message, Outlook):
            log.tell(message)
    await consumers.stop(GRACE_S)
    reporting.cancel()
    mouth.say(Report(consumers.progress()[name]))
    log.close()
    await asyncio.to_thread(mouth.close)


if __name__ == "__main__":
    asyncio.run(work(sys.argv[1], Path(sys.argv[2])))
