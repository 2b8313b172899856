"""One relay in five of a thousand hangs: all others are measured as if nothing were wrong."""

import asyncio
from collections import Counter
from dataclasses import replace
from pathlib import Path

import msgspec

from agent.assignment import Assignment
from probes.contract.config.models import Relay, Timeouts
from probes.contract.events import Submission
from probes.contract.names import Path as CanaryPath
from probes.contract.stages import Reason, Result
from tests.simulation.invariants import judge
from tests.simulation.loop import VirtualLoop
from tests.simulation.record import Record
from tests.simulation.run import Simulation
from tests.simulation.scenario import BASE, MAILBOXES, LifePlan, Scenario, Spell

RELAYS = [f"relay-{number}" for number in range(1000)]
HUNG = set(RELAYS[::5])
ACTIVE_S = 16.0
SCENARIO = replace(
    BASE,
    active_s=ACTIVE_S,
    lives=(LifePlan(ACTIVE_S, "stop", 0.1),),
    spells=tuple(Spell("blackhole", relay, 0.0, ACTIVE_S) for relay in sorted(HUNG)),
    period_s=3.0,
    has_junk=False,
    default_limits=True,
)


def widened(few: Assignment) -> Assignment:
    """As the simulation's, but through all those relays, which may hang for half a minute."""
    plan = few.paths[0]
    paths = tuple(
        msgspec.structs.replace(
            plan,
            path=CanaryPath(few.agent, relay, MAILBOXES[number % 2]),
            phase_s=number * plan.period_s / len(RELAYS),
            jitter_s=0.0,
        )
        for number, relay in enumerate(RELAYS)
    )
    relays = {name: Relay(name=name, host=f"{name}.example.net") for name in RELAYS}
    timeouts = Timeouts.model_construct(connect=30.0, banner=4.0, command=4.0, accept=6.0)
    return replace(few, relays=relays, paths=paths, timeouts=timeouts)


def play(scenario: Scenario, directory: Path) -> Record:
    """Play it with the wide assignment."""
    loop = VirtualLoop()
    with asyncio.Runner(loop_factory=lambda: loop) as runner:
        simulation = Simulation(scenario, directory, loop)
        simulation.record.assignment = widened(simulation.record.assignment)
        runner.run(simulation.play())
    return simulation.record


def test_two_hundred_relays_that_hang_hold_back_nobody_else(tmp_path: Path) -> None:
    record = play(SCENARIO, tmp_path)
    ends: Counter[tuple[bool, Result, Reason | None]] = Counter()
    for written in record.events():
        event = written.event
        if isinstance(event, Submission):
            ends[event.path.relay in HUNG, event.result, event.reason] += 1
    healthy = {(result, reason) for hung, result, reason in ends if not hung}
    assert healthy == {(Result.ACCEPTED, None)}
    assert ends[False, Result.ACCEPTED, None] > 800 * 5
    assert judge(record) == []
