"""A whole collector in the test's own process."""

import contextlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

from aiohttp import ClientSession

from collector.app import running
from collector.control.principal import Kind
from collector.settings import CollectorSettings
from collector.web.server import ServerOptions
from tests.collector.config.services import read_files, site_files
from tests.collector.web.servers import bearer


def settings_of(directory: Path, main: Path, **more: Any) -> CollectorSettings:
    """A collector's settings that name its configuration and its state; ``more`` of them."""
    return CollectorSettings(version=1, config=str(main), state=str(directory / "state"), **more)


@contextlib.asynccontextmanager
async def collector(
    directory: Path, **more: Any
) -> AsyncIterator[tuple[Any, ClientSession, dict[str, str]]]:
    """A collector's parts, a client of it, and an operator's header; ``more`` settings."""
    main = site_files(directory)
    settings = settings_of(directory, main, **more)
    async with running(settings, lambda: read_files(main), "1.2.3", ServerOptions(port=0)) as (
        parts,
        server,
    ):
        _, token = await parts.tokens.create(Kind.OPERATOR, "ann", who="test")
        async with ClientSession(base_url=server.url) as client:
            yield parts, client, bearer(token.reveal())
