"""The collector's wiring: settings in, a running collector on the real clock, disk and network."""

import asyncio
import contextlib
import gc
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import structlog

from collector.assembly import Parts, assembled
from collector.config.files import ReadFiles
from collector.config.service import ConfigService
from collector.control.upkeep import keep_up
from collector.ingest.metrics import IngestCollector
from collector.log.engine import Log, LogError, Retention
from collector.rollup import check_queries
from collector.rollup.file import RollupError
from collector.settings import CollectorSettings, MetricsAccess
from collector.told import Told, heeding
from collector.web import agents, assignments, audit, customers, events, series, tokens
from collector.web.app import WebServices, build_app
from collector.web.check_metrics import CheckCollector, CheckFigures, planned
from collector.web.fleet_metrics import FleetCollector
from collector.web.handling import BodyTime
from collector.web.health import Finding, Health
from collector.web.limits import FailureLimit
from collector.web.metrics import Metrics
from collector.web.part_metrics import LogFigures, PartCollector, missing_by_source
from collector.web.server import Certificate, ServerOptions, Serving, serving
from probes.contract.config.models import Config
from probes.contract.errors import MailcanaryError
from probes.contract.events import Event, Tick, Unknown, decode

if TYPE_CHECKING:
    from collections.abc import Sequence

    from aiohttp import web

    from collector.consumers import ConsumerStatus
    from collector.consuming.process import ConsumerProcess

log = structlog.get_logger(__name__)

TICK_S = 10.0
TRIM_S = 60.0
_SWITCH_S = 0.0005


class Standing:
    """How the log stood when last looked at, and how its consumers do: health must wait for no
    disk.

    ``problem`` says why the log takes nothing, ``None`` when it does: that is as it is now.
    """

    def __init__(
        self,
        consumers: "Sequence[ConsumerProcess]" = (),
        problem: Callable[[], str | None] = lambda: None,
    ) -> None:
        self._looked: LogFigures | None = None
        self._consumers = consumers
        self._problem = problem
        self.checks: CheckFigures | None = None
        """What agents see from the relays, as the rollup had it when last looked at."""

    @property
    def log(self) -> LogFigures | None:
        """What was found when it was last looked at, and whether the last write succeeded."""
        if self._looked is None:
            return None
        return replace(self._looked, up=self._problem() is None)

    def looked(self, found: LogFigures) -> None:
        """Take up what was found."""
        self._looked = found

    @property
    def consumers(self) -> "list[ConsumerStatus]":
        """How each consumer fares now."""
        return [one.status() for one in self._consumers]

    def of_log(self) -> Finding:
        """The log for the collector's health."""
        trouble, looked, damaged = self._problem(), self._looked, 0
        detail: dict[str, Any] = {}
        if looked is not None:
            bounds, damaged = looked.bounds, len(looked.health.damaged)
            detail = {
                "first": bounds.first,
                "last": bounds.last,
                "bytes": bounds.bytes,
                "segments": bounds.segments,
                "dead_letters": bounds.dead_letters,
            }
        problems = [] if trouble is None else [trouble]
        if damaged:
            problems.append(f"{damaged} damaged segments were set aside; see docs/log.md")
        if looked is not None and looked.health.journal_problem is not None:
            problems.append(looked.health.journal_problem)
        return Finding(ok=trouble is None, problems=problems, detail=detail)

    def of_consumers(self) -> Finding:
        """The consumers for the collector's health."""
        consumers = self.consumers
        problems = [f"{one.name}: {one.problem}" for one in consumers if one.problem is not None]
        problems += [
            f"{one.name}: {one.missed} entries were dropped before it had read them"
            for one in consumers
            if one.missed
        ]
        detail = {
            one.name: {
                "cursor": one.cursor,
                "lag_entries": one.lag_entries,
                "lag_s": one.lag_s,
                "restarts": one.restarts,
            }
            for one in consumers
        }
        return Finding(ok=not problems, problems=problems, detail=detail)


