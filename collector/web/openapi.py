"""The API's description (OpenAPI 3.1), made of the table of routes and the types in it."""

import re
from collections.abc import Iterable, Sequence
from http import HTTPStatus
from typing import Any

import msgspec
from aiohttp import web
from pydantic import BaseModel

from collector.web.handling import SERVED, VERSION, reply
from collector.web.route import Route
from probes.contract.names import NAME_PATTERN
from probes.contract.wire import PROBLEM_TYPE, ProblemDetails

_REF = "#/components/schemas/{name}"
_PARAMETER = re.compile(r"\{([a-z_]+)\}")
_BODY_ERRORS = (400, 408, 413, 415, 422)


def document(routes: Sequence[Route], version: str) -> dict[str, Any]:
    """The description of ``routes``."""
    schemas = _Schemas([ProblemDetails, *_types(routes)])
    paths: dict[str, dict[str, Any]] = {}
    for route in routes:
        paths.setdefault(route.path, {})[route.method.lower()] = _operation(route, schemas)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "mailcanary collector",
            "version": version,
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "paths": paths,
        "components": {
            "schemas": schemas.components,
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer"}},
        },
    }


async def show(request: web.Request) -> web.Response:
    """The description of the routes that this collector has."""
    served: tuple[Route, ...] = request.app[SERVED]
    return reply(document(served, request.app[VERSION]))


def _types(routes: Iterable[Route]) -> list[Any]:
    found = [kind for route in routes for kind in (route.request, route.response, route.query)]
    return [kind for kind in dict.fromkeys(found) if kind is not None]


class _Schemas:
    """JSON Schemas by type; ``components`` are those that others refer to."""

    def __init__(self, types: Sequence[Any]) -> None:
        structs = [kind for kind in types if not _is_model(kind)]
        made, self.components = msgspec.json.schema_components(structs, ref_template=_REF)
        self._schemas: list[tuple[Any, dict[str, Any]]] = list(zip(structs, made, strict=True))
        for kind in types:
            if _is_model(kind):
                schema = kind.model_json_schema(ref_template=_REF.replace("{name}", "{model}"))
                self.components.update(schema.pop("$defs", {}))
                self._schemas.append((kind, schema))

    def of(self, kind: Any) -> dict[str, Any]:
        """The schema of one of the types."""
        return next(schema for known, schema in self._schemas if known is kind or known == kind)

    def resolved(self, kind: Any) -> dict[str, Any]:
        """The same, where it is a reference what that refers to."""
        schema = self.of(kind)
        name = schema.get("$ref", "").rpartition("/")[2]
        return dict(self.components[name]) if name else schema


def _is_model(kind: Any) -> bool:
    return isinstance(kind, type) and issubclass(kind, BaseModel)


def _operation(route: Route, schemas: _Schemas) -> dict[str, Any]:
    operation: dict[str, Any] = {
        "operationId": _operation_id(route),
        "summary": route.summary,
        "description": _who(route),
        "parameters": [*_path(route), *_query(route, schemas), *_headers(route)],
        "responses": _responses(route, schemas),
        "security": [{}, {"token": []}] if route.open else [{"token": []}],
    }
    if route.request is not None:
        content = {route.request_type: {"schema": schemas.of(route.request)}}
        operation["requestBody"] = {"required": True, "content": content}
    return operation


def _operation_id(route: Route) -> str:
    words = re.findall(r"[a-z0-9]+", route.path.removeprefix("/api/v1"))
    return "-".join([route.method.lower(), *words])


def _who(route: Route) -> str:
    said = []
    for kind, parameter in route.roles.items():
        said.append(f"{kind} tokens" + (f" (of that {{{parameter}}} only)" if parameter else ""))
    return "For " + ", ".join(said) + (", and without a token." if route.open else ".")


def _path(route: Route) -> list[dict[str, Any]]:
    names = _PARAMETER.findall(route.path)
    return [
        {"name": name, "in": "path", "required": True, "schema": _path_schema(name)}
        for name in names
    ]


def _path_schema(name: str) -> dict[str, Any]:
    return {"type": "string", "pattern": NAME_PATTERN} if name == "name" else {"type": "string"}


def _query(route: Route, schemas: _Schemas) -> list[dict[str, Any]]:
    if route.query is None:
        return []
    schema = schemas.resolved(route.query)
    required = schema.get("required", [])
    return [
        {
            "name": name,
            "in": "query",
            "required": name in required,
            "schema": _without_null(part),
        }
        for name, part in schema["properties"].items()
    ]


def _without_null(schema: dict[str, Any]) -> dict[str, Any]:
    """A parameter is left out rather than null."""
    choices = [part for part in schema.get("anyOf", []) if part != {"type": "null"}]
    rest = {key: value for key, value in schema.items() if key not in ("anyOf", "default")}
    if schema.get("default") is not None:
        rest["default"] = schema["default"]
    if len(choices) == 1:
        return {**rest, **choices[0]}
    return {**rest, "anyOf": choices} if choices else rest


def _headers(route: Route) -> list[dict[str, Any]]:
    return [
        {
            "name": header.name,
            "in": "header",
            "required": header.required,
            "description": header.description,
            "schema": {"type": "string"},
        }
        for header in route.headers
    ]


def _responses(route: Route, schemas: _Schemas) -> dict[str, Any]:
    good: dict[str, Any] = {"description": HTTPStatus(route.status).phrase}
    if route.response is not None:
        good["content"] = {route.response_type: {"schema": schemas.of(route.response)}}
    responses = {str(route.status): good}
    for status, meaning in route.statuses.items():
        responses[str(status)] = _problem(meaning) if status >= 400 else {"description": meaning}
    statuses = [401, 403, 429, 500, 503]
    if _PARAMETER.search(route.path):
        statuses.append(404)
    if route.query is not None:
        statuses.append(400)
    if route.request is not None:
        statuses += _BODY_ERRORS
    for status in sorted(set(statuses)):
        responses.setdefault(str(status), _problem(HTTPStatus(status).phrase))
    return responses


def _problem(meaning: str) -> dict[str, Any]:
    schema = {"$ref": _REF.format(name=ProblemDetails.__name__)}
    return {"description": meaning, "content": {PROBLEM_TYPE: {"schema": schema}}}
