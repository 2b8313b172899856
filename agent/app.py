"""The agent's wiring: settings in, a running agent on the real clock, disk and network out."""

import asyncio
import contextlib
import os
import random
import secrets
import signal
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import structlog
from prometheus_client.core import Metric

from agent.agent import Agent, Ports
from agent.assignment import Assignment, AssignmentError
from agent.checking.registry import probes
from agent.clock import SystemClock
from agent.events_file import EventsFile, EventsOut, EventsStdout
from agent.limits import Limits
from agent.open_files import FewFiles, raise_files_limit
from agent.policy.models import PolicyFile
from agent.policy.secrets import Secrets
from agent.prometheus import families, serve, standing_families
from agent.schedule import Slots
from agent.servers import ImapServers, SmtpServers
from agent.spool.schema import SpoolFullError
from agent.spool.writer import SpoolWriter
from agent.standing.ledger import Standing
from probes.contract.errors import MailcanaryError
from probes.contract.events import Heartbeat
from probes.contract.secret import Secret
from probes.contract.token import Key, KeyRing

log = structlog.get_logger(__name__)

_RETRY_OPEN_S = 30.0
_ANSWER_WITHIN_S = 1.0
_STOP_WITHIN_S = 9.5


@dataclass(frozen=True, slots=True)
class Settings:
    """Where an agent keeps its state, where its events go, and where Prometheus may ask.

    ``events`` is a file, or ``-`` for standard output; ``metrics`` an address and a port.
    """

    state: Path
    events: str | None = None
    metrics: tuple[str, int] | None = None
    limits: Limits = field(default_factory=Limits)


def open_out(events: str | None) -> EventsOut | None:
    """Where the events go besides the spool.

    Raises:
        SpoolError: the file cannot be appended to.
    """
    if events is None:
        return None
    return EventsStdout() if events == "-" else EventsFile(Path(events))


def open_spool_patiently(state: Path) -> SpoolWriter:
    """The spool; a disk that is full is waited for, loudly, since a restart would not mend it.

    Raises:
        SpoolError: anything that waiting does not mend.
    """
    while True:
        try:
            writer = SpoolWriter.open(state)
        except SpoolFullError as error:
            log.critical("the spool cannot be opened: trying again", error=str(error))
            time.sleep(_RETRY_OPEN_S)
        else:
            if writer.quarantined is not None:
                log.critical(
                    "the spool was damaged: it was moved aside and a new epoch begins",
                    moved_to=str(writer.quarantined),
                    epoch=writer.epoch,
                )
            return writer


def _give_up() -> None:
    # A disk or a reader that hangs holds its thread, and the thread the process. What the spool has
    # committed is safe: the next start goes on from there, as after kill -9.
    log.critical("could not stop in time: the process ends now", within_s=_STOP_WITHIN_S)
    os._exit(1)


@contextlib.contextmanager
def deadline() -> Iterator[Callable[[], None]]:
    """Gives what to call when stopping begins: a stop that takes too long ends the process."""
    timer = threading.Timer(_STOP_WITHIN_S, _give_up)
    timer.daemon = True
    try:
        yield timer.start
    finally:
        timer.cancel()


@contextlib.contextmanager
def stopping(
    loop: asyncio.AbstractEventLoop, stop: asyncio.Event, begun: Callable[[], None]
) -> Iterator[None]:
    """SIGTERM and SIGINT end the agent in order; a second one ends the process at once.

    SIGHUP, with which log rotation and terminals that close say so, changes nothing: the events
    file is followed anyway.
    """

    def on_signal(number: int) -> None:
        if stop.is_set():
            os._exit(128 + number)
        log.info("stopping", signal=signal.Signals(number).name)
        begun()
        stop.set()

    numbers = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
    for number in numbers[:2]:
        loop.add_signal_handler(number, on_signal, number)
    loop.add_signal_handler(signal.SIGHUP, log.info, "SIGHUP: nothing to do")
    # The front door has the kernel keep one that comes before.
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGHUP})
    try:
        yield
    finally:
        for number in numbers:
            loop.remove_signal_handler(number)


