"""What a running agent is told in the tests of new assignments."""

import itertools
from dataclasses import replace
from typing import Any

from agent.assignment import Assignment
from probes.contract.config.models import Mailbox
from probes.contract.names import Path
from probes.contract.plan import PathPlan, due_times_ns
from tests.agent.fakes import BOUNCES, INBOX, assignment
from tests.agent.stages import OTHER

A1, A2 = (PathPlan(Path("sfo", f"relay-a{i}", INBOX), 10.0, 3.0 * i, 5.0, 30.0) for i in (1, 2))
AT_OTHER = PathPlan(Path("sfo", "relay-a1", OTHER), 10.0, 7.0, 5.0, 30.0)


def box(name: str, **imap: Any) -> Mailbox:
    """A mailbox of the fake server."""
    first = assignment().mailboxes[INBOX]
    account = first.imap.model_copy(update={"user": name, **imap})
    customer, _, short = name.partition("/")
    address = f"canary@{customer}.example"
    return first.model_copy(update={"name": short, "address": address, "imap": account})


def work(*paths: PathPlan, revision: str = "r1", **changes: Any) -> Assignment:
    """An assignment with those paths, and the mailboxes that they and the bounces need."""
    names = {plan.path.mailbox for plan in paths} | {BOUNCES}
    boxes = {name: box(name) for name in sorted(names)}
    base = replace(assignment(), paths=paths, mailboxes=boxes, revision=revision)
    return replace(base, **changes)


def dues(plan: PathPlan, after_ns: int, until_ns: int) -> list[int]:
    """All due times of a path in a span."""
    times = due_times_ns(plan, after_ns)
    return list(itertools.takewhile(lambda due: due <= until_ns, times))
