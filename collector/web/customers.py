"""Customers over HTTP: list, read, create, replace, delete, and a check without a change."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
from aiohttp import web

from collector.config.customers import (
    Customers,
    Found,
    NoCustomerError,
    NotEditableError,
    RefusedError,
    StaleError,
)
from collector.config.shown import BrokenError
from collector.config.turns import TooOftenError
from collector.control.principal import Kind, Principal
from collector.web.handling import principal, read_json, reply
from collector.web.problems import Refused, not_found, overloaded
from probes.contract.errors import MailcanaryError

CUSTOMERS: "web.AppKey[Customers]" = web.AppKey("customers", Customers)


class CustomerList(msgspec.Struct, frozen=True, kw_only=True):
    """The names of the customers in force that whoever asks may see."""

    customers: list[str]


class CustomerView(msgspec.Struct, frozen=True, kw_only=True):
    """One customer in the file's words. ``file`` is null for one that the API cannot change.

    ``in_force`` is told of a change: false when another file was spoilt meanwhile or the log takes
    nothing, so that it comes into force later, by itself.
    """

    name: str
    file: str | None
    document: dict[str, Any]
    in_force: bool | None = None


class Judged(msgspec.Struct, frozen=True, kw_only=True):
    """Whether a document could come into force, and each reason why not."""

    valid: bool
    errors: list[str]


async def show_all(request: web.Request) -> web.Response:
    """Every name for operators, its own for a customer."""
    names = request.app[CUSTOMERS].names()
    who = principal(request)
    if who.kind is Kind.CUSTOMER:
        names = [name for name in names if name == who.name]
    return reply(CustomerList(customers=names))


async def show_one(request: web.Request) -> web.Response:
    """One customer, its version in the ETag."""
    name = request.match_info["name"]
    try:
        found = await request.app[CUSTOMERS].read(name)
    except BrokenError as error:
        raise _broken(error, principal(request)) from None
    except MailcanaryError as error:
        raise _refused(error) from None
    return _view(name, found)


async def put(request: web.Request) -> web.Response:
    """Create (``If-None-Match: *``) or replace (``If-Match``) a customer."""
    name = request.match_info["name"]
    new = request.headers.get("If-None-Match")
    old = request.headers.get("If-Match")
    if (new is None) == (old is None) or new not in (None, "*"):
        detail = "If-Match with the version that is replaced, or If-None-Match: * for a new one"
        raise Refused(428, detail)
    document = await read_json(request, dict[str, Any])
    try:
        made = await request.app[CUSTOMERS].put(principal(request), name, document, old)
    except MailcanaryError as error:
        raise _refused(error) from None
    return _view(name, made.found, 201 if made.created else 200, in_force=made.in_force)


async def delete(request: web.Request) -> web.Response:
    """Remove a customer, of the version in ``If-Match``."""
    etag = request.headers.get("If-Match")
    if etag is None:
        raise Refused(428, "If-Match with the version that is removed")
    name = request.match_info["name"]
    try:
        await request.app[CUSTOMERS].delete(principal(request), name, etag)
    except MailcanaryError as error:
        raise _refused(error) from None
    return web.Response(status=204)


async def check(request: web.Request) -> web.Response:
    """What is wrong with a document, were it put; nothing is written."""
    document = await read_json(request, dict[str, Any])
    name = request.match_info["name"]
    try:
        errors = await request.app[CUSTOMERS].check(principal(request), name, document)
    except MailcanaryError as error:
        raise _refused(error) from None
    return reply(Judged(valid=not errors, errors=errors))


def _view(
    name: str, found: Found, status: int = 200, *, in_force: bool | None = None
) -> web.Response:
    headers = {} if found.etag is None else {"ETag": found.etag}
    view = CustomerView(name=name, file=found.file, document=found.document, in_force=in_force)
    return reply(view, status=status, headers=headers)


def _broken(error: BrokenError, who: Principal) -> Refused:
    """422 as the check tells it, with the file's version, so that it can be replaced."""
    problems = error.problems
    if who.kind is not Kind.OPERATOR:
        # Where the collector keeps its files is the operator's to know.
        problems = [replace(problem, file=Path(problem.file).name) for problem in problems]
    lines = [str(problem) for problem in problems]
    return Refused(422, "its file is broken", errors=lines, headers={"ETag": error.etag})


def _refused(error: MailcanaryError) -> MailcanaryError:
    match error:
        case NoCustomerError():
            return not_found()
        case StaleError():
            return Refused(412, str(error))
        case TooOftenError(retry_after_s=retry_after_s):
            return overloaded(str(error), retry_after_s, 429)
        case NotEditableError():
            return Refused(409, str(error))
        case RefusedError(forbidden=forbidden):
            status = 403 if forbidden else 422
            return Refused(status, "this cannot come into force", errors=error.errors)
        case _:
            return error