def build(
    assignment: Assignment,
    policy: PolicyFile,
    vault: Secrets,
    spool: SpoolWriter,
    out: EventsOut | None,
    *,
    version: str,
    limits: Limits,
    slots: Slots | None = None,
) -> Agent:
    """An agent on the real clock and network."""
    clock = SystemClock()
    smtp = SmtpServers(assignment, policy, vault, clock)
    imap = ImapServers(assignment, policy, vault, clock, command_s=limits.imap_command_s)
    files = FewFiles(raise_files_limit())

    def look(work: Assignment) -> None:
        files.look(work, limits.caps_for(work.routes).sending)

    def assign(new: Assignment) -> None:
        can_sign(new, policy)
        smtp.assign(new)
        imap.assign(new)
        look(new)

    look(assignment)

    ports = Ports(
        clock=clock,
        spool=spool,
        smtp=smtp,
        imap=imap,
        # Jitter of retries, nothing that must not be guessed.
        rng=random.Random(),  # noqa: S311
        new_id=lambda: secrets.token_hex(16),
        out=out,
        rebuilt=spool.quarantined is not None,
        assign=assign,
        probes=probes(policy),
    )
    return Agent(assignment, _ring(vault, policy, assignment), ports, version, limits, slots)


def can_sign(assignment: Assignment, policy: PolicyFile) -> None:
    """See that an agent that is to send canaries has keys to sign them with.

    Raises:
        AssignmentError: it has none.
    """
    if assignment.sender is not None and policy.keys is None:
        raise AssignmentError(
            "assignment: found a sender, allowed is none: the agent's policy has no keys to sign "
            "with; give it some and start the agent again"
        )


def _ring(vault: Secrets, policy: PolicyFile, assignment: Assignment) -> KeyRing:
    """The keys to sign with; one that nobody knows for an agent that signs nothing.

    Raises:
        SecretError: the agent sends canaries, and its keys cannot be read.
    """
    if assignment.sender is None and policy.keys is None:
        return KeyRing(Key("none", Secret(secrets.token_hex(32), "no key")))
    return vault.key_ring()


def loop_factory() -> Callable[[], asyncio.AbstractEventLoop] | None:
    """uvloop where there is one, since it takes less CPU per canary; else asyncio's own."""
    try:
        import uvloop
    except ImportError:
        return None
    return uvloop.new_event_loop


Figures = Callable[[], Iterable[Metric]]


def _asker(agent: Agent, loop: asyncio.AbstractEventLoop, more: Sequence[Figures]) -> Figures:
    """Asks the agent, from another thread, how things stand; a busy one is what it last said."""
    last = Standing()

    async def now() -> tuple[Heartbeat, Standing]:
        return agent.health.now(), agent.standing()

    def ask() -> Iterator[Metric]:
        nonlocal last
        answer = asyncio.run_coroutine_threadsafe(now(), loop)
        beat: Heartbeat | None
        try:
            beat, last = answer.result(timeout=_ANSWER_WITHIN_S)
        except TimeoutError:
            answer.cancel()
            beat = agent.health.last
        if beat is not None:
            yield from families(beat)
            yield from standing_families(last)
        for figures in more:
            yield from figures()

    return ask


@contextlib.contextmanager
def metrics_served(agent: Agent, settings: Settings, *more: Figures) -> Iterator[None]:
    """Serve the agent's metrics, and what ``more`` give, where the settings say so.

    Raises:
        MailcanaryError: the address cannot be listened on.
    """
    if settings.metrics is None:
        yield
        return
    address, port = settings.metrics
    try:
        stop = serve(address, port, _asker(agent, asyncio.get_running_loop(), more))
    except OSError as error:
        raise MailcanaryError(
            f"--metrics: found {address}:{port}: {error.strerror or error}, allowed is an address "
            "of this host and a port that is free"
        ) from error
    try:
        yield
    finally:
        stop()


async def _run(agent: Agent, settings: Settings, begun: Callable[[], None]) -> None:
    stop = asyncio.Event()
    with metrics_served(agent, settings), stopping(asyncio.get_running_loop(), stop, begun):
        await agent.run(stop)


def run(assignment: Assignment, policy: PolicyFile, settings: Settings, version: str) -> None:
    """Run an agent until it is told to stop.

    Raises:
        SpoolError: the state directory or the events file cannot be used.
        SecretError: a signing key cannot be read.
        MailcanaryError: the metrics address cannot be listened on.
    """
    vault = Secrets(policy, os.environ)
    out = open_out(settings.events)
    spool = open_spool_patiently(settings.state)
    with deadline() as begun:
        try:
            if out is not None:
                # A file that holds something else is a mistake to be told now.
                out.resume(spool.epoch)
            agent = build(
                assignment, policy, vault, spool, out, version=version, limits=settings.limits
            )
            with asyncio.Runner(loop_factory=loop_factory()) as runner:
                runner.run(_run(agent, settings, begun))
        finally:
            spool.close()
            if out is not None:
                out.close()
