"""The wiring of an agent that works for a collector."""

import asyncio
import contextlib
import os
import random
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from agent.app import (
    Settings,
    build,
    can_sign,
    deadline,
    loop_factory,
    metrics_served,
    open_spool_patiently,
    stopping,
)
from agent.assigned.follow import first
from agent.assigned.kept import Assigned
from agent.assignment import Assignment
from agent.policy.models import PolicyFile
from agent.policy.secrets import Secrets
from agent.remote import Collector, Remote
from agent.shipper.client import CollectorClient, Endpoint
from agent.spool.writer import SpoolWriter

if TYPE_CHECKING:
    from agent.agent import Agent


@dataclass(frozen=True, slots=True)
class Job:
    """All that an agent for a collector is made of; ``environment`` is where secrets may be."""

    collector: Collector
    policy: PolicyFile
    settings: Settings
    version: str
    environment: Mapping[str, str] = field(default_factory=lambda: os.environ)


def run_for(job: Job) -> None:
    """Run an agent for a collector until it is told to stop.

    Raises:
        SpoolError: the state directory cannot be used.
        SecretError: a signing key or the token cannot be read.
        MailcanaryError: the collector's URL or CA file, or the metrics address, cannot be used.
    """
    endpoint, vault = prepared(job)
    # Later a missing token is waited for, at the start it is a mistake to be told now.
    job.collector.token()
    spool = open_spool_patiently(job.settings.state)
    with deadline() as begun:
        try:
            with asyncio.Runner(loop_factory=loop_factory()) as runner:
                runner.run(_run(job, CollectorClient(endpoint), vault, spool, begun))
        finally:
            spool.close()


async def _run(
    job: Job,
    client: CollectorClient,
    vault: Secrets,
    spool: SpoolWriter,
    begun: Callable[[], None],
) -> None:
    stop = asyncio.Event()
    with stopping(asyncio.get_running_loop(), stop, begun):
        await live(job, client, vault, spool, stop)


async def work_for(job: Job, stop: asyncio.Event) -> None:
    """Do a job inside another program's loop, until ``stop`` is set.

    Raises:
        MailcanaryError: as :func:`run_for` says.
    """
    endpoint, vault = prepared(job)
    spool = await asyncio.to_thread(open_spool_patiently, job.settings.state)
    try:
        await live(job, CollectorClient(endpoint), vault, spool, stop)
    finally:
        spool.close()


def prepared(job: Job) -> tuple[Endpoint, Secrets]:
    """Where the collector is, and the secrets: a key that is missing is a mistake to be told now.

    Raises:
        MailcanaryError: what :func:`run_for` says.
    """
    vault = Secrets(job.policy, job.environment)
    if job.policy.keys is not None:
        vault.key_ring()
    return job.collector.endpoint(job.version), vault


async def live(
    job: Job, client: CollectorClient, vault: Secrets, spool: SpoolWriter, stop: asyncio.Event
) -> None:
    """Wait for an assignment, then work until ``stop`` is set."""
    try:
        found = await _until(stop, job, client)
        if found is not None:
            async with at_work(job, client, vault, spool, *found) as (agent, remote):
                with metrics_served(agent, job.settings, remote.figures):
                    await agent.run(stop)
    finally:
        await client.close()


@contextlib.asynccontextmanager
async def at_work(
    job: Job,
    client: CollectorClient,
    vault: Secrets,
    spool: SpoolWriter,
    known: Assigned,
    assignment: Assignment,
) -> "AsyncIterator[tuple[Agent, Remote]]":
    """An agent, for whoever runs it, and what it does for its collector meanwhile.

    At the end the collector has its events, as far as it takes them.
    """
    agent = build(
        assignment, job.policy, vault, spool, None, version=job.version, limits=job.settings.limits
    )
    # Jitter of retries, nothing that must not be guessed.
    rng = random.Random()  # noqa: S311
    remote = Remote(job.collector, client, agent, spool, job.settings.state, known, rng)
    remote.start()
    try:
        yield agent, remote
    finally:
        await remote.stop()


async def _until(
    stop: asyncio.Event, job: Job, client: CollectorClient
) -> tuple[Assigned, Assignment] | None:
    """The first assignment; ``None`` when the stop comes sooner."""
    collector = job.collector
    rng = random.Random()  # noqa: S311 - as above
    looking = asyncio.create_task(
        first(
            client,
            job.settings.state,
            collector.agent,
            collector.url,
            rng,
            lambda work: can_sign(work, job.policy),
        )
    )
    stopped = asyncio.create_task(stop.wait())
    await asyncio.wait((looking, stopped), return_when=asyncio.FIRST_COMPLETED)
    stopped.cancel()
    if not looking.done():
        looking.cancel()
        await asyncio.gather(looking, return_exceptions=True)
        return None
    return looking.result()
