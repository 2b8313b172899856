"""The whole examination, from files to items."""

import asyncio
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from agent.assignment import Assignment, AssignmentError, assign
from agent.doctor.around import Around
from agent.doctor.examine import examine, tasks
from agent.doctor.here import judge_clock, state_directory
from agent.doctor.kernel_clock import kernel_clock, timesyncd_says_so
from agent.doctor.model import Diagnosis, Findings
from agent.doctor.rules import indentation
from agent.policy.load import DEFAULT_NAME, find_policy
from agent.policy.models import PolicyFile
from agent.policy.secrets import Secrets
from agent.settings_files import load_config
from probes.contract.config.models import Config
from probes.contract.errors import ConfigError, SecretError


@dataclass(frozen=True, slots=True)
class Request:
    """What is to be examined; ``limit_s`` bounds each step with a server, in seconds."""

    config: Path
    policy: Path | None = None
    agent: str | None = None
    state: Path = Path("/var/lib/mailcanary")
    limit_s: float = 10.0


def diagnose(request: Request, environment: Mapping[str, str] = os.environ) -> Diagnosis:
    """Try everything; what is wrong with the files themselves is among the items too."""
    found = Findings("here")
    state_directory(found, request.state)
    judge_clock(found, kernel_clock(), timesyncd=timesyncd_says_so())
    config = _config(found, request)
    policy = _policy(found, request)
    secrets = None
    if policy is not None:
        secrets = Secrets(policy, environment)
        if policy.keys is not None or _sends(config, request.agent):
            _keys(found, secrets)
    assignment = None if config is None else _assignment(found, config, request.agent)
    if assignment is None:
        return Diagnosis(tuple(found.items), usable=False)
    around = Around(
        policy or _no_policy(),
        secrets,
        assignment.helo,
        assignment.timeouts,
        request.limit_s,
    )
    items = asyncio.run(examine(tasks(assignment, around), request.limit_s))
    file = request.policy or request.config.parent / DEFAULT_NAME
    return Diagnosis(
        (*found.items, *items),
        usable=policy is not None,
        policy=str(file),
        indent=None if policy is None else indentation(file.read_text(encoding="utf-8")),
    )


def _config(found: Findings, request: Request) -> Config | None:
    try:
        config = load_config(request.config)
    except ConfigError as error:
        for problem in error.problems:
            what = "mend it; mailcanary check shows the same"
            if not problem.line and problem.file == str(request.config):
                what = "name another with --config, or mend what is in its way"
            found.fail("config", str(problem), what)
        return None
    relays, customers = len(config.relays), len(config.customers)
    found.ok("config", f"{request.config}: {relays} relays, {customers} customers")
    return config


def _policy(found: Findings, request: Request) -> PolicyFile | None:
    try:
        policy = find_policy(request.config, request.policy)
    except ConfigError as error:
        for problem in error.problems:
            what = "mend it; docs/secrets.md explains every word"
            if not problem.line:
                what = "name another with --policy, or mend what is in its way"
            found.fail("policy", str(problem), what)
        return None
    found.ok("policy", f"rules for {len({rule.secret for rule in policy.secrets})} secrets")
    return policy


def _sends(config: Config | None, agent: str | None) -> bool:
    """Whether the agent sends canaries, as far as anybody knows."""
    agents = () if config is None else config.agents
    mine = [one for one in agents if agent in (None, one.name)]
    return not mine or any(one.sender is not None for one in mine)


def _keys(found: Findings, secrets: Secrets) -> None:
    try:
        ring = secrets.key_ring()
    except SecretError as error:
        what = (
            "it has to be there, at least 16 bytes that this user can read and others cannot; "
            "mailcanary init makes one"
        )
        found.fail("signing keys", str(error), what)
        return
    before = "".join(f", {key.id}" for key in ring.previous)
    found.ok("signing keys", f"{ring.current.id}{before}")


def _assignment(found: Findings, config: Config, agent: str | None) -> Assignment | None:
    try:
        assignment = assign(config, agent)
    except AssignmentError as error:
        found.fail("agent", str(error), "name the agent that this host is, with --name")
        return None
    relays = len({plan.path.relay for plan in assignment.paths})
    others = len(assignment.relays) - relays
    seen = f"{assignment.agent}: {len(assignment.paths)} paths through {relays} relays"
    seen += f" ({others} more are not its own)" if others else ""
    if assignment.sender is None:
        seen = f"{assignment.agent}: sends nothing"
    if assignment.checks:
        seen += f", {len(assignment.checks)} looks from relay {assignment.checks[0].relay}"
    if assignment.paths or (assignment.sender is None and assignment.checks):
        found.ok("agent", seen)
    elif assignment.sender is None:
        what = "give it work: a rule under checks whose relays hold the one that it sits on"
        found.warn("agent", f"{assignment.agent}: nothing is looked at from here", what)
    else:
        what = "give it work: a rule under some customer's canaries that selects this agent"
        found.warn("agent", f"{assignment.agent}: no canary flies from here", what)
    if assignment.sender is not None and assignment.bounces is None:
        what = "name a mailbox in sender.bounces: a bounced canary counts as lost otherwise"
        found.warn("bounces", "no mailbox for bounces is configured", what)
    return assignment


def _no_policy() -> PolicyFile:
    """The defaults, where the file cannot be read: they deny what a policy would deny."""
    return PolicyFile(version=1)
