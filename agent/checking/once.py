"""One round of looks, now: for a command that shows what it finds."""

import asyncio
import math
import time
from collections.abc import Mapping, Sequence
from typing import Any

from agent.app import loop_factory
from agent.checking.checks import AT_ONCE
from agent.checking.round import look
from probes.contract.check_plan import CheckPlan, check_plans
from probes.contract.config.models import Agent, CheckRule, Config, ProbeKind
from probes.contract.errors import MailcanaryError
from probes.contract.events import Check
from probes.probing import Probe


class LookError(MailcanaryError):
    """There is nothing to look at as asked."""

    exit_code = 2


def plans_of(config: Config, agent: str | None, kind: ProbeKind) -> list[CheckPlan]:
    """What ``agent`` looks at by the rules of that kind; without one, all that there is to look at.

    Raises:
        LookError: there is no such agent, it sits on no relay, or there is no destination.
    """
    mine = _on_relay(config, agent)
    found = [plan for plan in check_plans(config, mine.name) if plan.probe is kind]
    if not found:
        every = config.model_copy(update={"checks": (CheckRule(probe=kind),)})
        found = list(check_plans(every, mine.name))
    if kind is ProbeKind.EGRESS and not any(plan.destinations for plan in found):
        raise LookError(
            "--kind: found egress and no destination to look at, allowed is a configuration with "
            "destinations"
        )
    return found


def _on_relay(config: Config, name: str | None) -> Agent:
    sitting = [agent for agent in config.agents if agent.on_relay is not None]
    names = ", ".join(agent.name for agent in sitting) or "none"
    if name is None and len(sitting) == 1:
        return sitting[0]
    for agent in sitting:
        if agent.name == name:
            return agent
    found = "none" if name is None else repr(name)
    raise LookError(f"--name: found {found}, allowed is one of the agents on relays: {names}")


def once(
    plans: Sequence[CheckPlan], probes: Mapping[ProbeKind, Probe[Any]], limit_s: float | None
) -> list[Check]:
    """The checks of one round of each plan.

    ``limit_s`` bounds a round, in seconds: half of it is for finding what to look at, half for
    looking, as long as no more than can be looked at at the same time.
    """

    async def all_of_them() -> list[Check]:
        gate = asyncio.Semaphore(AT_ONCE)
        half_s = math.inf if limit_s is None else limit_s / 2
        bounded = [plan.within(half_s) for plan in plans]
        rounds = (look(probes[plan.probe], plan, gate, time.time_ns) for plan in bounded)
        return [check for checks in await asyncio.gather(*rounds) for check in checks]

    with asyncio.Runner(loop_factory=loop_factory()) as runner:
        return runner.run(all_of_them())
