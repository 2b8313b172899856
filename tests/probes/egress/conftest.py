"""Servers to look at, on loopback, and targets for them."""

import asyncio
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from typing import Any

import pytest
import uvloop

from lab.blackhole import Blackhole
from probes.contract.check_plan import CheckPlan
from probes.contract.config.models import Destination, ProbeKind
from probes.egress import EgressTarget, Vantage
from probes.resolver import Endpoint
from tests.dns_server import DnsServer
from tests.probes.smtp.scripted import Script, ScriptedServer

LOOPBACK = Vantage(socket.AF_INET, "127.0.0.1", "127.0.0.1")


def pytest_asyncio_loop_factories() -> dict[str, Callable[[], asyncio.AbstractEventLoop]]:
    """Every test here runs on both loops: they do not fail in the same way."""
    return {"asyncio": asyncio.new_event_loop, "uvloop": uvloop.new_event_loop}


Serve = Callable[[Script], Awaitable[ScriptedServer]]


@pytest.fixture
async def serve() -> AsyncIterator[Serve]:
    """Starts a scripted server on loopback, to be stopped with the test."""
    servers: list[ScriptedServer] = []

    async def start(script: Script) -> ScriptedServer:
        server = ScriptedServer(script)
        servers.append(server)
        await server.start()
        return server

    yield start
    for server in servers:
        await server.stop()


@pytest.fixture
def blackhole() -> Iterator[int]:
    """A port to which connects time out."""
    with Blackhole() as (_, port):
        yield port


@pytest.fixture
def refused() -> Iterator[int]:
    """A port at which nobody listens, and nobody else can meanwhile."""
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))
        yield holder.getsockname()[1]


@pytest.fixture
async def dns_server() -> AsyncIterator[DnsServer]:
    """A DNS server that knows nothing yet."""
    async with DnsServer() as server:
        yield server


def target(
    port: int,
    *,
    host: str = "127.0.0.1",
    control: bool = False,
    vantage: Vantage = LOOPBACK,
    note: str | None = None,
) -> EgressTarget:
    """A host on loopback."""
    return EgressTarget(
        destination="bigmail",
        reference=False,
        host=host,
        port=port,
        control=control,
        vantage=vantage,
        endpoint=Endpoint(socket.AF_INET, ("127.0.0.1", port)),
        resolve_s=0.01,
        note=note,
    )


def plan(*destinations: Destination, **fields: Any) -> CheckPlan:
    """A plan of a look outward."""
    base: dict[str, Any] = {"agent": "on-a", "relay": "a", "interval_s": 30.0, "timeout_s": 5.0}
    return CheckPlan(probe=ProbeKind.EGRESS, destinations=destinations, **base | fields)


@pytest.fixture
def ipv6() -> None:
    """Skips where loopback has no IPv6."""
    try:
        with socket.socket(socket.AF_INET6) as sock:
            sock.bind(("::1", 0))
    except OSError:
        pytest.skip("no IPv6 on loopback")
