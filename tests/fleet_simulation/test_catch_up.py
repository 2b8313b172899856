"""An agent that was cut off for hours catches up over a slow line, and nobody takes it for dead."""

import asyncio
from collections import Counter
from collections.abc import Callable, Coroutine, Iterator
from dataclasses import dataclass, replace
from functools import partial
from itertools import pairwise
from pathlib import Path as FilePath
from typing import Any

import pytest

from agent.shipper.beat import Pulse
from collector.control.agents import AgentRegistry
from collector.control.standing import Standing
from collector.control.store import ControlStore
from collector.rollup.cells import OUTCOMES
from probes.contract.events import Event
from probes.contract.names import Path
from probes.contract.outcome import Outcome
from probes.contract.wire import Beat, BeatReply
from tests.collector.rollup.histories import arrival, intent, submission
from tests.collector.rollup.recount import dump
from tests.fleet_simulation.invariants import judge
from tests.fleet_simulation.run import Fleet, play
from tests.fleet_simulation.test_regressions import CALM

AGENT = "sfo"
BACKLOG_S, EVERY_S, DELAY_S = 4 * 3600, 8, 600
"""How long it was cut off, how often it sent a canary, and how long mail took."""
REQUEST_S = 14.0
BEAT_S = 10.0
SLOW = replace(CALM, active_s=0.0, batch=20, ticks=True)
"""A batch of it begins with few events, and each request takes long: a catch-up of minutes."""


def backlog(path: Path) -> list[Event]:
    """What such an agent wrote down: its canaries all came home, after ten minutes each."""
    written: list[tuple[float, Event]] = []
    for number in range(BACKLOG_S // EVERY_S):
        at_s = float(number * EVERY_S - BACKLOG_S - DELAY_S)
        sent = intent(100_000 + number, path, at_s)
        came = arrival(sent, DELAY_S - 0.1, float(DELAY_S))
        written += [(at_s, sent), (at_s + 0.5, submission(sent)), (at_s + DELAY_S, came)]
    return [event for _, event in sorted(written, key=lambda item: item[0])]


@dataclass(frozen=True, slots=True)
class Look:
    """What the collector knows at one moment of the catch-up."""

    at_s: float
    standing: Standing
    lag: int
    told: Counter[Outcome]


class Ears:
    """Hears beats as the collector does."""

    def __init__(self, agents: AgentRegistry, now_ns: Callable[[], int]) -> None:
        self._agents = agents
        self._now_ns = now_ns

    async def beat(self, beat: Beat) -> BeatReply:
        """See :class:`agent.shipper.beat.Hears`."""
        received_ns = self._now_ns()
        self._agents.beat(AGENT, beat)
        return BeatReply(received_at_ns=received_ns, answered_at_ns=received_ns, beat_s=BEAT_S)


class Watch:
    """Lets the agent beat, and looks at what the collector knows, until all is shipped."""

    def __init__(self, store: ControlStore, *, beats: bool) -> None:
        self._store = store
        self._beats = beats
        self.looks: list[Look] = []

    def beside(self, fleet: Fleet) -> Coroutine[Any, Any, None]:
        """Give the agent its backlog, and run beside the fleet."""
        (path, *_) = sorted(fleet.paths_of(AGENT))
        fleet.sources[AGENT].fill(backlog(path))
        fleet.lines[AGENT].takes_s = REQUEST_S
        return self._watch(fleet)

    async def _watch(self, fleet: Fleet) -> None:
        world = fleet.world
        agents = AgentRegistry(self._store, BEAT_S, world.now_ns)
        pulse = Pulse(
            Ears(agents, world.now_ns), partial(beat_of, fleet), world.now_ns, lambda: None
        )
        # The agent begins now, too, and writes down one canary more.
        await asyncio.sleep(2.0)
        await pulse.once()
        beating = asyncio.create_task(pulse.run()) if self._beats else None
        while not fleet.sources[AGENT].done.is_set():
            self.looks.append(look(fleet, agents))
            await asyncio.sleep(2.0)
        # The rollup reads what came in last.
        await asyncio.sleep(15.0)
        self.looks.append(look(fleet, agents))
        if beating is not None:
            beating.cancel()


def beat_of(fleet: Fleet) -> Beat:
    """What the agent says of itself now."""
    spool = fleet.sources[AGENT].spool
    assert spool is not None
    depth = spool.store.depth()
    return Beat(
        version="1",
        boot_id="boot-1",
        started_ns=0,
        sent_at_ns=fleet.world.now_ns(),
        revision="r1",
        epoch=spool.epoch,
        last_seq=depth.last_seq,
        shipped_seq=spool.store.shipped(),
        oldest_at_ns=depth.oldest_ns,
    )


def look(fleet: Fleet, agents: AgentRegistry) -> Look:
    """What an operator sees now."""
    view = agents.one(AGENT)
    assert view is not None
    assert view.report is not None
    assert view.report.lag_events is not None
    told: Counter[Outcome] = Counter()
    for (tier, _, dimension, _), cell in dump(fleet.place).items():
        if (tier, dimension) == (60, "all"):
            told.update({name: cell.get(key, 0) for name, key in OUTCOMES.items()})
    return Look(fleet.world.loop.time(), view.standing, view.report.lag_events, +told)


@pytest.fixture
def store(tmp_path: FilePath) -> Iterator[ControlStore]:
    opened = ControlStore.open(tmp_path)
    yield opened
    opened.close()


def caught_up(directory: FilePath, store: ControlStore, *, beats: bool = True) -> list[Look]:
    """The looks at a catch-up that ended well."""
    watch = Watch(store, beats=beats)
    assert judge(play(SLOW, directory, watch.beside)) == []
    return watch.looks


def test_a_long_catch_up_looks_like_lag_and_not_like_death(
    tmp_path: FilePath, store: ControlStore
) -> None:
    looks = caught_up(tmp_path, store)
    took_s = looks[-1].at_s - looks[0].at_s
    assert 60.0 < took_s < BACKLOG_S / 10
    assert {one.standing for one in looks} == {Standing.UP}
    lags = [one.lag for one in looks]
    assert lags[0] > 5000
    assert all(a >= b for a, b in pairwise(lags))
    assert len(set(lags)) >= 4
    assert lags[-1] < lags[0] / 4


def test_what_is_still_on_its_way_here_is_neither_lost_nor_unknown(
    tmp_path: FilePath, store: ControlStore
) -> None:
    """All canaries are hours old, and of many it is long not known here that they came home."""
    looks = caught_up(tmp_path, store)
    waits = [one.at_s for one in looks if one.told[Outcome.PENDING] > 0]
    # Longer than an agent may be silent before its canaries become unknown.
    assert waits[-1] - waits[0] > 3 * BEAT_S + 10.0
    assert not [one for one in looks if one.told[Outcome.UNKNOWN] or one.told[Outcome.LOST]]
    # The one that the agent sent last is in the air; of all others the end is known here.
    assert looks[-1].told == {Outcome.LATE: BACKLOG_S // EVERY_S, Outcome.PENDING: 1}


def test_without_beats_it_would_be_called_down(tmp_path: FilePath, store: ControlStore) -> None:
    looks = caught_up(tmp_path, store, beats=False)
    assert looks[-1].standing is Standing.DOWN
