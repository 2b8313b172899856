"""Follows the collector's assignment: asks, waits for a change, keeps it, hands it to the agent."""

import asyncio
import random
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

import structlog

from agent.assigned.kept import Assigned, save
from agent.assignment import Assignment
from agent.backoff import Backoff
from agent.shipper.failures import Fate, ShipError
from probes.contract.errors import MailcanaryError
from probes.contract.wire import AssignmentDocument

log = structlog.get_logger(__name__)

WAIT_S = 55.0
"""How long the collector holds a question that has no news: below what proxies cut off at."""
STOPPED_S = 60.0


class Assigns(Protocol):
    """Where assignments come from."""

    async def assignment(
        self, etag: str | None, wait_s: float
    ) -> tuple[str, AssignmentDocument] | None:
        """The assignment once it differs from ``etag``; ``None`` when it does not in ``wait_s``.

        Raises:
            ShipError: there was no usable answer.
        """


class Follower:
    """Keeps an agent's assignment the collector's. ``apply`` takes each new one, in order."""

    def __init__(
        self,
        state: Path,
        url: str,
        source: Assigns,
        apply: Callable[[Assignment], None],
        rng: random.Random,
        known: Assigned | None = None,
    ) -> None:
        self._state = state
        self._url = url
        self._source = source
        self._apply = apply
        self._etag = None if known is None else known.etag
        self._backoff = Backoff(rng, first_s=1.0, most_s=60.0, jitter=1.0)
        self._told: str | None = None
        self.taken = 0

    async def run(self) -> None:
        """Follow for ever. A collector that is away, or sends nonsense, changes nothing."""
        while True:
            try:
                await self.once(WAIT_S)
            except ShipError as error:
                self._tell(str(error))
                stopped = error.failure.fate is Fate.STOP
                least_s = STOPPED_S if stopped else error.failure.retry_after_s
                await asyncio.sleep(self._backoff.next_s(at_least_s=least_s))
            except (MailcanaryError, OSError) as error:
                self._tell(str(error))
                await asyncio.sleep(self._backoff.next_s(at_least_s=STOPPED_S))
            else:
                self._backoff.reset()
                self._told = None

    async def once(self, wait_s: float) -> bool:
        """Ask once; whether there was a new assignment, which is then kept and applied.

        Raises:
            ShipError: there was no answer.
            MailcanaryError: the assignment cannot be used: the one before stays in force.
            OSError: it cannot be kept, and is not in force either.
        """
        found = await self._source.assignment(self._etag, wait_s)
        if found is None:
            return False
        assigned = Assigned(*found)
        work = await asyncio.to_thread(assigned.work)
        # Kept first: what an agent measures now, it measures after kill -9 too.
        await asyncio.to_thread(save, self._state, self._url, assigned)
        self._apply(work)
        self._etag = assigned.etag
        self.taken += 1
        log.info("assignment", revision=work.revision, paths=len(work.paths))
        return True

    def _tell(self, problem: str) -> None:
        if problem != self._told:
            log.warning("no news of the assignment: the last one stays", problem=problem)
        self._told = problem
