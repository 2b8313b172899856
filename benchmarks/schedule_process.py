"""An agent with many paths and no network, or a bare loop over the same due times.

``python -m benchmarks.schedule_process agent|bare PATHS PERIOD_S SECONDS STATE``
"""

import asyncio
import heapq
import random
import secrets
import sys
import time
from collections.abc import Callable, Collection
from datetime import date
from pathlib import Path as File

import msgspec

from agent.agent import Agent, Ports
from agent.app import loop_factory
from agent.assignment import Assignment
from agent.caps import Caps
from agent.clock import SystemClock
from agent.events_file import EventsFile
from agent.limits import Limits
from agent.ports import FolderSession
from agent.spool.writer import SpoolWriter
from benchmarks.job import read_lines
from benchmarks.schedule import MAILBOXES, Punctual, path_plans
from probes.contract.config.models import Imap, Mailbox, Relay, Sender, Timeouts
from probes.contract.events import Reply
from probes.contract.plan import PathPlan, next_due_ns
from probes.contract.secret import Secret
from probes.contract.stages import Reason, Result, Stage
from probes.contract.token import Key, KeyRing
from probes.imap import Batch, FolderState, Message
from probes.smtp import Mail, SendReport

_REFUSED = SendReport(
    result=Result.REJECTED,
    stage=Stage.RCPT,
    reason=Reason.REPLY_5XX,
    detail="rcpt: 550 no such user",
    reply=Reply(550, "5.1.1", "no such user"),
)
_BEAT_S = 10.0
_SETTLE_S = 1.0


class NoRelay:
    """Takes every mail at once and refuses it."""

    async def send(
        self,
        relay: Relay,  # noqa: ARG002 - the port's signature
        mail: Callable[[], Mail],
        on_data_sent: Callable[[], None],  # noqa: ARG002
    ) -> SendReport:
        """Nothing is sent, though it is written and signed."""
        mail()
        return _REFUSED


class NoMail:
    """A folder that stays empty."""

    state = FolderState(uidvalidity=1, uidnext=1, exists=0)
    has_idle = True
    dead = None

    async def fetch_from(self, uid: int) -> Batch:
        """Nothing."""
        now = time.clock_gettime_ns(time.CLOCK_BOOTTIME)
        return Batch((), uid, complete=True, asked_ns=now)

    async def notice(self) -> None:
        """Nothing has come."""

    async def idle(self, timeout_s: float, wake: asyncio.Event) -> bool:
        """Wait; no news ever comes."""
        try:
            async with asyncio.timeout(timeout_s):
                await wake.wait()
        except TimeoutError:
            pass
        return False

    async def delete(self, uids: Collection[int]) -> bool:
        """Nothing is there."""
        return not uids

    async def fetch_whole(self, uid: int, max_bytes: int) -> bytes | None:  # noqa: ARG002 - the port's signature
        """Nothing is there."""
        return None

    async def search_header(self, field: str, since: date, before: date | None = None) -> list[int]:  # noqa: ARG002 - the port's signature
        """Nothing is there."""
        return []

    async def fetch_some(self, uids: Collection[int]) -> list[Message]:  # noqa: ARG002 - the port's signature
        """Nothing is there."""
        return []

    async def quota(self) -> float | None:
        """None is told."""
        return None

    async def close(self) -> None:
        """Nothing to close."""


class NoMailboxes:
    """Opens folders that stay empty."""

    async def open(self, mailbox: str, folder: str) -> FolderSession:  # noqa: ARG002 - the port's signature
        """Always works."""
        return NoMail()


def assignment(plans: list[PathPlan]) -> Assignment:
    """The assignment that holds those paths."""
    relays = sorted({plan.path.relay for plan in plans})
    imap = Imap(host="imap.acme.example", user="canary", secret="acme/imap")  # noqa: S106 - a name
    return Assignment(
        agent="bench",
        sender=Sender(address="canary@monitor.example", helo="bench.monitor.example"),
        labels={},
        relays={name: Relay(name=name, host=f"{name}.example") for name in relays},
        mailboxes={
            f"acme/box-{n}": Mailbox(name=f"box-{n}", address=f"box-{n}@acme.example", imap=imap)
            for n in range(MAILBOXES)
        },
        paths=tuple(plans),
        timeouts=Timeouts(),
        remember_s=518400.0,
    )