def of_config(parts: Parts) -> Finding:
    """The configuration for the collector's health: the lines that ``mailcanary check`` prints."""
    config = parts.config
    problems = [str(problem) for problem in config.problems]
    if config.trouble is not None:
        problems.append(config.trouble)
    detail = {"revision": config.in_force.revision, "since_ns": config.in_force.since_ns}
    return Finding(ok=not problems, problems=problems, detail=detail)


def web_services(parts: Parts, standing: Standing, version: str) -> WebServices:
    """What every route stands on."""
    settings = parts.settings
    health, metrics = Health(version), Metrics()
    health.add("config", lambda: of_config(parts))
    health.add("log", standing.of_log)
    health.add("ingest", lambda: events.finding(parts.ingest))
    health.add("consumers", standing.of_consumers)
    health.add("agents", lambda: agents.finding(parts.agents))
    metrics.registry.register(FleetCollector(parts.agents))
    metrics.registry.register(IngestCollector(parts.ingest))
    metrics.registry.register(PartCollector(parts.config, standing))
    metrics.registry.register(CheckCollector(lambda: standing.checks))
    return WebServices(
        tokens=parts.tokens,
        metrics=metrics,
        health=health,
        failures=FailureLimit(every_s=60 / settings.limits.failures_per_minute),
        proxies=settings.proxies,
        metrics_open=settings.metrics is MetricsAccess.OPEN,
        https=settings.tls is not None,
        body_time=BodyTime(settings.listen.body, bytes_per_s=settings.listen.body_rate),
    )


def services(parts: Parts) -> "dict[web.AppKey[Any], Any]":
    """What the routes' handlers ask."""
    return {
        agents.AGENTS: parts.agents,
        assignments.CONFIG: parts.config,
        audit.AUDIT: parts.audit,
        customers.CUSTOMERS: parts.customers,
        events.INGEST: parts.ingest,
        series.ROLLUP: parts.rollup,
        tokens.TOKENS: parts.tokens,
    }


def server_options(settings: CollectorSettings) -> ServerOptions:
    """Where to listen, from the settings."""
    tls = settings.tls
    return ServerOptions(
        address=settings.listen.address,
        port=settings.listen.port,
        certificate=None if tls is None else Certificate(Path(tls.cert), Path(tls.key)),
        head_s=settings.listen.head,
        connections=settings.listen.connections,
        connections_per_address=settings.listen.connections_per_address,
        proxies=settings.proxies,
    )


@contextlib.asynccontextmanager
async def running(
    settings: CollectorSettings, read: ReadFiles, version: str, options: ServerOptions | None = None
) -> AsyncIterator[tuple[Parts, Serving]]:
    """A collector that serves until the block ends.

    Raises:
        MailcanaryError: as :func:`collector.assembly.assembled` and ``serving`` say.
    """
    async with assembled(settings, read) as parts:
        standing, stop = Standing(parts.consumers, lambda: parts.log.problem), asyncio.Event()
        _tell_if_open(Path(settings.state))
        app = build_app(web_services(parts, standing, version), services(parts))
        async with serving(app, options or server_options(settings)) as server:
            works = [
                asyncio.create_task(keep_up(parts.agents, parts.tokens, stop)),
                asyncio.create_task(_supervise("config", parts.config.watch)),
                asyncio.create_task(_supervise("tick", lambda: _tick(parts, standing))),
                asyncio.create_task(_supervise("retention", lambda: _trim(parts))),
            ]
            log.info("collector started", url=server.url, revision=parts.config.in_force.revision)
            try:
                yield parts, server
            finally:
                parts.config.board.close()
                stop.set()
                for work in works[1:]:
                    work.cancel()
                await asyncio.gather(*works, return_exceptions=True)


@contextlib.asynccontextmanager
async def following(source: Log, take: Callable[[Event | Unknown], object]) -> AsyncIterator[None]:
    """Hand every event that comes into the log to ``take``, to the last one when the block ends."""
    cursor = 0

    async def catch_up() -> None:
        nonlocal cursor
        while entries := await source.read(cursor, 1000):
            cursor = entries[-1].cursor
            for entry in entries:
                take(decode(entry.body))

    async def follow() -> None:
        while True:
            await source.wait_past(cursor)
            await catch_up()

    task = asyncio.create_task(follow())
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        await catch_up()


