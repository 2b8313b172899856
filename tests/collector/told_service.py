"""A service that does nothing but heed its signals, for a process of its own.

``python -m tests.collector.told_service WAY`` prints a line for each thing that happens to it.
Where it waits to be let on, it reads a line.
"""

import asyncio
import signal
import sys
from collections.abc import Awaitable, Callable

from collector.told import Told, heeding


def say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


async def reload() -> None:
    say("reloaded")


async def never_serves(told: Told) -> None:
    """Starts for ever."""
    try:
        say("starting")
        await asyncio.Event().wait()
    finally:
        await asyncio.sleep(0)
        say("closed, told to stop" if told.stop.is_set() else "closed")


async def serves(told: Told) -> None:
    """Serves at once, and stops in its own way."""
    told.serves(reload)
    say("serving")
    await told.stop.wait()
    await asyncio.sleep(0)
    say("stopped")


async def serves_when_let(told: Told) -> None:
    """Starts until it is let on."""
    say("starting")
    await asyncio.to_thread(sys.stdin.readline)
    # What it was told before that, its loop hears of and begins in the next rounds.
    for _ in range(10):
        await asyncio.sleep(0)
    await serves(told)


async def serves_on(told: Told) -> None:
    """Serves, and does not stop."""
    await serves(told)
    await asyncio.Event().wait()


WAYS: dict[str, Callable[[Told], Awaitable[None]]] = {
    way.__name__: way for way in (never_serves, serves, serves_when_let, serves_on)
}

if __name__ == "__main__":
    if sys.argv[2:] == ["kept"]:
        # As the command does before it has a loop.
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGHUP})
        say("blocked")
        sys.stdin.readline()
    asyncio.run(heeding(WAYS[sys.argv[1]]))
