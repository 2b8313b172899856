"""Follows the collector's assignment: asks, waits for a change, keeps it, hands it to the agent."""

import asyncio
import random
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

import structlog

from agent.assigned.kept import Assigned, load, save
from agent.assignment import Assignment
from agent.backoff import Backoff
from agent.shipper.failures import KNOCK_S, Fate, ShipError
from probes.contract.errors import MailcanaryError
from probes.contract.wire import AssignmentDocument

log = structlog.get_logger(__name__)

WAIT_S = 55.0
"""How long the collector holds a question that has no news: below what proxies cut off at."""


class Assigns(Protocol):
    """Where assignments come from."""

    async def assignment(
        self, etag: str | None, wait_s: float
    ) -> tuple[str, AssignmentDocument] | None:
        """The assignment once it differs from ``etag``; ``None`` when it does not in ``wait_s``.

        Raises:
            ShipError: there was no usable answer.
        """


async def fetch(
    source: Assigns, state: Path, url: str, etag: str | None, wait_s: float
) -> tuple[Assigned, Assignment] | None:
    """The collector's assignment, kept on the disk, and what it gives to do; ``None``: no news.

    Raises:
        ShipError: there was no answer.
        MailcanaryError: the assignment cannot be used: the one before is still kept.
        OSError: it cannot be kept.
    """
    found = await source.assignment(etag, wait_s)
    if found is None:
        return None
    assigned = Assigned(*found)
    work = await asyncio.to_thread(assigned.work)
    # Kept first: what an agent measures now, it measures after kill -9 too.
    await asyncio.to_thread(save, state, url, assigned)
    return assigned, work


async def first(
    source: Assigns, state: Path, agent: str, url: str, rng: random.Random
) -> tuple[Assigned, Assignment]:
    """The assignment to start with: the kept one, else the collector's, waited for patiently."""
    kept = load(state, agent, url)
    if kept is not None:
        try:
            return kept, kept.work()
        except MailcanaryError as error:
            log.warning("the kept assignment cannot be used", problem=str(error))
    backoff = Backoff(rng, first_s=1.0, most_s=60.0, jitter=1.0)
    told = ""
    while True:
        try:
            found = await fetch(source, state, url, None, 0.0)
        except (MailcanaryError, OSError) as error:
            if str(error) != told:
                # Whatever it is, it is no bug of ours, and nobody needs its traceback.
                log.error("no assignment yet: trying again", problem=str(error))  # noqa: TRY400
            told, found = str(error), None
        if found is not None:
            return found
        await asyncio.sleep(backoff.next_s())


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
                least_s = KNOCK_S if stopped else error.failure.retry_after_s
                await asyncio.sleep(self._backoff.next_s(at_least_s=least_s))
            except (MailcanaryError, OSError) as error:
                self._tell(str(error))
                await asyncio.sleep(self._backoff.next_s(at_least_s=KNOCK_S))
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
        found = await fetch(self._source, self._state, self._url, self._etag, wait_s)
        if found is None:
            return False
        assigned, work = found
        self._apply(work)
        self._etag = assigned.etag
        self.taken += 1
        log.info("assignment", revision=work.revision, paths=len(work.paths))
        return True

    def _tell(self, problem: str) -> None:
        if problem != self._told:
            log.warning("no news of the assignment: the last one stays", problem=problem)
        self._told = problem
