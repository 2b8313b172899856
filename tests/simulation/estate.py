"""What the simulated agent has to measure."""

import random
from dataclasses import replace

from agent.assignment import Assignment
from probes.contract.config.models import Folders, Imap, Mailbox, Relay, Sender, Timeouts
from probes.contract.names import Path
from probes.contract.plan import PathPlan
from tests.simulation.scenario import BOUNCES, BOXES, MAILBOXES, RELAYS, Scenario

DEADLINE_S = 10.0
REMEMBER_S = 1800.0
_RELAYS = {name: Relay(name=name, host=f"{name}.example.net") for name in RELAYS}
_SENDER = Sender(address="canary@monitor.example", helo="sfo.monitor.example", bounces=BOUNCES)
_TIMEOUTS = Timeouts.model_construct(connect=3.0, banner=4.0, command=4.0, accept=6.0)


def _mailbox(name: str, scenario: Scenario) -> Mailbox:
    customer = name.partition("/")[0]
    return Mailbox(
        name=name.partition("/")[2],
        address=f"canary@{customer}.example",
        imap=Imap(
            host=f"imap.{customer}.example",
            user="canary",
            secret=f"{customer}/imap",
            max_commands_per_minute=scenario.commands_per_minute,
        ),
        folders=Folders(junk="Junk" if scenario.has_junk and name != BOUNCES else None),
    )


def assignment(scenario: Scenario) -> Assignment:
    """Every relay to every mailbox, each path with the same period and a phase of its own."""
    paths = [Path("sfo", relay, box) for relay in RELAYS for box in MAILBOXES]
    return Assignment(
        agent="sfo",
        sender=_SENDER,
        labels={},
        relays=_RELAYS,
        mailboxes={name: _mailbox(name, scenario) for name in BOXES},
        paths=tuple(
            PathPlan(
                path=path,
                period_s=scenario.period_s,
                phase_s=i * scenario.period_s / len(paths),
                deadline_s=DEADLINE_S,
                loss_after_s=scenario.loss_after_s,
                jitter_s=0.1 * scenario.period_s / len(paths),
            )
            for i, path in enumerate(paths)
        ),
        timeouts=_TIMEOUTS,
        remember_s=REMEMBER_S,
    )


STEADY = Path("sfo", RELAYS[0], MAILBOXES[0])
"""The path that is in every assignment, always with the same slots."""


def changed(whole: Assignment, number: int) -> Assignment:
    """Another assignment, made of the whole one by the number.

    Relays or a mailbox are left out, paths have another period, a mailbox another secret or label,
    and the bounces another home; the steady path is always in it.
    """
    rng = random.Random(number)  # noqa: S311 - a simulation must repeat
    relays = {STEADY.relay, *(name for name in RELAYS if rng.random() < 0.7)}
    homes = {STEADY.mailbox, *(name for name in MAILBOXES if rng.random() < 0.7)}
    bounces = rng.choice((BOUNCES, BOUNCES, MAILBOXES[0]))
    slower = rng.choice((1.0, 1.0, 1.7))
    boxes = {}
    for name in sorted({*homes, bounces}):
        box = whole.mailboxes[name]
        secret = rng.choice((box.imap.secret, box.imap.secret, f"{box.imap.secret}-{rng.random()}"))
        imap = box.imap.model_copy(update={"secret": secret})
        boxes[name] = box.model_copy(update={"imap": imap, "labels": {"mx": str(rng.random())}})
    paths = tuple(
        plan
        if plan.path == STEADY
        else PathPlan(
            plan.path, plan.period_s * slower, plan.phase_s, DEADLINE_S, plan.loss_after_s
        )
        for plan in whole.paths
        if plan.path.relay in relays and plan.path.mailbox in homes
    )
    return replace(
        whole,
        sender=whole.sender and whole.sender.model_copy(update={"bounces": bounces}),
        relays={name: relay for name, relay in whole.relays.items() if name in relays},
        mailboxes=boxes,
        paths=paths,
        revision=f"r{number}",
    )
