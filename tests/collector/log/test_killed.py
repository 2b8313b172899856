"""SIGKILL at random moments: what was answered is in the log, once."""

import asyncio
import random
import subprocess
import sys
from pathlib import Path

import pytest

from collector.log.sqlite import SqliteLog
from collector.log.verify import verify
from tests.collector.log.batches import body, everything

ROOT = Path(__file__).parents[3]
KILLS = 20

CHILD = """
import asyncio, sys
from pathlib import Path
from collector.log.sqlite import SqliteLog
from collector.log.store import Limits
from tests.collector.log.batches import batch

async def agent(log, source, marks):
    at = marks[source, "e1"].high_water if (source, "e1") in marks else 0
    while True:
        # As an agent does after a crash: some of what was answered is sent again.
        first = max(1, at - 3)
        answer = await log.append(batch(first, at + 7, source=source))
        at = answer.high_water
        sys.stdout.write(f"{source} {at}\\n")
        sys.stdout.flush()

async def main():
    log = SqliteLog.open(Path(sys.argv[1]), Limits(segment_bytes=100_000, journal_bytes=400_000))
    marks = await log.marks()
    await asyncio.gather(*(agent(log, f"a{n}", marks) for n in range(4)))

asyncio.run(main())
"""


@pytest.mark.slow
async def test_what_was_answered_before_a_kill_is_there_once(tmp_path: Path) -> None:
    choose = random.Random(7)  # noqa: S311 - a reproducible choice of moments
    answered: dict[str, int] = {}
    for _ in range(KILLS):
        child = await asyncio.create_subprocess_exec(
            sys.executable, "-c", CHILD, str(tmp_path), cwd=ROOT, stdout=subprocess.PIPE
        )
        assert child.stdout is not None
        lines = [await child.stdout.readline() for _ in range(choose.randrange(1, 120))]
        child.kill()
        lines += (await child.stdout.read()).splitlines(keepends=True)
        await child.wait()
        for line in lines:
            # The last line may be cut short; it says nothing then.
            if line.endswith(b"\n"):
                source, told = line.decode().split()
                assert int(told) > answered.get(source, 0)
                answered[source] = int(told)
    log = SqliteLog.open(tmp_path)
    entries = await everything(log)
    marks = {key[0]: mark for key, mark in (await log.marks()).items()}
    for source, mark in answered.items():
        seqs = [entry.seq for entry in entries if entry.source == source]
        assert seqs == list(range(1, marks[source].high_water + 1))
        assert len(seqs) >= mark
        assert marks[source].missing == 0
    assert all(entry.body == body(entry.source, "e1", entry.seq) for entry in entries)
    assert (await log.bounds()).segments > 3
    await log.close()
    assert verify(tmp_path).problems == []
