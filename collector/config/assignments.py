"""What each agent has to measure now, and waiting until that changes.

An agent's assignment is its part of the configuration. Its ETag comes from the part alone, so that
a change of anybody else's wakes nobody; the revision beside it is the one in force when the part
was taken, and as good as any later one with the same part.
"""

import asyncio
import gzip
import hashlib
from dataclasses import dataclass, field
from typing import Any

import msgspec

from collector.config.parts import Parts
from probes.contract.config.models import Config
from probes.contract.wire import WIRE_VERSION, AssignmentDocument


@dataclass(slots=True)
class Posted:
    """An assignment as it is sent. ``etag`` is quoted, as RFC 9110 section 8.8.3 wants it."""

    etag: str
    body: bytes
    _packing: "asyncio.Task[bytes] | None" = field(default=None, repr=False, compare=False)

    async def packed(self) -> bytes:
        """The body gzipped: once, when it is first asked for, and not in the loop.

        That takes milliseconds of a large one, in which a loop would answer nobody.
        """
        if self._packing is None or _came_to_nothing(self._packing):
            work = asyncio.to_thread(gzip.compress, self.body, mtime=0)
            self._packing = asyncio.create_task(work)
        # Whoever hangs up must not take it away from the others.
        return await asyncio.shield(self._packing)


def _came_to_nothing(task: "asyncio.Task[Any]") -> bool:
    """Whether it failed, as where no thread could be started: whoever asks next tries again."""
    return task.done() and (task.cancelled() or task.exception() is not None)


def post(parts: Parts, revision: str, agent: str) -> Posted:
    """The assignment of ``agent``, encoded."""
    part = parts.text(agent)
    digest = hashlib.blake2b(part, digest_size=12).hexdigest()
    whole = AssignmentDocument(version=WIRE_VERSION, agent=agent, revision=revision, config=part)
    return Posted(f'"{digest}"', msgspec.json.encode(whole))


class Board:
    """The assignments of the revision in force. Used from one event loop."""

    def __init__(self, config: Config, revision: str) -> None:
        self._config = config
        self._revision = revision
        self._parts: Parts | None = None
        self._posted: dict[str, asyncio.Task[Posted]] = {}
        self._changed = asyncio.Event()
        # One at a time: they would only take the interpreter from each other.
        self._one = asyncio.Lock()
        self.closed = False

    def close(self) -> None:
        """Let nobody wait any longer: a collector that stops must not be held up by questions."""
        self.closed = True
        self._changed.set()

    def publish(self, config: Config, revision: str) -> None:
        """Put a revision in force and wake whoever waits."""
        self._config, self._revision = config, revision
        self._posted = {}
        changed, self._changed = self._changed, asyncio.Event()
        changed.set()

    def knows(self, agent: str) -> bool:
        """Whether the configuration names that agent."""
        return any(one.name == agent for one in self._config.agents)

    async def get(self, agent: str) -> Posted:
        """The assignment of ``agent`` as things stand; worked out once per revision."""
        task = self._posted.get(agent)
        if task is None or _came_to_nothing(task):
            work = self._work_out(self._config, self._revision, agent)
            task = self._posted[agent] = asyncio.create_task(work)
        # Whoever hangs up must not take the answer away from those who wait for the same.
        return await asyncio.shield(task)

    async def _work_out(self, config: Config, revision: str, agent: str) -> Posted:
        async with self._one:
            if self._parts is None or self._parts.config is not config:
                self._parts = await asyncio.to_thread(Parts, config, self._parts)
            return await asyncio.to_thread(post, self._parts, revision, agent)

    async def wait(self, agent: str, etag: str, seconds: float) -> Posted | None:
        """The assignment once it differs from ``etag``; ``None`` when it does not in time.

        ``None``, too, once the board is closed.
        """
        try:
            async with asyncio.timeout(seconds):
                while True:
                    changed = self._changed
                    posted = await self.get(agent)
                    if posted.etag != etag:
                        return posted
                    if self.closed:
                        return None
                    await changed.wait()
        except TimeoutError:
            return None
