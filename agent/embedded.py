"""An agent inside another program's event loop: for the demo, for tests, for a single shot."""

import asyncio
import contextlib
import random
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from pathlib import Path

from agent.agent import Agent
from agent.app import build
from agent.assigned.follow import first
from agent.assignment import Assignment
from agent.limits import Limits
from agent.policy.models import PolicyFile
from agent.policy.secrets import Secrets, variable
from agent.remote_app import Job, at_work, prepared
from agent.schedule import Slots
from agent.shipper.client import CollectorClient
from agent.spool.store import Record
from agent.spool.writer import SpoolWriter
from probes.contract.config.models import Config
from probes.contract.events import Event, Unknown, decode
from probes.contract.token import MIN_KEY_BYTES

KEY_SECRET = "embedded-signing-key"  # noqa: S105 - the name of a secret

Take = Callable[[Event | Unknown], None]


def trusting_policy(config: Config) -> PolicyFile:
    """A policy that lets the configuration's secrets go where the configuration says.

    Only for a configuration of the program's own, such as a lab on loopback: it takes away what
    the policy is for.
    """
    wanted: dict[str, set[str]] = {}
    for relay in config.relays:
        if relay.auth is not None:
            wanted.setdefault(relay.auth.secret, set()).add(f"{relay.host}:{relay.port}")
    for customer in config.customers:
        for mailbox in customer.mailboxes:
            imap = mailbox.imap
            wanted.setdefault(imap.secret, set()).add(f"{imap.host}:{imap.port}")
    return PolicyFile.model_validate(
        {
            "version": 1,
            "keys": {"current": {"id": "embedded", "secret": KEY_SECRET}},
            "sources": {"credentials": False, "environment": True},
            "secrets": [
                {"secret": name, "to": sorted(to), "unverified": True}
                for name, to in sorted(wanted.items())
            ],
            "addresses": {"deny": []},
        }
    )


class EventsTo:
    """Hands every event to a function, in the loop that it was made in."""

    def __init__(self, take: Take) -> None:
        self._take = take
        self._loop = asyncio.get_running_loop()

    def resume(self, epoch: str) -> int:  # noqa: ARG002 - a function keeps nothing to resume from
        """Nothing was handed over before this run."""
        return 0

    def write(self, epoch: str, records: Sequence[Record]) -> None:  # noqa: ARG002 - as above
        """Hand the events over; called from a thread."""
        events = [decode(record.body) for record in records]
        self._loop.call_soon_threadsafe(self._give, events)

    def _give(self, events: Sequence[Event | Unknown]) -> None:
        for event in events:
            self._take(event)

    def close(self) -> None:
        """Nothing to close."""


@contextlib.asynccontextmanager
async def _running(agent: Agent) -> AsyncIterator[None]:
    stop = asyncio.Event()
    running = asyncio.create_task(agent.run(stop))
    try:
        yield
    finally:
        stop.set()
        await running


@contextlib.asynccontextmanager
async def embedded(
    assignment: Assignment,
    policy: PolicyFile,
    environment: Mapping[str, str],
    state: Path,
    take: Take,
    *,
    version: str,
    limits: Limits,
    slots: Slots | None = None,
) -> AsyncIterator[Agent]:
    """Run an agent for as long as the context lasts; its events go to ``take``.

    Raises:
        SpoolError: the state directory cannot be used.
        SecretError: a signing key cannot be read.
    """
    spool = SpoolWriter.open(state)
    try:
        vault = Secrets(policy, environment)
        agent = build(
            assignment,
            policy,
            vault,
            spool,
            EventsTo(take),
            version=version,
            limits=limits,
            slots=slots,
        )
        async with _running(agent):
            yield agent
    finally:
        spool.close()


@contextlib.asynccontextmanager
async def employed(job: Job) -> AsyncIterator[Agent]:
    """Run an agent that works for a collector, for as long as the context lasts.

    When the context has ended, the collector has its events, as far as it took them.

    Raises:
        SpoolError: the state directory cannot be used.
        SecretError: a signing key cannot be read.
    """
    endpoint, vault = prepared(job)
    spool = SpoolWriter.open(job.settings.state)
    client = CollectorClient(endpoint)
    rng = random.Random()  # noqa: S311 - jitter of retries, nothing that must not be guessed
    try:
        state, collector = job.settings.state, job.collector
        found = await first(client, state, collector.agent, collector.url, rng)
        async with at_work(job, client, vault, spool, *found) as (agent, _), _running(agent):
            yield agent
    finally:
        await client.close()
        spool.close()


def as_environment(secrets: Mapping[str, str], key: str) -> dict[str, str]:
    """Secrets by name, and the signing key, as the environment that :func:`embedded` takes."""
    if len(key) < MIN_KEY_BYTES:
        raise ValueError(f"key: allowed are at least {MIN_KEY_BYTES} characters")
    return {variable(name): value for name, value in {**secrets, KEY_SECRET: key}.items()}
