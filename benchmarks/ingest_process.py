"""A collector's way in, or its floor: ``python -m benchmarks.ingest_process collector|bare DIR``.

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
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import msgspec
import structlog
from aiohttp import web

from agent.app import loop_factory
from benchmarks.ingest import AGENTS, Listening, Used, grant
from collector.config.assigned import Assigned
from collector.control.principal import Kind
from collector.control.store import ControlStore
from collector.control.tokens import Tokens
from collector.ingest.admission import Room
from collector.ingest.metrics import IngestCollector
from collector.ingest.service import Ingest
from collector.log.sqlite import SqliteLog
from collector.web.app import WebServices, build_app
from collector.web.events import INGEST
from collector.web.health import Health
from collector.web.metrics import Metrics
from collector.web.server import ServerOptions, serving
from probes.contract.wire import MAX_COMPRESSED_BYTES


@contextlib.asynccontextmanager
async def collector(directory: Path) -> AsyncIterator[Listening]:
    """The server with its guard, real tokens, and the log on the disk; no consumers."""
    store = ControlStore.open(directory)
    tokens = Tokens(store)
    texts = {
        agent: (await tokens.create(Kind.AGENT, agent, who="benchmark"))[1].reveal()
        for agent in AGENTS
    }
    log = SqliteLog.open(directory / "log")
    # At full speed an agent sends more batches than it may send on end.
    ingest = Ingest(log, Assigned([grant()]).allows, time.time_ns, Room(per_minute=1_000_000))
    base = WebServices(tokens, Metrics(), Health("0"))
    base.metrics.registry.register(IngestCollector(ingest))
    try:
        async with serving(build_app(base, {INGEST: ingest}), ServerOptions(port=0)) as server:
            yield Listening(f"{server.url}/api/v1/events", texts)
    finally:
        ingest.close()
        await log.close()
        store.close()


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
async def bare(directory: Path) -> AsyncIterator[Listening]:
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
        yield Listening(f"http://{host}:{port}/", {a: secrets.token_hex(32) for a in AGENTS})
    finally:
        await runner.cleanup()
        appender.close()


def used() -> Used:
    """CPU of all threads so far, and the most memory that was resident, in bytes."""
    status = Path("/proc/self/status").read_text(encoding="ascii")
    peak = next(line for line in status.splitlines() if line.startswith("VmHWM:"))
    return Used(time.process_time(), int(peak.split()[1]) * 1024)


def _tell(value: Any) -> None:
    sys.stdout.buffer.write(msgspec.json.encode(value) + b"\n")
    sys.stdout.flush()


async def _serve(kind: str, directory: Path) -> None:
    async with (collector if kind == "collector" else bare)(directory) as listening:
        _tell(listening)
        while await asyncio.to_thread(sys.stdin.readline):
            _tell(used())


if __name__ == "__main__":
    # As in a collector that runs, requests that went well are not worth a line.
    structlog.configure(
        wrapper_class=structlog.make_filtering_bound_logger(logging.INFO),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
    )
    with asyncio.Runner(loop_factory=loop_factory()) as runner:
        runner.run(_serve(sys.argv[1], Path(sys.argv[2])))
