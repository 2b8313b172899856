"""Reads a queue by the probe and prints what that cost: ``python -m benchmarks.queue_process``.

Arguments: a program that prints what ``postqueue -j`` does, and its own arguments. Of CPU and
memory it prints this process' own, the program's left out.
"""

import asyncio
import resource
import sys
from pathlib import Path
from time import perf_counter

import msgspec
import uvloop

from probes.queue import QueueCommand, QueueProbe, QueueTarget


class Cost(msgspec.Struct, frozen=True):
    """Seconds by the clock and of CPU, bytes of memory at the most, and what was seen.

    ``waited_s`` is the longest that anything else on the event loop had to wait.
    """

    seconds: float
    cpu_s: float
    peak: int
    mails: int
    unreadable: int
    waited_s: float


async def _others(longest: list[float]) -> None:
    while True:
        began = perf_counter()
        await asyncio.sleep(0.001)
        longest[0] = max(longest[0], perf_counter() - began - 0.001)


async def _read(command: QueueCommand) -> Cost:
    waited = [0.0]
    others = asyncio.create_task(_others(waited))
    began, cpu = perf_counter(), _cpu_s()
    found = await QueueProbe(command).probe(QueueTarget("relay", frozenset()), 1_000.0)
    seconds, cpu = perf_counter() - began, _cpu_s() - cpu
    others.cancel()
    assert found.queue is not None, found.detail
    assert found.queue.complete, found.detail
    return Cost(
        seconds,
        cpu,
        _peak(),
        sum(depth.count for depth in found.queue.queues.values()),
        found.queue.unreadable,
        waited[0],
    )


def _cpu_s() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def _peak() -> int:
    """Bytes. What getrusage says is also of the process that started this one."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024
    raise AssertionError("no VmHWM in /proc/self/status")


def main() -> None:
    """Read it once."""
    cost = uvloop.run(_read(QueueCommand("postfix", tuple(sys.argv[1:]))))
    sys.stdout.buffer.write(msgspec.json.encode(cost))


if __name__ == "__main__":
    main()