async def run_agent(agent: Agent, seconds: float, began: float) -> Punctual:
    """Run for so long, after all is set up; the errors are read off the events later."""
    stop = asyncio.Event()
    running = asyncio.create_task(agent.run(stop))
    # The first heartbeat says that the loop turns: paths planned, folders open.
    while agent.health.last is None:  # noqa: ASYNC110 - it tells nobody when it beats
        await asyncio.sleep(0.01)
    setup_s = time.monotonic() - began
    # What became due during the set-up is late through no fault of the schedule's.
    await asyncio.sleep(_SETTLE_S)
    start, cpu = time.monotonic(), time.process_time()
    await asyncio.sleep(seconds)
    took, used = time.monotonic() - start, time.process_time() - cpu
    stop.set()
    await running
    return Punctual(errors=[], cpu_s=used, seconds=took, setup_s=setup_s)


def errors_of(file: File, seconds: float) -> list[float]:
    """Start minus due of each canary of the last ``seconds``, in seconds."""
    due: dict[str, int] = {}
    sent: list[tuple[int, int]] = []
    for event in read_lines(file, ("intent", "submission")):
        if event["kind"] == "intent":
            due[event["canary"]] = event["due_ns"]
        elif event.get("result") != Result.UNSENT:
            sent.append((event["sent_ns"], due[event["canary"]]))
    if not sent:
        return []
    since = max(at for at, _ in sent) - round(seconds * 1e9)
    return [(at - wanted) / 1e9 for at, wanted in sent if at >= since]


def measure_agent(plans: list[PathPlan], seconds: float, state: File) -> Punctual:
    """The agent on its real clock and disk."""
    began = time.monotonic()
    spool = SpoolWriter.open(state)
    out = EventsFile(state / "events.jsonl")
    ports = Ports(
        clock=SystemClock(),
        spool=spool,
        smtp=NoRelay(),
        imap=NoMailboxes(),
        rng=random.Random(),  # noqa: S311 - jitter of retries
        new_id=lambda: secrets.token_hex(16),
        out=out,
    )
    ring = KeyRing(Key("bench", Secret("a key of the benchmark's")))
    limits = Limits(heartbeat_s=_BEAT_S, caps=Caps(per_relay=1000, sending=1000))
    agent = Agent(assignment(plans), ring, ports, "bench", limits)
    try:
        with asyncio.Runner(loop_factory=loop_factory()) as runner:
            done = runner.run(run_agent(agent, seconds, began))
    finally:
        spool.close()
        out.close()
    return msgspec.structs.replace(done, errors=errors_of(state / "events.jsonl", seconds))


async def run_bare(plans: list[PathPlan], seconds: float) -> Punctual:
    """Wait for each due time, and go on."""
    began = time.monotonic()
    now = time.time_ns()
    heap = [(next_due_ns(plan, now), index) for index, plan in enumerate(plans)]
    heapq.heapify(heap)
    start, cpu = time.monotonic(), time.process_time()
    end = start + seconds
    errors = []
    warm_ns = time.time_ns()
    while time.monotonic() < end:
        now = time.time_ns()
        while heap[0][0] <= now:
            due, index = heap[0]
            heapq.heapreplace(heap, (next_due_ns(plans[index], due), index))
            if due >= warm_ns:
                errors.append((now - due) / 1e9)
        await asyncio.sleep(min(1.0, max(0.0, (heap[0][0] - now) / 1e9)))
    return Punctual(
        errors=errors,
        cpu_s=time.process_time() - cpu,
        seconds=time.monotonic() - start,
        setup_s=start - began,
    )


def main() -> None:
    """Run what the command line asks for."""
    from agent import logs

    # Relays that refuse everything are a trouble that the agent warns of.
    logs.configure(level="error")
    kind, count, period_s, seconds, state = sys.argv[1:]
    plans = path_plans(int(count), float(period_s))
    if kind == "agent":
        done = measure_agent(plans, float(seconds), File(state))
    else:
        with asyncio.Runner(loop_factory=loop_factory()) as runner:
            done = runner.run(run_bare(plans, float(seconds)))
    sys.stdout.buffer.write(msgspec.json.encode(done))


if __name__ == "__main__":
    main()
