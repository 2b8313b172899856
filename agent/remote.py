"""An agent that works for a collector: assignments from it, events and beats to it."""

import asyncio
import os
import random
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol
from urllib.parse import urlsplit

import msgspec
import structlog
from prometheus_client.core import Metric

from agent.assigned.follow import Follower
from agent.assigned.kept import Assigned
from agent.assignment import Assignment
from agent.health import Health
from agent.shipper.beat import Pulse
from agent.shipper.client import CollectorClient, Endpoint
from agent.shipper.figures import families
from agent.shipper.ship import Shipper
from agent.spool.writer import Spool
from agent.supervision import Supervisor
from probes import trust
from probes.contract.errors import MailcanaryError, SecretError, SpoolError
from probes.contract.events import Heartbeat
from probes.contract.secret import Secret
from probes.contract.wire import Beat

log = structlog.get_logger(__name__)

_FLUSH_S = 2.0


class CollectorOptionError(MailcanaryError):
    """The command line names no collector that could be asked."""

    exit_code = 2


def _is_url(text: str) -> bool:
    """Whether requests can go there: with a token in a header, so with nobody's name in it."""
    try:
        url = urlsplit(text)
        port = url.port
    except ValueError:
        return False
    good = url.scheme in ("http", "https") and bool(url.hostname) and port != 0
    return good and not any((url.username, url.password, url.query, url.fragment, " " in text))


@dataclass(frozen=True, slots=True)
class Collector:
    """Which collector an agent works for, as the command line says.

    ``secret`` is the token itself, where both live in one process.
    """

    url: str
    agent: str
    token_file: Path | None = None
    ca_file: Path | None = None
    secret: Secret | None = None

    def endpoint(self, version: str) -> Endpoint:
        """Where and how to ask it.

        Raises:
            CollectorOptionError: the URL is none, or the CA file cannot be read.
        """
        if not _is_url(self.url):
            raise CollectorOptionError(
                f"--collector: found {self.url!r}, allowed is a URL such as https://HOST:8420"
            )
        try:
            ca_file = None if self.ca_file is None else str(self.ca_file)
            secure = urlsplit(self.url).scheme == "https"
            tls = trust.context(ca_file, strict=True) if secure else None
        except OSError as error:
            reason = (error.strerror or str(error)).lower()
            raise CollectorOptionError(
                f"--ca-file: found {self.ca_file}: {reason}, allowed is a file of certificates"
            ) from None
        return Endpoint(self.url, self.agent, self.token, tls, f"mailcanary/{version}")

    def token(self) -> Secret:
        """The token as it is now: a new one needs no restart.

        Raises:
            SecretError: there is none.
        """
        if self.secret is not None:
            return self.secret
        if self.token_file is None:
            text = os.environ.get("MAILCANARY_TOKEN", "")
            place = "MAILCANARY_TOKEN"
        else:
            place = str(self.token_file)
            try:
                text = self.token_file.read_text(encoding="ascii")
            except (OSError, UnicodeDecodeError) as error:
                raise SecretError(f"{place}: cannot be read as a token ({error})") from None
        if not text.strip() or len(text.split()) != 1:
            raise SecretError(
                f"{place}: found no token, allowed is one word, as `token create` says"
            )
        return Secret(text.strip(), "collector token")


class Works(Protocol):
    """The agent, as far as its collector has a say in it."""

    health: Health

    def reassign(self, assignment: Assignment) -> None:
        """Take a new assignment while running."""


def beat_of(heartbeat: Heartbeat, revision: str, shipped_seq: int) -> Beat:
    """What a beat tells of how the agent does: its heartbeat, without the watermarks."""
    mailboxes = {
        name: msgspec.structs.replace(health, watermark_ns=None, watermark_boot_ns=None)
        for name, health in heartbeat.mailboxes.items()
    }
    return Beat(
        version=heartbeat.version,
        boot_id=heartbeat.boot_id,
        started_ns=heartbeat.started_ns,
        sent_at_ns=heartbeat.at_ns,
        revision=revision,
        epoch=heartbeat.spool.epoch,
        last_seq=heartbeat.spool.last_seq,
        shipped_seq=shipped_seq,
        in_flight=heartbeat.in_flight,
        spool=heartbeat.spool,
        mailboxes=mailboxes,
        labels=heartbeat.labels,
    )


class Remote:
    """What an agent does for its collector beside measuring."""

    def __init__(
        self,
        collector: Collector,
        client: CollectorClient,
        agent: Works,
        spool: Spool,
        state: Path,
        known: Assigned,
        rng: random.Random,
    ) -> None:
        self._agent = agent
        self._revision = known.document.revision
        self.shipper = Shipper(
            collector.agent,
            spool,
            client,
            wall_ns=time.time_ns,
            rng=rng,
            counters=agent.health.counters,
        )
        self._pulse = Pulse(client, self._beat, time.time_ns, self.shipper.try_again)
        self._follower = Follower(state, collector.url, client, self._take, rng, known)
        self._tasks: list[asyncio.Task[None]] = []

    def start(self) -> None:
        """Begin to ship, to beat and to follow."""
        supervisor = Supervisor(self._agent.health)
        works = {
            "shipping": self.shipper.run,
            "beat": self._pulse.run,
            "assignment": self._follower.run,
        }
        self._tasks = [
            asyncio.create_task(supervisor.keep(work, name)) for name, work in works.items()
        ]

    def figures(self) -> Iterator[Metric]:
        """How the shipping goes, for Prometheus; from any thread."""
        return families(self.shipper.status, self._agent.health.depth, time.time_ns())

    async def stop(self) -> None:
        """Ship what there is, as far as that is possible now, and end."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        try:
            async with asyncio.timeout(_FLUSH_S):
                shipped = await self.shipper.drain() is None
        except (SpoolError, TimeoutError):
            shipped = False
        if not shipped:
            log.warning("events stay in the spool for the next start")

    def _beat(self) -> Beat:
        health = self._agent.health
        shipped_seq = self.shipper.status.shipped_seq
        beat = beat_of(health.recent(), self._revision, shipped_seq)
        return msgspec.structs.replace(beat, oldest_at_ns=health.depth.oldest_ns)

    def _take(self, assignment: Assignment) -> None:
        self._agent.reassign(assignment)
        self._revision = assignment.revision
