"""One round of looks outward, as a program: so that it can be run in a network namespace.

``python -m tests.servers.egress_round AGENT`` reads a configuration from standard input and writes
the findings of the agent's egress checks, one JSON object a line, what they come to last.
"""

import asyncio
import sys

import msgspec

from probes.contract.check_plan import CheckPlan, check_plans
from probes.contract.checks import Finding
from probes.contract.config.loader import parse_config
from probes.contract.config.models import ProbeKind
from probes.contract.config.source import Source
from probes.egress import EgressProbe


async def look(plan: CheckPlan) -> list[Finding]:
    """All looks at once, and what they come to."""
    probe = EgressProbe()
    targets = await probe.targets(plan)
    found = await asyncio.gather(*(probe.probe(each, plan.timeout_s) for each in targets))
    return [*found, *probe.conclude(found)]


def main() -> None:
    config = parse_config([Source("standard input", sys.stdin.read())])
    for plan in check_plans(config, sys.argv[1]):
        if plan.probe is ProbeKind.EGRESS:
            for finding in asyncio.run(look(plan)):
                sys.stdout.write(msgspec.json.encode(finding).decode() + "\n")


if __name__ == "__main__":
    main()
