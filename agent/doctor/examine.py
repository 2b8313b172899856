"""Everything at once, within bounds: many servers beside each other, each within its time."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from functools import partial

from agent.assignment import Assignment
from agent.doctor.around import Around
from agent.doctor.looks import looks
from agent.doctor.mailbox import examine_mailbox
from agent.doctor.model import Findings, Item
from agent.doctor.relay import examine_relay

CONCURRENCY = 20
"""Servers that are examined at the same time."""

STEPS = 12
"""A server that takes longer than this many steps' time is given up: more there are not."""


@dataclass(frozen=True, slots=True)
class Task:
    """One server to examine."""

    group: str
    run: Callable[[], Awaitable[list[Item]]]


def tasks(assignment: Assignment, around: Around) -> list[Task]:
    """A task for each relay and each mailbox that canaries of this agent use, and for each look."""
    used = {plan.path.relay for plan in assignment.paths}
    relays = [
        Task(f"relay {relay.name}", partial(examine_relay, relay, around))
        for relay in assignment.relays.values()
        if relay.name in used
    ]
    mailboxes = []
    for name, mailbox in assignment.mailboxes.items():
        use = ", for bounces" if name == assignment.bounces else ""
        run = partial(examine_mailbox, name, mailbox, around, use)
        mailboxes.append(Task(f"mailbox {name}{use}", run))
    looking = [
        Task(group, run) for group, run in looks(assignment.checks, around.policy, around.limit_s)
    ]
    return [*relays, *mailboxes, *looking]


async def examine(
    wanted: Sequence[Task], limit_s: float, concurrency: int = CONCURRENCY
) -> list[Item]:
    """All tasks' items, in the order of the tasks; ``limit_s`` bounds one step of a task."""
    gate = asyncio.Semaphore(concurrency)

    async def one(task: Task) -> list[Item]:
        async with gate:
            try:
                async with asyncio.timeout(limit_s * STEPS):
                    return await task.run()
            except TimeoutError:
                found = Findings(task.group)
                found.fail(
                    "all",
                    f"given up after {limit_s * STEPS:g} s",
                    "the server answers, but far too slowly: look at its load",
                )
                return found.items

    async with asyncio.TaskGroup() as group:
        running = [group.create_task(one(task)) for task in wanted]
    return [item for each in running for item in each.result()]
