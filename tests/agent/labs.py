"""A whole agent in the test's loop, against the lab's servers on real sockets."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from agent.agent import Agent
from agent.assignment import assign
from agent.embedded import as_environment, embedded, trusting_policy
from agent.limits import Limits
from lab.estate import Estate
from lab.specs import RelaySpec, Retry
from probes.contract.config.models import Config
from probes.contract.events import (
    Arrival,
    Bounce,
    CanaryEvent,
    Event,
    Expiry,
    Heartbeat,
    Intent,
    Submission,
    Unknown,
)
from probes.contract.outcome import Outcome, Story, Verdict, tell

KEY = "the signing key of the lab's tests"
LIMITS = Limits(heartbeat_s=0.3, grace_s=2.0, imap_command_s=1.0)
PATIENCE_S = 20.0

E = TypeVar("E", Intent, Submission, Arrival, Expiry, Bounce)
CANARY_EVENTS = (Intent, Submission, Arrival, Expiry, Bounce)


def quick_relay(name: str) -> RelaySpec:
    """A relay that gives up a connect soon and tries again soon."""
    return RelaySpec(
        name=name, connect_timeout=0.2, retry=Retry(first=0.1, factor=1.0, longest=0.1)
    )


@dataclass
class Seen:
    """All events of an agent, as they come."""

    events: list[Event | Unknown] = field(default_factory=list)
    _pulse: asyncio.Event = field(default_factory=asyncio.Event)

    def take(self, event: Event | Unknown) -> None:
        """Another event."""
        self.events.append(event)
        self._pulse.set()

    async def until(self, condition: Callable[[], object]) -> None:
        """Return once the condition, on the events, holds; fails the test when it never does."""
        async with asyncio.timeout(PATIENCE_S):
            while not condition():
                self._pulse.clear()
                await self._pulse.wait()

    def of(self, kind: type[E], relay: str | None = None) -> list[E]:
        """The events of a kind about canaries, of one relay's when one is named."""
        found = [event for event in self.events if isinstance(event, kind)]
        return [event for event in found if relay in (None, event.path.relay)]

    def beats(self) -> list[Heartbeat]:
        """The heartbeats."""
        return [event for event in self.events if isinstance(event, Heartbeat)]

    def stories(self, relay: str | None = None) -> dict[str, Story]:
        """What is known of every canary, by its id."""
        by_canary: dict[str, list[CanaryEvent]] = {}
        for event in self.events:
            if isinstance(event, CANARY_EVENTS) and relay in (None, event.path.relay):
                by_canary.setdefault(event.canary, []).append(event)
        return {canary: tell(events) for canary, events in by_canary.items()}

    def verdicts(self, relay: str | None = None) -> dict[str, Verdict]:
        """How every canary stands."""
        return {canary: story.verdict() for canary, story in self.stories(relay).items()}

    def outcomes(self, relay: str | None = None) -> list[Outcome]:
        """How every canary stands, in the order of their sending."""
        verdicts = self.verdicts(relay)
        return [verdicts[intent.canary].outcome for intent in self.of(Intent, relay)]

    def count(self, outcome: Outcome, relay: str | None = None) -> int:
        """How many canaries ended so."""
        return self.outcomes(relay).count(outcome)

    def settled(self, canaries: Iterable[str]) -> bool:
        """Whether none of those is pending."""
        verdicts = self.verdicts()
        return all(
            canary in verdicts and verdicts[canary].outcome is not Outcome.PENDING
            for canary in canaries
        )


@asynccontextmanager
async def flying(
    estate: Estate,
    state: Path,
    seen: Seen,
    *,
    limits: Limits = LIMITS,
    document: dict[str, Any] | None = None,
    **words: Any,
) -> AsyncIterator[Agent]:
    """An agent that measures the estate; ``words`` go into its configuration."""
    config = Config.model_validate(document or estate.config_document(**words))
    async with embedded(
        assign(config),
        trusting_policy(config),
        as_environment(estate.secrets, KEY),
        state,
        seen.take,
        version="0",
        limits=limits,
    ) as agent:
        yield agent
