"""What handlers share: who asks, what they ask, and the answer."""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import msgspec
from aiohttp import web

from collector.control.principal import Principal
from collector.web.bodies import BODIES
from collector.web.problems import Refused
from collector.web.route import JSON, Route

T = TypeVar("T")
StructT = TypeVar("StructT", bound=msgspec.Struct)

ROUTE: "web.RequestKey[Route]" = web.RequestKey("route", Route)
PRINCIPAL: "web.RequestKey[Principal]" = web.RequestKey("principal", Principal)
PEER: "web.RequestKey[str]" = web.RequestKey("peer", str)
"""The address that the request comes from, behind the proxies that are trusted."""
REQUEST_ID: "web.RequestKey[str]" = web.RequestKey("request_id", str)
SERVED: "web.AppKey[tuple[Route, ...]]" = web.AppKey("served")
"""The routes that this application has."""
VERSION: "web.AppKey[str]" = web.AppKey("version", str)
"""The collector's."""


@dataclass(frozen=True, slots=True)
class BodyTime:
    """How long the body of a request may take to arrive: ``most_s`` seconds, and never longer than
    ``grace_s`` and what has come so far would take at ``bytes_per_s``."""

    most_s: float = 30.0
    grace_s: float = 5.0
    bytes_per_s: int = 4096

    def until_s(self, received: int) -> float:
        """When, after the head, something more must have come."""
        return min(self.most_s, self.grace_s + received / self.bytes_per_s)


BODY_TIME: "web.AppKey[BodyTime]" = web.AppKey("body_time", BodyTime)


def principal(request: web.Request) -> Principal:
    """Who asks, on a route that is not open.

    Raises:
        Refused: 401 on an open route, when nobody said who they are.
    """
    found: Principal | None = request.get(PRINCIPAL)
    if found is None:
        raise Refused(401, "a token is needed", headers={"WWW-Authenticate": "Bearer"})
    return found


def read_query(request: web.Request, form: type[StructT]) -> StructT:
    """The query string as ``form``, the struct that the route names.

    Raises:
        Refused: 400, for a parameter that is unknown, repeated, missing or no such value.
    """
    known = {field.encode_name for field in msgspec.structs.fields(form)}
    values: dict[str, str] = {}
    for name, value in request.query.items():
        if name not in known:
            allowed = ", ".join(sorted(known)) or "none"
            raise Refused(400, f"query: found {name!r}, allowed is {allowed}")
        if name in values:
            raise Refused(400, f"query: found {name} a second time, allowed is each once")
        values[name] = value
    try:
        query = msgspec.convert(values, form, strict=False)
    except msgspec.ValidationError as error:
        raise Refused(400, f"query: {error}") from None
    for field in msgspec.structs.fields(form):
        # Taken leniently, the word null is no value; so is leaving the parameter out.
        if field.encode_name in values and getattr(query, field.name) is None:
            raise Refused(400, f"query: found no value for {field.encode_name}")
    return query


async def read_body(
    request: web.Request, limit: int | None = None, encodings: Sequence[str] = ("identity",)
) -> bytes:
    """The whole body, of at most ``limit`` bytes (the route's ``body_limit``), in bounded time.

    It is as it came: whoever allows other ``encodings`` than ``identity`` decodes them.

    Raises:
        Refused: 413 past the limit, 408 when it does not arrive in time, 415 when it is encoded in
            another way.
    """
    # Sent twice, or twice encoded, it is a list, and never one of those allowed.
    encoding = ", ".join(request.headers.getall("Content-Encoding", ["identity"])).lower()
    if encoding not in encodings:
        allowed = ", ".join(encodings)
        raise Refused(
            415,
            f"found a body encoded as {encoding[:80]}, allowed is {allowed}",
            headers={"Accept-Encoding": allowed},
        )
    bound = request[ROUTE].body_limit if limit is None else limit
    too_large = Refused(413, f"the body is too large: at most {bound} bytes")
    if request.content_length is not None and request.content_length > bound:
        raise too_large
    body = bytearray()
    time = request.app[BODY_TIME]
    begun_s = asyncio.get_running_loop().time()
    try:
        async with asyncio.timeout_at(begun_s + time.until_s(0)) as patience:
            async for chunk in request.content.iter_any():
                body += chunk
                if len(body) > bound:
                    raise too_large
                patience.reschedule(begun_s + time.until_s(len(body)))
    except TimeoutError:
        raise Refused(408, "the body took too long to arrive") from None
    return bytes(body)


async def read_json(request: web.Request, form: type[T]) -> T:
    """The body as ``form``.

    Raises:
        Refused: 415 for another media type, 400 for no JSON, 422 for JSON that is no ``form``, 429
            and 503 when there are too many bodies under way; and as :func:`read_body` does.
    """
    if request.content_type != JSON:
        raise Refused(415, f"found {request.content_type}, allowed is {JSON}")
    bound, length = request[ROUTE].body_limit, request.content_length
    size = bound if length is None else min(length, bound)
    who = request.get(PRINCIPAL)
    with request.app[BODIES].hold(request[PEER] if who is None else str(who), size):
        return _decoded(await read_body(request), form)


def _decoded(body: bytes, form: type[T]) -> T:
    try:
        return msgspec.json.decode(body, type=form)
    except msgspec.ValidationError as error:
        raise Refused(422, f"body: {error}") from None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise Refused(400, "body: found no valid JSON") from None


def reply(
    value: Any, *, status: int = 200, headers: Mapping[str, str] | None = None
) -> web.Response:
    """``value`` as JSON."""
    return web.Response(
        status=status, body=msgspec.json.encode(value), content_type=JSON, headers=headers
    )
