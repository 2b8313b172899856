"""One round: all targets of a plan looked at at once, and what they say together."""

import asyncio
from collections.abc import Callable
from typing import Any

import structlog

from probes.contract.check_plan import CheckPlan
from probes.contract.checks import Finding
from probes.contract.events import Check
from probes.contract.stages import Reason
from probes.probing import Probe

log = structlog.get_logger(__name__)

GRACE_S = 5.0
"""How long a look may go on after its deadline, to end what it began, before it is ended."""


async def look(
    probe: Probe[Any], plan: CheckPlan, gate: asyncio.Semaphore, wall_ns: Callable[[], int]
) -> list[Check]:
    """The checks of one round, in the order of the targets, what they say together last.

    ``gate`` bounds the looks that are under way at the same time, ``wall_ns`` is the wall clock in
    nanoseconds. A probe that breaks its promises costs its findings, which say so.
    """
    began_ns = wall_ns()

    def told(finding: Finding) -> Check:
        return check_of(finding, plan, began_ns, wall_ns())

    async def one(target: object) -> tuple[Finding, Check]:
        async with gate:
            finding = await _within(plan, lambda: probe.probe(target, plan.timeout_s))
        found = finding if isinstance(finding, Finding) else _own_fault(plan, finding)
        return found, told(found)

    targets = await _within(plan, lambda: probe.targets(plan))
    if isinstance(targets, BaseException):
        return [told(_own_fault(plan, targets))]
    known = await asyncio.gather(*map(one, targets))
    checks = [check for _, check in known]
    try:
        together = probe.conclude([finding for finding, _ in known])
    except Exception as error:
        log.exception("a probe failed inside the agent", probe=plan.probe, relay=plan.relay)
        together = [_own_fault(plan, error)]
    return checks + [told(finding) for finding in together]


async def _within(plan: CheckPlan, work: Callable[[], Any]) -> Any:
    """What ``work`` gives, or the error that ended it."""
    try:
        async with asyncio.timeout(plan.timeout_s + GRACE_S):
            return await work()
    except Exception as error:
        log.exception("a probe failed inside the agent", probe=plan.probe, relay=plan.relay)
        return error


def _own_fault(plan: CheckPlan, error: BaseException) -> Finding:
    what = (
        f"not ended {GRACE_S:g} s after its limit of {plan.timeout_s:g} s"
        if isinstance(error, TimeoutError)
        else f"{type(error).__name__}: {error}"
    )
    detail = f"the {plan.probe} probe failed inside the agent: {what}"
    return Finding(ok=False, reason=Reason.LOCAL, detail=detail[:400])


def check_of(finding: Finding, plan: CheckPlan, began_ns: int, at_ns: int) -> Check:
    """The event of a finding that was known at ``at_ns``, in a round that began at ``began_ns``."""
    return Check(
        agent=plan.agent,
        probe=plan.probe.value,
        relay=plan.relay,
        at_ns=at_ns,
        began_ns=began_ns,
        interval_s=plan.interval_s,
        ok=finding.ok,
        target=finding.target,
        source=finding.source,
        stage=finding.stage,
        reason=finding.reason,
        detail=finding.detail,
        timings=dict(finding.timings),
        egress=finding.egress,
        pattern=finding.pattern,
        queue=finding.queue,
    )
