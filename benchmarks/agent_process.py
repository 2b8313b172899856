"""An agent that does a job: ``python -m benchmarks.agent_process``, a :class:`Job` on its input.

It is the agent as ``mailcanary agent --events FILE`` runs it: real spool, real events file. Two
things may be put around it: slots that keep a number of canaries out instead of the plan's, and an
IMAP port that leaves arrived mails lying for a while, so that slower readers find them too.
"""

import asyncio
import random
import secrets
import sys
import time
from collections.abc import Collection, Iterable
from pathlib import Path
from typing import Any, cast

import msgspec

from agent.agent import Agent, Ports
from agent.app import loop_factory
from agent.assignment import Assignment
from agent.caps import Caps
from agent.clock import SystemClock
from agent.embedded import trusting_policy
from agent.events_file import EventsFile
from agent.limits import Limits
from agent.policy.secrets import Secrets
from agent.ports import FolderSession, Imap
from agent.schedule import Slot
from agent.servers import ImapServers, SmtpServers
from agent.spool.writer import SpoolWriter
from benchmarks.fleet import of_job
from benchmarks.job import Done, Job
from probes.contract.plan import PathPlan

_POLL_NS = 10_000_000
_MOST_OUT = 1000


class Filled:
    """Slots that keep ``in_air`` canaries out: one that came home makes room for the next."""

    def __init__(self, assignment: Assignment, in_air: int) -> None:
        self._plans = assignment.paths
        self._in_air = in_air
        self._issued = 0
        self.agent: Agent | None = None

    def next_ns(self) -> int | None:
        """To be asked again soon."""
        return time.time_ns() + _POLL_NS

    def due(self, now_ns: int) -> list[Slot]:
        """As many as there is room for, the paths in turn."""
        home = 0 if self.agent is None else self.agent.health.counters["canaries_arrived"]
        first, self._issued = self._issued, max(self._issued, home + self._in_air)
        plans = self._plans
        return [
            Slot(plans[n % len(plans)], now_ns, stale=False) for n in range(first, self._issued)
        ]

    def replaced(self, plans: Iterable[PathPlan], now_ns: int) -> "Filled":  # noqa: ARG002 - the port's
        """Nothing is reassigned here."""
        return self


class Lingering:
    """An IMAP port whose sessions delete nothing before it is ``keep_s`` seconds old."""

    def __init__(self, imap: Imap, keep_s: float) -> None:
        self._imap = imap
        self._keep_s = keep_s

    async def open(self, mailbox: str, folder: str) -> FolderSession:
        """As the port that it stands before."""
        session = await self._imap.open(mailbox, folder)
        return cast("FolderSession", LateDelete(session, self._keep_s))


class LateDelete:
    """A session that deletes late; everything else is the real one's."""

    def __init__(self, session: FolderSession, keep_s: float) -> None:
        self._session = session
        self._keep_s = keep_s
        self._waiting: list[tuple[float, int]] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self._session, name)

    async def delete(self, uids: Collection[int]) -> bool:
        """Delete what has waited long enough; ``uids`` begin to wait."""
        now = time.monotonic()
        self._waiting += ((now + self._keep_s, uid) for uid in uids)
        over = [uid for end, uid in self._waiting if end <= now]
        self._waiting = self._waiting[len(over) :]
        return await self._session.delete(over) if over else True


def build(job: Job, spool: SpoolWriter, out: EventsFile) -> Agent:
    """The agent for a job."""
    config, assignment, environment = of_job(job)
    policy = trusting_policy(config)
    vault = Secrets(policy, environment)
    clock = SystemClock()
    imap: Imap = ImapServers(assignment, policy, vault, clock)
    if job.keep_s:
        imap = Lingering(imap, job.keep_s)
    ports = Ports(
        clock=clock,
        spool=spool,
        smtp=SmtpServers(assignment, policy, vault, clock),
        imap=imap,
        rng=random.Random(),  # noqa: S311 - jitter of retries
        new_id=lambda: secrets.token_hex(16),
        out=out,
    )
    slots = Filled(assignment, job.in_air) if job.in_air else None
    limits = Limits(caps=Caps(per_relay=_MOST_OUT, sending=_MOST_OUT))
    agent = Agent(assignment, vault.key_ring(), ports, "bench", limits, slots)
    if slots is not None:
        slots.agent = agent
    return agent


def _counts(agent: Agent) -> tuple[int, int]:
    spent = sum(watch.budget.spent for watch in agent.health.watches.values())
    return agent.health.counters["canaries_arrived"], spent


async def work(agent: Agent, job: Job) -> Done:
    """Run the agent for as long as the job lasts."""
    stop = asyncio.Event()
    running = asyncio.create_task(agent.run(stop))
    await asyncio.sleep(job.warm_s)
    home, spent = _counts(agent)
    began, cpu = time.monotonic(), time.process_time()
    await asyncio.sleep(job.seconds)
    done = Done(
        canaries=_counts(agent)[0] - home,
        seconds=time.monotonic() - began,
        cpu_s=time.process_time() - cpu,
        commands=_counts(agent)[1] - spent,
    )
    stop.set()
    await running
    return done


def main() -> None:
    """Do the job on standard input."""
    from agent import logs

    logs.configure(level="warning")
    job = msgspec.json.decode(sys.stdin.buffer.read(), type=Job)
    state = Path(job.state)
    spool = SpoolWriter.open(state)
    out = EventsFile(state / "events.jsonl")
    try:
        with asyncio.Runner(loop_factory=loop_factory()) as runner:
            done = runner.run(work(build(job, spool, out), job))
    finally:
        spool.close()
        out.close()
    sys.stdout.buffer.write(msgspec.json.encode(done))


if __name__ == "__main__":
    main()
