"""The audit trail over HTTP, for operators."""

from typing import Annotated

import msgspec
from aiohttp import web

from collector.control.audit import Audit, AuditEntry
from collector.web.handling import read_query, reply

AUDIT: "web.AppKey[Audit]" = web.AppKey("audit", Audit)

Number = Annotated[int, msgspec.Meta(ge=1, le=(1 << 63) - 1)]


class Page(msgspec.Struct, frozen=True, kw_only=True):
    """Which entries: the newest ``limit`` of those with a number below ``before``."""

    before: Number | None = None
    limit: Annotated[int, msgspec.Meta(ge=1, le=1000)] = 100


class AuditPage(msgspec.Struct, frozen=True, kw_only=True):
    """Entries, newest first; ``next_before`` leads to the older ones, where there are any."""

    entries: list[AuditEntry]
    next_before: int | None = None


async def show(request: web.Request) -> web.Response:
    """One page."""
    page = read_query(request, Page)
    # One more than asked for tells whether there are older ones.
    found = await request.app[AUDIT].entries(before=page.before, limit=page.limit + 1)
    entries = found[: page.limit]
    more = len(found) > page.limit
    return reply(AuditPage(entries=entries, next_before=entries[-1].id if more else None))
