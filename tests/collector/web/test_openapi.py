"""The description against the real server: what it says is accepted, answered and refused so.

A part that adds routes adds its services to :func:`parts`; routes without theirs are left out.
"""

import asyncio
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, settings
from schemathesis import Case
from schemathesis.specs.openapi.checks import (
    ignored_auth,
    positive_data_acceptance,
    unsupported_method,
)

from collector.control.agents import AgentRegistry
from collector.control.audit import Audit
from collector.control.principal import Kind
from collector.control.tokens import Tokens
from collector.rollup.reader import RollupReader
from collector.web.agents import AGENTS
from collector.web.app import build_app
from collector.web.assignments import CONFIG
from collector.web.audit import AUDIT
from collector.web.customers import CUSTOMERS
from collector.web.limits import FailureLimit
from collector.web.openapi import document
from collector.web.route import OPERATORS
from collector.web.routes import ROUTES
from collector.web.series import ROLLUP
from collector.web.server import ServerOptions, serving
from collector.web.tokens import TOKENS
from tests.collector.config.services import site
from tests.collector.control.stores import control_store
from tests.collector.memory_log import MemoryLog
from tests.collector.rollup.histories import accepted, arrival, intent
from tests.collector.rollup.recount import rolled_up
from tests.collector.web.servers import bearer, web_services

OWN: tuple[Any, ...] = (TOKENS, AGENTS, AUDIT, ROLLUP, CONFIG, CUSTOMERS)
SERVED = tuple(route for route in ROUTES if all(key in OWN for key in route.needs))
ROLES = {(route.method, route.path): route.roles for route in SERVED}


@asynccontextmanager
async def parts(directory: Path) -> "AsyncIterator[dict[Any, Any]]":
    """The services behind the routes, each a real one."""
    # Apart, since a site has a control file of its own.
    (directory / "site").mkdir()
    async with control_store(directory) as store, site(directory / "site") as configured:
        agents = AgentRegistry(store, 10.0)
        agents.assign(["sfo"])
        entries = rolled_up(directory, [*accepted(sent := intent(1)), arrival(sent)])
        yield {
            TOKENS: Tokens(store),
            AGENTS: agents,
            AUDIT: Audit(store, lambda: 1),
            ROLLUP: RollupReader(directory, MemoryLog(entries)),
            CONFIG: configured.config,
            CUSTOMERS: configured.customers,
        }


async def _serve(directory: Path, begun: "list[str]", ready: threading.Event) -> None:
    generous = FailureLimit(burst=1_000_000)
    async with parts(directory) as services:
        app = build_app(web_services(failures=generous), services, SERVED)
        async with serving(app, ServerOptions(port=0)) as server:
            stop = asyncio.Event()
            begun.append(server.url)
            _STOP.append((asyncio.get_running_loop(), stop))
            ready.set()
            await stop.wait()


_STOP: "list[tuple[asyncio.AbstractEventLoop, asyncio.Event]]" = []


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    """A server in a thread of its own, since the requests come from this one."""
    begun: list[str] = []
    ready = threading.Event()
    with TemporaryDirectory() as directory:
        work = _serve(Path(directory), begun, ready)
        thread = threading.Thread(target=asyncio.run, args=(work,))
        thread.start()
        assert ready.wait(timeout=30)
        yield begun[0]
        loop, stop = _STOP.pop()
        loop.call_soon_threadsafe(stop.set)
        thread.join()


schema = schemathesis.openapi.from_dict(document(SERVED, "1.2.3"))


def _whole(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _whole(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_whole(item) for item in value]
    return int(value) if isinstance(value, float) and value.is_integer() else value


@schema.hook
def map_body(context: schemathesis.HookContext, body: Any) -> Any:  # noqa: ARG001 - the hook's form
    """To JSON Schema 106.0 is a whole number; to the server, as to most JSON readers, it is not."""
    return _whole(body)


def _token(case: "Case[Any]") -> dict[str, str]:
    # Methods that are not there are tried as well.
    roles = ROLES.get((case.method.upper(), case.path), OPERATORS)
    if Kind.OPERATOR in roles:
        return bearer("operator-ann")
    name = str((case.path_parameters or {}).get("name", ""))
    return bearer(f"agent-{name}" if name.isascii() and name.isprintable() else "agent-sfo")


@schema.parametrize()
@settings(
    max_examples=15,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
def test_the_server_keeps_to_its_description(case: "Case[Any]", url: str) -> None:
    # Those two call with methods and without tokens themselves; test_roles.py and test_app.py do.
    excluded: list[Any] = [ignored_auth, unsupported_method]
    if case.path == "/api/v1/customers/{name}" and case.method.upper() in ("PUT", "DELETE"):
        # A good document of a version that is none is refused, which no schema can say.
        excluded.append(positive_data_acceptance)
    case.call_and_validate(
        base_url=url,
        headers=_token(case),
        excluded_checks=excluded,
        timeout=10,
    )


def test_every_route_is_described() -> None:
    described = document(ROUTES, "1.2.3")
    operations = [
        (method.upper(), path) for path, methods in described["paths"].items() for method in methods
    ]
    assert sorted(operations) == sorted((route.method, route.path) for route in ROUTES)
    ids = [one["operationId"] for path in described["paths"].values() for one in path.values()]
    assert len(set(ids)) == len(ids)


async def test_the_description_is_served_to_everybody(tmp_path: Path) -> None:
    from tests.collector.web.servers import started

    async with parts(tmp_path) as services, started(services) as client:
        served = await (await client.get("/api/v1/openapi.json")).json()
    assert served == document(SERVED, "1.2.3")
