"""Follows the collector's assignment: asks, waits for a change, keeps it, hands it to the agent."""

import asyncio
import random
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple, Protocol

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


class Fetched(NamedTuple):
    """A new assignment, and the seconds that planning its paths and keeping it took."""

    assigned: Assigned
    work: Assignment
    plan_s: float
    keep_s: float


async def fetch(
    source: Assigns, state: Path, url: str, known: Assigned | None, wait_s: float
) -> Fetched | None:
    """The collector's assignment, if it is not ``known``, kept on the disk; ``None``: no news.

    Raises:
        ShipError: there was no answer.
        MailcanaryError: the assignment cannot be used: the one before is still kept.
        OSError: it cannot be kept.
    """
    found = await source.assignment(None if known is None else known.etag, wait_s)
    if found is None:
        return None
    came = time.monotonic()
    assigned = Assigned(*found, *(() if known is None else (known.planner,)))
    work = await asyncio.to_thread(assigned.work)
    planned = time.monotonic()
    # Kept first: what an agent measures now, it measures after kill -9 too.
    await asyncio.to_thread(save, state, url, assigned)
    return Fetched(assigned, work, planned - came, time.monotonic() - planned)


async def first(
    source: Assigns,
    state: Path,
    agent: str,
    url: str,
    rng: random.Random,
    judge: Callable[[Assignment], None] = lambda _: None,
) -> tuple[Assigned, Assignment]:
    """The assignment to start with: the kept one, else the collector's, waited for patiently.

    ``judge`` raises a MailcanaryError for one that this agent cannot carry out: it is not taken,
    and the collector is asked again and again, since only another one helps.
    """
    kept = load(state, agent, url)
    if kept is not None:
        try:
            work = kept.work()
            judge(work)
        except MailcanaryError as error:
            log.warning("the kept assignment cannot be used", problem=str(error))
        else:
            return kept, work
    backoff = Backoff(rng, first_s=1.0, most_s=60.0, jitter=1.0)
    told = ""
    while True:
        try:
            found = await fetch(source, state, url, None, 0.0)
            if found is not None:
                judge(found.work)
        except (MailcanaryError, OSError) as error:
            if str(error) != told:
                # Whatever it is, it is no bug of ours, and nobody needs its traceback.
                log.error("no assignment yet: trying again", problem=str(error))  # noqa: TRY400
            told, found = str(error), None
        if found is not None:
            return found.assigned, found.work
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
        self._known = known
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
        found = await fetch(self._source, self._state, self._url, self._known, wait_s)
        if found is None:
            return False
        began = time.monotonic()
        self._apply(found.work)
        self._known = found.assigned
        self.taken += 1
        log.info(
            "assignment",
            revision=found.work.revision,
            paths=len(found.work.paths),
            plan_s=round(found.plan_s, 4),
            keep_s=round(found.keep_s, 4),
            apply_s=round(time.monotonic() - began, 4),
        )
        return True

    def _tell(self, problem: str) -> None:
        if problem != self._told:
            log.warning("no news of the assignment: the last one stays", problem=problem)
        self._told = problem
