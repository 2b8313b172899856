"""What the writer's tests run in a process of its own, to be killed at any moment.

``python writers.py DIRECTORY`` writes flights and events as fast as it can from many tasks, and
prints the sequence number of each event once its write was acknowledged.
"""

import asyncio
import sys
from pathlib import Path

from agent.clock import SystemClock
from agent.spool.store import Store
from agent.spool.writer import SpoolWriter
from probes.contract.events import Tick


async def write_for_ever(directory: Path) -> None:
    """Write until killed."""
    clock = SystemClock()
    spool = SpoolWriter.open(directory)

    def write(store: Store) -> int:
        at_ns = clock.now().wall_ns
        return store.append(Tick(at_ns=at_ns), at_ns)

    async def worker() -> None:
        while True:
            seq = await spool.run(write)
            sys.stdout.write(f"{spool.epoch} {seq}\n")
            sys.stdout.flush()

    await asyncio.gather(*(worker() for _ in range(8)))


if __name__ == "__main__":
    asyncio.run(write_for_ever(Path(sys.argv[1])))
