"""The application: the table's routes, each behind its guard, and what surrounds all of them."""

import asyncio
import re
import secrets
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import structlog
from aiohttp import web
from aiohttp.typedefs import Middleware

from collector.control.tokens import without_tokens
from collector.web.auth import GATE, Gatekeeper, Verifier
from collector.web.bodies import BODIES, Bodies
from collector.web.handling import (
    BODY_TIME,
    PEER,
    PRINCIPAL,
    REQUEST_ID,
    ROUTE,
    SERVED,
    VERSION,
    BodyTime,
)
from collector.web.health import HEALTH, Health
from collector.web.limits import FailureLimit
from collector.web.metrics import METRICS, Metrics
from collector.web.peers import Networks, peer_address
from collector.web.problems import Refused, problem
from collector.web.route import Handler, Route
from collector.web.routes import ROUTES
from probes.contract.errors import MailcanaryError

log = structlog.get_logger(__name__)

_REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")
_HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "Cache-Control": "no-store",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
    "Referrer-Policy": "no-referrer",
    "Server": "mailcanary",
}


@dataclass(slots=True)
class WebServices:
    """What every route stands on."""

    tokens: Verifier
    metrics: Metrics
    health: Health
    failures: FailureLimit | None = None
    proxies: Networks = ()
    metrics_open: bool = False
    https: bool = False
    body_time: BodyTime = field(default_factory=BodyTime)
    bodies: Bodies = field(default_factory=Bodies)


def build_app(
    base: WebServices,
    services: Mapping["web.AppKey[Any]", Any],
    routes: Sequence[Route] = ROUTES,
) -> web.Application:
    """The application with those of ``routes`` whose ``needs`` are all among ``services``."""
    app = web.Application(middlewares=[_surround(base)])
    known: dict[Any, Any] = {METRICS: base.metrics, HEALTH: base.health, **services}
    served = tuple(
        replace(route, open=route.open or (base.metrics_open and route.path == "/metrics"))
        for route in routes
        if all(key in known for key in route.needs)
    )
    app[SERVED] = served
    app[BODY_TIME] = base.body_time
    app[BODIES] = base.bodies
    app[VERSION] = base.health.version
    for key, service in known.items():
        app[key] = service
    failures = base.failures or FailureLimit()
    app[GATE] = gate = Gatekeeper(base.tokens, failures, base.metrics.auth_failures.inc)
    for route in served:
        app.router.add_route(route.method, route.path, _guarded(route, gate))
    return app


def _guarded(route: Route, gate: Gatekeeper) -> Handler:
    async def guarded(request: web.Request) -> web.StreamResponse:
        request[ROUTE] = route
        await gate.admit(request, route)
        return await route.handler(request)

    return guarded


def _surround(base: WebServices) -> Middleware:
    """Errors to problem details, headers, metrics and the access log, around every request."""
    headers = dict(_HEADERS)
    if base.https:
        headers["Strict-Transport-Security"] = "max-age=31536000"

    @web.middleware
    async def surround(request: web.Request, handler: Handler) -> web.StreamResponse:
        started = time.monotonic()
        forwarded = request.headers.getall("X-Forwarded-For", [])
        request[PEER] = peer_address(request.remote, forwarded, base.proxies)
        request[REQUEST_ID] = _request_id(request.headers.get("X-Request-Id"))
        with base.metrics.in_progress.track_inprogress():
            response = await _answer(request, handler)
        if not response.prepared:
            for name, value in headers.items():
                response.headers.setdefault(name, value)
            response.headers["X-Request-Id"] = request[REQUEST_ID]
        _tell(base.metrics, request, response.status, time.monotonic() - started)
        return response

    return surround


async def _answer(request: web.Request, handler: Handler) -> web.StreamResponse:
    try:
        return await handler(request)
    except Refused as refused:
        return problem(refused)
    except web.HTTPException as error:
        # The router's own: no such path, or not with that method.
        allow = {"Allow": error.headers["Allow"]} if "Allow" in error.headers else {}
        return problem(Refused(error.status, headers=allow))
    except asyncio.CancelledError:
        raise
    except (ConnectionError, web.RequestPayloadError) as error:
        return problem(Refused(400, f"the request broke off ({type(error).__name__})"))
    except MailcanaryError as error:
        log.warning("a request could not be served", route=_name(request), error=str(error))
        return problem(Refused(503, "not possible now", headers={"Retry-After": "5"}))
    except Exception:
        log.exception("a request failed", route=_name(request), request_id=request[REQUEST_ID])
        return problem(Refused(500, f"a fault of ours; request {request[REQUEST_ID]}"))


def _request_id(given: str | None) -> str:
    return given if given and _REQUEST_ID.fullmatch(given) else secrets.token_hex(8)


def _name(request: web.Request) -> str:
    route = request.get(ROUTE)
    return route.path if route is not None else "unknown"


def _tell(metrics: Metrics, request: web.Request, status: int, seconds: float) -> None:
    """Count the request and log it: its path and who asked, and neither query nor headers."""
    name = _name(request)
    method = request.method if name != "unknown" else "other"
    metrics.requests.labels(method, name, str(status)).inc()
    metrics.seconds.labels(name).observe(seconds)
    who = request.get(PRINCIPAL)
    level = log.warning if status >= 500 else log.info if status >= 400 else log.debug
    level(
        "request",
        method=method,
        # Whoever revokes a token may well name all of it.
        path=without_tokens(request.path)[:200],
        status=status,
        seconds=round(seconds, 4),
        peer=request[PEER],
        who=None if who is None else str(who),
        request_id=request[REQUEST_ID],
    )
