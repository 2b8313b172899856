"""A collector's parts, opened in order and closed in the reverse one."""

import contextlib
import time
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from collector.config.customer_files import CustomerFiles
from collector.config.customers import Customers
from collector.config.files import ReadFiles
from collector.config.hosts import HostPolicy
from collector.config.revisions import Revisions
from collector.config.service import ConfigService
from collector.config.turns import Turns
from collector.consuming.child import CONSUMERS
from collector.consuming.process import ConsumerProcess
from collector.control.agents import AgentRegistry
from collector.control.audit import Audit
from collector.control.store import ControlStore
from collector.control.tokens import Tokens
from collector.ingest.admission import Room
from collector.ingest.service import Ingest
from collector.log.sqlite import SqliteLog
from collector.log.store import Limits as SegmentLimits
from collector.own_events import OwnEvents
from collector.rollup.reader import RollupReader
from collector.settings import CollectorSettings


@dataclass(frozen=True, slots=True)
class Parts:
    """Everything that a running collector consists of, but for its server."""

    settings: CollectorSettings
    log: SqliteLog
    own: OwnEvents
    config: ConfigService
    customers: Customers
    agents: AgentRegistry
    tokens: Tokens
    audit: Audit
    ingest: Ingest
    consumers: Sequence[ConsumerProcess]
    rollup: RollupReader


@contextlib.asynccontextmanager
async def assembled(
    settings: CollectorSettings, read: ReadFiles, clock_ns: Callable[[], int] = time.time_ns
) -> AsyncIterator[Parts]:
    """The parts, with a configuration in force and the consumers at work.

    Raises:
        ConfigError: the configuration is bad, and there was none before.
        LogError, ControlError: the state directory cannot be used.
    """
    state = Path(settings.state)
    _make(state)
    async with contextlib.AsyncExitStack() as stack:
        log = SqliteLog.open(state / "log", _segments(settings))
        stack.push_async_callback(log.close)
        store = ControlStore.open(state)
        stack.callback(store.close)
        agents = AgentRegistry(store, settings.beat, clock_ns)
        await agents.load()
        own = await OwnEvents.of(log, clock_ns)
        config = ConfigService(
            Path(settings.config), read, own=own, revisions=Revisions(store), now_ns=clock_ns
        )
        config.on_change = lambda new: agents.assign(agent.name for agent in new.agents)
        await config.start()
        ingest = Ingest(log, config.assigned, clock_ns, room_of(settings))
        stack.callback(ingest.close)
        audit = Audit(store, clock_ns)
        consumers = [ConsumerProcess(log, state, name) for name in CONSUMERS]
        for consumer in consumers:
            consumer.start()
            stack.push_async_callback(consumer.stop)
        files = CustomerFiles(Path(settings.config))
        yield Parts(
            settings=settings,
            log=log,
            own=own,
            config=config,
            customers=Customers(
                config,
                files,
                audit,
                HostPolicy(settings.customer_hosts),
                Turns(settings.limits.customer_changes_per_hour),
            ),
            agents=agents,
            tokens=Tokens(store, clock_ns),
            audit=audit,
            ingest=ingest,
            consumers=consumers,
            rollup=RollupReader(state, log),
        )


def room_of(settings: CollectorSettings) -> Room:
    """How much ingest may take in, from the settings."""
    limits = settings.limits
    return Room.of(
        limits.ingest_mb,
        per_minute=limits.batches_per_minute,
        bytes_per_hour=limits.agent_mb_per_hour << 20,
        new_epochs=limits.new_epochs_per_day,
        epochs=limits.epochs,
    )


def _make(state: Path) -> None:
    """Make the directory, for its owner alone; where that fails, the log says why."""
    with contextlib.suppress(OSError):
        state.mkdir(mode=0o700, parents=True, exist_ok=True)


def _segments(settings: CollectorSettings) -> SegmentLimits:
    return SegmentLimits(settings.log.segment, settings.log.segment_mb << 20)
