"""A server that takes events, and ways of sending it some."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path

from aiohttp import ClientSession

from collector.ingest.admission import Room
from collector.ingest.service import Ingest
from collector.log.sqlite import SqliteLog
from collector.web.app import WebServices
from collector.web.events import INGEST
from collector.web.openapi import document
from collector.web.routes import ROUTES
from tests.collector.ingest.made import running
from tests.collector.web.servers import bearer, started

URL = "/api/v1/events"
SFO = bearer("agent-sfo")
DESCRIBED = document(ROUTES, "1.2.3")["paths"][URL]["post"]["responses"]


@contextlib.asynccontextmanager
async def serving(
    directory: Path, room: Room | None = None, base: WebServices | None = None
) -> AsyncIterator[tuple[ClientSession, Ingest, SqliteLog]]:
    """A server that takes events into a log on the disk."""
    async with (
        running(directory, room) as (ingest, log),
        started({INGEST: ingest}, base=base) as client,
    ):
        yield client, ingest, log


async def slow(
    client: ClientSession, token: str, begun: bytes = b"", length: int = 1000
) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """A request whose body has begun and does not end."""
    port = (await client.get("/nothing")).url.port
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    head = (
        f"POST {URL} HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer {token}\r\n"
        f"Content-Type: application/x-ndjson\r\nContent-Encoding: gzip\r\n"
        f"Content-Length: {length}\r\n\r\n"
    )
    writer.write(head.encode() + begun)
    await writer.drain()
    return reader, writer


async def until_inside(ingest: Ingest, count: int) -> None:
    """Wait until so many batches are under way."""
    async with asyncio.timeout(10):
        while ingest.admission.inside != count:  # noqa: ASYNC110 - no one tells when
            await asyncio.sleep(0.001)
