"""``GET /api/v1/health``: does the collector do its work? In full for operators only."""

from collections.abc import Callable
from typing import Any, Literal

import msgspec
import structlog
from aiohttp import web

from collector.control.principal import Kind
from collector.web.handling import PRINCIPAL, reply

log = structlog.get_logger(__name__)


class Finding(msgspec.Struct, frozen=True, kw_only=True):
    """How one part does: ``problems`` in words, ``detail`` in figures."""

    ok: bool
    problems: list[str] = msgspec.field(default_factory=list)
    detail: dict[str, Any] = msgspec.field(default_factory=dict)


class HealthReport(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """``degraded`` when any part is not well; ``parts`` are shown to operators."""

    status: Literal["ok", "degraded"]
    version: str | None = None
    parts: dict[str, Finding] | None = None


class Health:
    """Asks every part that was added how it does."""

    def __init__(self, version: str) -> None:
        self.version = version
        self._sources: dict[str, Callable[[], Finding]] = {}

    def add(self, name: str, source: Callable[[], Finding]) -> None:
        """``source`` tells of part ``name``; it is called in the event loop and must not block."""
        self._sources[name] = source

    def report(self, *, whole: bool) -> HealthReport:
        """How things stand now."""
        parts = {name: _ask(name, source) for name, source in self._sources.items()}
        status: Literal["ok", "degraded"] = (
            "ok" if all(part.ok for part in parts.values()) else "degraded"
        )
        if not whole:
            return HealthReport(status=status)
        return HealthReport(status=status, version=self.version, parts=parts)


def _ask(name: str, source: Callable[[], Finding]) -> Finding:
    try:
        return source()
    except Exception as error:
        log.exception("a part could not tell how it does", part=name)
        return Finding(ok=False, problems=[f"could not be asked ({type(error).__name__})"])


HEALTH: "web.AppKey[Health]" = web.AppKey("health", Health)


async def show(request: web.Request) -> web.Response:
    """Whether all is well; what is not, for operators.

    The status is 200 either way: a restart mends no full disk.
    """
    who = request.get(PRINCIPAL)
    whole = who is not None and who.kind is Kind.OPERATOR
    return reply(request.app[HEALTH].report(whole=whole))
