"""What a route is: one row of the table in ``routes.py``. A leaf module of ``collector.web``."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web

from collector.control.principal import Kind

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

MAX_BODY_BYTES = 1 << 20
"""Of every request's body, unless its route says otherwise."""

JSON = "application/json"


@dataclass(frozen=True, slots=True)
class Param:
    """A header of the request that the API's description tells of."""

    name: str
    description: str
    required: bool = False


Roles = Mapping[Kind, str | None]
"""Who may call. The value is the parameter of the path that must be the caller's own name, or
``None`` where any name will do."""

OPERATORS: Roles = {Kind.OPERATOR: None}
EVERYBODY: Roles = {Kind.OPERATOR: None, Kind.AGENT: None, Kind.CUSTOMER: None}


def own(kind: Kind, parameter: str = "name") -> Roles:
    """Agents (or customers) for the object that bears their name, and operators for each."""
    return {Kind.OPERATOR: None, kind: parameter}


@dataclass(frozen=True, slots=True)
class Route:
    """One method of one path.

    ``roles`` are held to before the handler runs, by the token and the path alone, so that what a
    caller may not see answers 403 whether it exists or not. ``open`` routes take requests without
    a token, too; one that is sent must be good all the same.

    ``needs`` are the services that the handler takes from the application; the route exists where
    all of them do. ``request`` and ``response`` are the bodies' types (msgspec structs, or whatever
    msgspec encodes; pydantic models for what is a configuration file's part), ``None`` where there
    is no body. ``query`` is a struct whose fields are the parameters of the query string.
    ``statuses`` are answers besides ``status`` and those that every route can give.
    """

    method: str
    path: str
    handler: Handler
    summary: str
    roles: Roles = field(default_factory=lambda: OPERATORS)
    open: bool = False
    needs: tuple["web.AppKey[Any]", ...] = ()
    request: Any = None
    request_type: str = JSON
    response: Any = None
    response_type: str = JSON
    status: int = 200
    statuses: Mapping[int, str] = field(default_factory=dict)
    query: type[Any] | None = None
    headers: tuple[Param, ...] = ()
    body_limit: int = MAX_BODY_BYTES
