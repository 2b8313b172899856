"""A log that grows, and what a rollup of it must say in the end."""

import asyncio
import random
from collections.abc import Callable, Iterator
from pathlib import Path

from collector.consuming.process import ConsumerProcess
from collector.log.engine import Batch, Entry, Item
from collector.log.sqlite import SqliteLog
from probes.contract.events import Event, encode
from probes.contract.names import Path as Way
from tests.collector.rollup.histories import (
    PATHS,
    T0_S,
    arrival,
    config,
    expiry,
    intent,
    submission,
)
from tests.collector.rollup.recount import Recount, dump

SOURCES = ("sfo", "fra")


def story(drawn: random.Random, number: int, way: Way) -> Iterator[Event]:
    """A canary that arrives, is lost, or of which nobody has told the end yet."""
    sent = intent(number, way, at_s=number * 0.1)
    yield sent
    yield submission(sent)
    fate = drawn.random()
    if fate < 0.8:
        yield arrival(sent, drawn.uniform(0.5, 70.0), 71.0)
    elif fate < 0.9:
        yield expiry(sent)


class Grower:
    """Writes stories into a log, batch by batch."""

    def __init__(self, log: SqliteLog, seed: int = 1) -> None:
        self._log = log
        self._drawn = random.Random(seed)  # noqa: S311 - which stories a test tells
        self._canaries = 0
        self._seqs = dict.fromkeys((*SOURCES, "collector"), 0)

    async def begin(self) -> None:
        """Write down the configuration."""
        await self._append("collector", [config("r1", "aws")])

    async def grow(self, canaries: int) -> None:
        """One batch of every agent, with the whole stories of so many canaries together."""
        events: dict[str, list[Event]] = {source: [] for source in SOURCES}
        for _ in range(canaries):
            self._canaries += 1
            way = PATHS[self._canaries * 3 % len(PATHS)]
            events[way.agent] += story(self._drawn, self._canaries, way)
        for source, mine in events.items():
            if mine:
                await self._append(source, mine)

    async def _append(self, source: str, events: list[Event]) -> None:
        first = self._seqs[source] + 1
        items = [
            Item(seq, str(type(event).__struct_config__.tag), encode(event))
            for seq, event in enumerate(events, first)
        ]
        self._seqs[source] = items[-1].seq
        at_ns = (T0_S + self._canaries) * 10**9
        await self._log.append(Batch(source, "e", first, items[-1].seq, items, (), at_ns))


async def everything(log: SqliteLog) -> list[Entry]:
    found: list[Entry] = []
    while entries := await log.read(found[-1].cursor if found else 0, 5000):
        found += entries
    return found


async def until(reached: Callable[[], bool], what: str, within_s: float = 60.0) -> None:
    """Return once it is so; the processes are real, so their time is, too."""
    deadline = asyncio.get_running_loop().time() + within_s
    while not reached():
        assert asyncio.get_running_loop().time() < deadline, what
        await asyncio.sleep(0.02)


async def read_all(process: ConsumerProcess, log: SqliteLog) -> None:
    """Until it has dealt with all that there is."""
    await until(
        lambda: process.status().cursor >= log.view.last_entry, f"{process.status()} has read all"
    )


async def assert_counted(log: SqliteLog, state: Path) -> None:
    """The rollup's file says what a recount of the whole log says."""
    assert dump(state) == Recount(await everything(log)).as_told()


def ended(pid: int) -> bool:
    """Whether there is no such process any more, or only what its parent has not looked at."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except FileNotFoundError:
        return True
    return stat.rpartition(")")[2].split()[0] == "Z"
