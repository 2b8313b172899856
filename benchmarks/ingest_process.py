"""A collector's way in, its floor, or all of a collector: ``python -m benchmarks.ingest_process
collector|bare|whole DIR``.

The first line that it writes says where it listens and which token each agent has; each line that
it reads is answered with what it has used so far.
"""

import asyncio
import contextlib
import logging
import os
import queue
import secrets
import sys
import threading
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import msgspec
import structlog
from aiohttp import web

from agent.app import loop_factory
from agent.settings_files import file_set, sources
from benchmarks.ingest import AGENTS, MAILBOXES, RELAYS, Listening, Used, grant
from collector.app import running
from collector.config.assigned import Assigned
from collector.config.files import Files
from collector.control.principal import Kind
from collector.control.store import ControlStore
from collector.control.tokens import Tokens
from collector.ingest.admission import Room
from collector.ingest.metrics import IngestCollector
from collector.ingest.service import Ingest
from collector.log.sqlite import SqliteLog
from collector.settings import CollectorSettings, Limits
from collector.web.app import WebServices, build_app
from collector.web.events import INGEST
from collector.web.health import Health
from collector.web.metrics import Metrics
from collector.web.server import ServerOptions, serving
from probes.contract.wire import MAX_COMPRESSED_BYTES

Look = Callable[[], tuple[int, int, float]]
"""What the rollup has counted, what not yet, and seconds since the oldest of that came."""
PER_MINUTE = 1_000_000
"""At full speed an agent sends more batches than it may send on end."""


def no_rollup() -> tuple[int, int, float]:
    """There is none that could be behind."""
    return 0, 0, 0.0


async def tokens_of(tokens: Tokens) -> dict[str, str]:
    """A token for each agent."""
    return {
        agent: (await tokens.create(Kind.AGENT, agent, who="benchmark"))[1].reveal()
        for agent in AGENTS
    }


@contextlib.asynccontextmanager
async def collector(directory: Path) -> AsyncIterator[tuple[Listening, Look]]:
    """The server with its guard, real tokens, and the log on the disk; no consumers."""
    store = ControlStore.open(directory)
    tokens = Tokens(store)
    texts = await tokens_of(tokens)
    log = SqliteLog.open(directory / "log")
    ingest = Ingest(log, Assigned([grant()]), time.time_ns, Room(per_minute=PER_MINUTE))
    base = WebServices(tokens, Metrics(), Health("0"))
    base.metrics.registry.register(IngestCollector(ingest))
    try:
        async with serving(build_app(base, {INGEST: ingest}), ServerOptions(port=0)) as server:
            yield Listening(f"{server.url}/api/v1/events", texts), no_rollup
    finally:
        ingest.close()
        await log.close()
        store.close()


def document() -> dict[str, Any]:
    """A configuration in which every agent may report what :func:`benchmarks.ingest.events_of`
    does."""
    customers: dict[str, list[dict[str, Any]]] = {}
    for full in MAILBOXES:
        customer, box = full.split("/")
        imap = {"host": f"imap.{customer}.example", "user": box, "secret": f"{customer}/imap"}
        mailbox = {"name": box, "address": f"{box}@{customer}.example", "imap": imap}
        customers.setdefault(customer, []).append({**mailbox, "max_per_minute": 600})
    rule = {"relays": "all", "agents": "all", "mailboxes": "all", "interval": "1h", "per": "path"}
    return {
        "version": 1,
        "relays": [
            {"name": name, "host": f"{name}.example", "labels": {"zone": f"z{number % 3}"}}
            for number, name in enumerate(RELAYS)
        ],
        "agents": [
            {"name": name, "sender": {"address": f"c@{name}.example", "helo": f"{name}.example"}}
            for name in AGENTS
        ],
        "customers": [
            {"name": name, "mailboxes": boxes, "canaries": [rule], "quota": {"paths": 1000}}
            for name, boxes in customers.items()
        ],
    }


