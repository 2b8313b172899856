"""The collector's server as tests start it: real, on a free port, with a token of every kind."""

import contextlib
from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any

from aiohttp import ClientSession, web

from collector.control.principal import Kind, Principal
from collector.web.app import WebServices, build_app
from collector.web.health import Health
from collector.web.metrics import Metrics
from collector.web.route import Route
from collector.web.routes import ROUTES
from collector.web.server import ServerOptions, serving


class KnownTokens:
    """Tokens ``<kind>-<name>``, such as ``agent-sfo``, without a store."""

    async def verify(self, text: str) -> Principal | None:
        """The principal that the token names."""
        kind, _, name = text.partition("-")
        if kind not in list(Kind) or not name:
            return None
        return Principal(Kind(kind), name, f"id-{name}")


def bearer(token: str) -> dict[str, str]:
    """The header that sends ``token``."""
    return {"Authorization": f"Bearer {token}"}


def web_services(**more: Any) -> WebServices:
    """What a server stands on, with :class:`KnownTokens`."""
    return WebServices(
        tokens=more.pop("tokens", KnownTokens()), metrics=Metrics(), health=Health("1.2.3"), **more
    )


@contextlib.asynccontextmanager
async def started(
    services: Mapping["web.AppKey[Any]", Any],
    routes: Sequence[Route] = ROUTES,
    base: WebServices | None = None,
    options: ServerOptions | None = None,
) -> AsyncIterator[ClientSession]:
    """A client of a running server with those ``services``; ``bearer("agent-sfo")`` are headers."""
    app = build_app(base or web_services(), services, routes)
    async with (
        serving(app, options) as server,
        ClientSession(base_url=server.url, auto_decompress=False) as client,
    ):
        yield client
