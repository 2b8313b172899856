"""Errors as problem details (RFC 9457), and the exception that carries one through a handler."""

from collections.abc import Mapping, Sequence
from http import HTTPStatus

import msgspec
from aiohttp import web

from probes.contract.errors import ConfigError, MailcanaryError
from probes.contract.wire import PROBLEM_TYPE, ProblemDetails


class Refused(MailcanaryError):  # noqa: N818 - it reads `raise Refused(404, ...)`
    """The request is answered with an error. ``detail`` is shown to whoever sent it."""

    def __init__(
        self,
        status: int,
        detail: str | None = None,
        *,
        errors: Sequence[str] = (),
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(detail or HTTPStatus(status).phrase)
        self.status = status
        self.detail = detail
        self.errors = list(errors)
        self.headers = dict(headers or {})


def not_found() -> Refused:
    """404 in the one wording: of what is not there, and of what the caller may not know of."""
    return Refused(404, "there is nothing of that name, or it is not yours to see")


def bad_config(error: ConfigError, status: int = 422) -> Refused:
    """A configuration that was sent cannot be used, in the words of ``mailcanary check``."""
    detail = "what was sent is no valid configuration"
    return Refused(status, detail, errors=[str(problem) for problem in error.problems])


def overloaded(detail: str, retry_after_s: int = 1, status: int = 503) -> Refused:
    """503 (or 429), with the time after which another try makes sense."""
    return Refused(status, detail, headers={"Retry-After": str(retry_after_s)})


def problem(refused: Refused) -> web.Response:
    """The response that tells of ``refused``."""
    body = ProblemDetails(
        title=HTTPStatus(refused.status).phrase,
        status=refused.status,
        detail=refused.detail,
        errors=refused.errors,
    )
    return web.Response(
        status=refused.status,
        body=msgspec.json.encode(body),
        content_type=PROBLEM_TYPE,
        headers=refused.headers,
    )
