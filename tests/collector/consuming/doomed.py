"""``python -m tests.collector.consuming.doomed STATE``: as much of a collector as is to be killed.

It writes the number of its consumer's process once that works, and goes on writing into its log.
"""

import asyncio
import sys
from pathlib import Path

from collector.consuming.process import ConsumerProcess
from collector.log.sqlite import SqliteLog
from tests.collector.consuming.life import Grower


async def _main(state: Path) -> None:
    log = SqliteLog.open(state / "log")
    grower = Grower(log)
    await grower.begin()
    process = ConsumerProcess(log, state, "rollup")
    process.start()
    told = False
    while True:
        await grower.grow(40)
        if not told and process.status().taken:
            sys.stdout.write(f"{process.pid}\n")
            sys.stdout.flush()
            told = True


if __name__ == "__main__":
    asyncio.run(_main(Path(sys.argv[1])))
