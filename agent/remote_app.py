"""The wiring of an agent that works for a collector."""

import asyncio
import os
import random
from collections.abc import Callable
from typing import TYPE_CHECKING

import structlog

from agent.app import (
    Settings,
    build,
    deadline,
    loop_factory,
    metrics_served,
    open_spool_patiently,
    raise_files_limit,
    stopping,
    warn_of_few_files,
)
from agent.assigned.kept import Assigned
from agent.assignment import Assignment
from agent.caps import for_relays
from agent.policy.models import PolicyFile
from agent.policy.secrets import Secrets
from agent.remote import Collector, Remote, first_assignment
from agent.shipper.client import CollectorClient
from agent.spool.writer import SpoolWriter

if TYPE_CHECKING:
    from agent.agent import Agent

log = structlog.get_logger(__name__)


def run_for(collector: Collector, policy: PolicyFile, settings: Settings, version: str) -> None:
    """Run an agent for a collector until it is told to stop.

    Raises:
        SpoolError: the state directory cannot be used.
        SecretError: a signing key or the token cannot be read.
        MailcanaryError: the collector's URL or CA file, or the metrics address, cannot be used.
    """
    endpoint = collector.endpoint(version)
    # A missing token or key is a mistake to be told now.
    collector.token()
    vault = Secrets(policy, os.environ)
    vault.key_ring()
    spool = open_spool_patiently(settings.state)
    life = _Life(collector, policy, settings, vault, spool, version)
    with deadline() as begun:
        try:
            with asyncio.Runner(loop_factory=loop_factory()) as runner:
                runner.run(life.run(CollectorClient(endpoint), begun))
        finally:
            spool.close()


async def work_for(
    collector: Collector,
    policy: PolicyFile,
    settings: Settings,
    version: str,
    stop: asyncio.Event,
) -> None:
    """Run an agent for a collector inside another program's loop, until ``stop`` is set.

    Raises:
        MailcanaryError: as :func:`run_for` says.
    """
    endpoint = collector.endpoint(version)
    vault = Secrets(policy, os.environ)
    vault.key_ring()
    spool = await asyncio.to_thread(open_spool_patiently, settings.state)
    try:
        life = _Life(collector, policy, settings, vault, spool, version)
        await life.live(CollectorClient(endpoint), stop)
    finally:
        spool.close()


class _Life:
    """One process of an agent."""

    def __init__(
        self,
        collector: Collector,
        policy: PolicyFile,
        settings: Settings,
        vault: Secrets,
        spool: SpoolWriter,
        version: str,
    ) -> None:
        self._collector = collector
        self._policy = policy
        self._settings = settings
        self._vault = vault
        self._spool = spool
        self._version = version
        # Jitter of retries, nothing that must not be guessed.
        self._rng = random.Random()  # noqa: S311

    async def run(self, client: CollectorClient, begun: Callable[[], None]) -> None:
        """Wait for an assignment, then work until told to stop."""
        stop = asyncio.Event()
        with stopping(asyncio.get_running_loop(), stop, begun):
            await self.live(client, stop)

    async def live(self, client: CollectorClient, stop: asyncio.Event) -> None:
        """As :meth:`run`, with the stop in other hands."""
        try:
            found = await self._until(stop, client)
            if found is not None:
                await self._work(client, *found, stop)
        finally:
            await client.close()

    async def _until(
        self, stop: asyncio.Event, client: CollectorClient
    ) -> tuple[Assigned, Assignment] | None:
        """The first assignment; ``None`` when the stop comes sooner."""
        looking = asyncio.create_task(
            first_assignment(client, self._collector, self._settings.state, self._rng)
        )
        stopped = asyncio.create_task(stop.wait())
        await asyncio.wait((looking, stopped), return_when=asyncio.FIRST_COMPLETED)
        stopped.cancel()
        if not looking.done():
            looking.cancel()
            await asyncio.gather(looking, return_exceptions=True)
            return None
        return looking.result()

    async def _work(
        self,
        client: CollectorClient,
        known: Assigned,
        assignment: Assignment,
        stop: asyncio.Event,
    ) -> None:
        limits = self._settings.limits
        caps = limits.caps or for_relays(assignment.routes)
        warn_of_few_files(raise_files_limit(), assignment, caps.sending)
        agent = self._build(assignment)
        state = self._settings.state
        remote = Remote(self._collector, client, agent, self._spool, state, known, self._rng)
        remote.start()
        try:
            with metrics_served(agent, self._settings):
                await agent.run(stop)
        finally:
            await remote.stop()

    def _build(self, assignment: Assignment) -> "Agent":
        return build(
            assignment,
            self._policy,
            self._vault,
            self._spool,
            None,
            version=self._version,
            limits=self._settings.limits,
        )