@contextlib.asynccontextmanager
async def whole(directory: Path) -> AsyncIterator[tuple[Listening, Look]]:
    """A collector as it runs, its rollup at work beside."""
    config = directory / "mailcanary.yaml"
    # What is JSON is YAML, too.
    config.write_bytes(msgspec.json.encode(document()))

    def read() -> Files:
        found = file_set(config)
        return Files(sources(found), found.problems, found.warnings)

    settings = CollectorSettings(
        version=1,
        config=str(config),
        state=str(directory / "state"),
        limits=Limits(batches_per_minute=PER_MINUTE),
    )
    async with running(settings, read, "0", ServerOptions(port=0)) as (parts, server):
        texts = await tokens_of(parts.tokens)

        def behind() -> tuple[int, int, float]:
            (rollup,) = (one.status() for one in parts.consumers)
            return rollup.taken, rollup.lag_entries, rollup.lag_s

        revision = parts.config.in_force.revision
        yield Listening(f"{server.url}/api/v1/events", texts, revision), behind


class Appender:
    """Appends bodies to a file; who waits at the same time shares one fsync."""

    def __init__(self, file: Path) -> None:
        self._file = file.open("ab", buffering=0)
        self._jobs: queue.SimpleQueue[tuple[bytes, asyncio.Future[None]] | None] = (
            queue.SimpleQueue()
        )
        self._loop = asyncio.get_running_loop()
        self._thread = threading.Thread(target=self._work)
        self._thread.start()

    async def append(self, body: bytes) -> None:
        """Return when it is on the disk."""
        future: asyncio.Future[None] = self._loop.create_future()
        self._jobs.put((body, future))
        await future

    def close(self) -> None:
        """End the thread."""
        self._jobs.put(None)
        self._thread.join()
        self._file.close()

    def _work(self) -> None:
        while (job := self._jobs.get()) is not None:
            jobs = [job]
            with contextlib.suppress(queue.Empty):
                while (more := self._jobs.get_nowait()) is not None:
                    jobs.append(more)
                self._jobs.put(None)
            self._file.write(b"".join(body for body, _ in jobs))
            os.fdatasync(self._file.fileno())
            futures = [future for _, future in jobs]
            self._loop.call_soon_threadsafe(_wake, futures)


def _wake(futures: "list[asyncio.Future[None]]") -> None:
    for future in futures:
        future.set_result(None)


@contextlib.asynccontextmanager
async def bare(directory: Path) -> AsyncIterator[tuple[Listening, Look]]:
    """aiohttp alone: takes a body, appends it, answers."""
    appender = Appender(directory / "bodies")

    async def take(request: web.Request) -> web.Response:
        await appender.append(await request.read())
        return web.Response()

    app = web.Application(client_max_size=MAX_COMPRESSED_BYTES)
    app.router.add_post("/", take)
    runner = web.AppRunner(app, auto_decompress=False, access_log=None)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    try:
        host, port = runner.addresses[0][:2]
        tokens = {agent: secrets.token_hex(32) for agent in AGENTS}
        yield Listening(f"http://{host}:{port}/", tokens), no_rollup
    finally:
        await runner.cleanup()
        appender.close()


def used(behind: Look) -> Used:
    """CPU of all threads so far, and the most memory that was resident, in bytes."""
    status = Path("/proc/self/status").read_text(encoding="ascii")
    peak = next(line for line in status.splitlines() if line.startswith("VmHWM:"))
    return Used(time.process_time(), int(peak.split()[1]) * 1024, children_s(), *behind())


def children_s() -> float:
    """The CPU seconds of all child processes that run."""
    total = 0
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            # The name, in parentheses, may hold anything; what follows it are words.
            words = stat.read_text(errors="replace").rpartition(")")[2].split()
            if int(words[1]) == os.getpid():
                total += int(words[11]) + int(words[12])
    return total / os.sysconf("SC_CLK_TCK")


SERVERS = {"collector": collector, "bare": bare, "whole": whole}


def _tell(value: Any) -> None:
    sys.stdout.buffer.write(msgspec.json.encode(value) + b"\n")
    sys.stdout.flush()


async def _serve(kind: str, directory: Path) -> None:
    async with SERVERS[kind](directory) as (listening, behind):
        _tell(listening)
        while await asyncio.to_thread(sys.stdin.readline):
            _tell(used(behind))


if __name__ == "__main__":
    # As in a collector that runs, requests that went well are not worth a line.
    structlog.configure(
        wrapper_class=structlog.make_filtering_bound_logger(logging.INFO),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
    )
    # As a collector does that is started by its command.
    sys.setswitchinterval(0.0005)
    with asyncio.Runner(loop_factory=loop_factory()) as runner:
        runner.run(_serve(sys.argv[1], Path(sys.argv[2])))
