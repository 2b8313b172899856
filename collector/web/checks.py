"""What agents see from the relays' own side, over HTTP; for operators only.

It tells of all customers' mail together, and where to the relays send it.
"""

import sqlite3
from typing import Annotated

import msgspec
from aiohttp import web

from collector.rollup import check_queries, queries
from collector.rollup.check_queries import MAX_LOOKS, LookView
from collector.web.handling import read_query, reply
from collector.web.problems import not_found
from collector.web.series import ask
from probes.contract.names import NAME_PATTERN


class ChecksQuery(msgspec.Struct, frozen=True, kw_only=True):
    """A page of looks in the order of their names: at most ``limit`` of those after ``after``.

    ``bad``: those alone that are not well, or stale.
    """

    relay: Annotated[str, msgspec.Meta(pattern=NAME_PATTERN)] | None = None
    probe: Annotated[str, msgspec.Meta(pattern=NAME_PATTERN)] | None = None
    bad: bool = False
    after: Annotated[str, msgspec.Meta(pattern=r"^[ -~]{0,1600}$")] = ""
    limit: Annotated[int, msgspec.Meta(ge=1, le=MAX_LOOKS)] = 500


class ChecksAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """A page of looks; ``next_after`` leads to the next, where there is one.

    ``until_s`` is how far the rollup has come: by that looks are stale.
    """

    until_s: int
    checks: list[LookView]
    next_after: str | None = None


async def show(request: web.Request) -> web.Response:
    """A page of looks."""
    query = read_query(request, ChecksQuery)

    def question(connection: sqlite3.Connection) -> ChecksAnswer:
        found, next_after = check_queries.looks(
            connection,
            relay=query.relay,
            probe=query.probe,
            bad=query.bad,
            after=query.after,
            limit=query.limit,
        )
        return ChecksAnswer(
            until_s=queries.clock_s(connection), checks=found, next_after=next_after
        )

    return reply(await ask(request, question))


async def show_queue(request: web.Request) -> web.Response:
    """The newest look at a relay's queue, and the canaries that wait in it."""
    relay = request.match_info["name"]
    found = await ask(request, lambda connection: check_queries.queue(connection, relay))
    if found is None:
        raise not_found()
    return reply(found)