def _tell_if_open(state: Path) -> None:
    """Tell when others have access to the state: it holds who the customers are, all that was
    measured, and what tokens are recognised by."""
    mode = state.stat().st_mode & 0o777
    if mode & 0o077:
        log.warning(
            "others have access to the state directory",
            found=f"{state}: found mode {mode:04o}, allowed is 0700 (chmod go= does it)",
        )


async def _supervise(name: str, work: Callable[[], Awaitable[None]]) -> None:
    """Run a work for ever; a fault of our own in it is logged and costs five seconds."""
    while True:
        try:
            await work()
        except MailcanaryError as error:
            log.warning("a part of the collector failed", part=name, error=str(error))
        except Exception:
            log.exception("a part of the collector failed and is started again", part=name)
        await asyncio.sleep(5.0)


async def _tick(parts: Parts, standing: Standing) -> None:
    """Write down what time it is, and look how the log stands."""
    told = False
    while True:
        try:
            await parts.own.append(Tick(at_ns=time.time_ns()))
        except LogError as error:
            if not told:
                log.error("the log takes nothing", error=str(error))  # noqa: TRY400 - no bug of ours
            told = True
        else:
            told = False
        standing.looked(
            LogFigures(
                looked_ns=time.time_ns(),
                up=parts.log.problem is None,
                bounds=await parts.log.bounds(),
                health=parts.log.health(),
                missing=missing_by_source(await parts.log.marks()),
            )
        )
        with contextlib.suppress(RollupError):
            # Not there yet, or damaged: health tells, and what was found last stays.
            standing.checks = await look_at_checks(parts, standing.checks)
        await asyncio.sleep(TICK_S)


async def look_at_checks(parts: Parts, last: CheckFigures | None) -> CheckFigures:
    """What agents see from the relays now; ``last`` is what was found before.

    Raises:
        RollupError: the rollups cannot be read now.
    """
    config = parts.config.in_force
    if last is None or last.revision != config.revision:
        plan = await asyncio.to_thread(planned, config.config)
    else:
        plan = last.plan
    looks = await parts.rollup.ask(check_queries.figures)
    queues = await parts.rollup.ask(check_queries.queue_looks)
    return CheckFigures(looks, queues, plan, config.revision)


async def _trim(parts: Parts) -> None:
    retention = Retention(parts.settings.log.age, parts.settings.log.max_mb << 20)
    while True:
        await parts.log.trim(retention, time.time_ns())
        await asyncio.sleep(TRIM_S)


def spare(config: ConfigService) -> None:
    """Let Python's garbage collector look no more at what is there now, nor at what comes into
    force.

    It stops everything to look: with 100,000 paths each change made it look at all of the
    configuration, for 130 to 190 ms; now it is 8 to 15, and the 99th percentile of answers during
    changes is 32 ms instead of 133. What is replaced goes all the same: it holds no cycles.
    """
    take_up = config.on_change

    def changed(new: Config) -> None:
        take_up(new)
        _keep_for_good()

    config.on_change = changed
    _keep_for_good()


def _keep_for_good() -> None:
    gc.collect()
    gc.freeze()


async def run(settings: CollectorSettings, read: ReadFiles, version: str) -> None:
    """Run a collector until it is told to stop.

    Raises:
        MailcanaryError: it cannot start, and why.
    """
    # The log's thread asks for the interpreter with every commit: at the usual 5 ms, a busy loop
    # would make each commit wait longer than its fsync takes.
    sys.setswitchinterval(_SWITCH_S)

    async def work(told: Told) -> None:
        async with running(settings, read, version) as (parts, server):
            spare(parts.config)

            async def reload() -> None:
                log.info("SIGHUP: reading the configuration and the certificate again")
                await parts.config.reload()
                try:
                    if server.tls is not None:
                        server.tls.reload()
                except MailcanaryError as error:
                    # A bare error: the trace of a file that is not there says nothing.
                    log.error("the certificate in use stays", error=str(error))  # noqa: TRY400

            told.serves(reload)
            await told.stop.wait()

    await heeding(work)
