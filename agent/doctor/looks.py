"""One look at everything that an agent on a relay is to look at: what it reaches, the queue."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any

from agent.checking.checks import AT_ONCE
from agent.checking.registry import probes
from agent.checking.round import look
from agent.doctor.model import Findings, Item
from agent.policy.models import PolicyFile
from probes.contract.check_plan import CheckPlan
from probes.contract.config.models import ProbeKind
from probes.contract.events import Check
from probes.contract.stages import Reason
from probes.probing import Probe

_ADVICE = {
    Reason.FILTERED: "have the provider of this host open port 25 outward, and show this line",
    Reason.INTERCEPTED: "ask the provider what answers in the place of mail servers on port 25",
    Reason.NETWORK: "look at this host's own network: routes, firewall, the address it sends from",
    Reason.DESTINATION: "check the destination's hosts and port here; it may itself be down",
}
_LOCAL = {
    ProbeKind.EGRESS: "this host cannot look: check its limit of open files and its addresses",
    ProbeKind.QUEUE: "docs/check-queue.md says which right it takes; queue in the policy names the "
    "program",
}
_ELSE = {
    ProbeKind.EGRESS: "check hosts and ports of the destinations, and what this host may reach",
    ProbeKind.QUEUE: "see what the mail server's own log says of it",
}


def looks(
    plans: tuple[CheckPlan, ...], policy: PolicyFile, limit_s: float
) -> list[tuple[str, Callable[[], Awaitable[list[Item]]]]]:
    """For each plan the name of its group, and what looks once and gives its items.

    No part of a look takes longer than ``limit_s`` seconds.
    """
    known = probes(policy)
    return [
        (f"relay {plan.relay} from itself", partial(_look, known[plan.probe], plan.within(limit_s)))
        for plan in plans
    ]


async def _look(probe: Probe[Any], plan: CheckPlan) -> list[Item]:
    checks = await look(probe, plan, asyncio.Semaphore(AT_ONCE), time.time_ns)
    found = Findings(f"relay {plan.relay} from itself")
    concluded = [check for check in checks if check.pattern is not None]
    for check in concluded or checks:
        _item(found, check, plan.probe)
    return found.items


def _item(found: Findings, check: Check, kind: ProbeKind) -> None:
    name = f"{kind} from {check.source}" if check.source else kind.value
    if check.ok:
        found.ok(name, check.detail or "the queue can be read")
        return
    advice = _LOCAL[kind] if check.reason is Reason.LOCAL else _ELSE[kind]
    if check.reason is not None:
        advice = _ADVICE.get(check.reason, advice)
    found.fail(name, check.detail or str(check.reason), advice)
