"""Rollups over HTTP: series, and the paths as they are now. Customers see their own canaries only.

For a customer's token all is added up from that customer's own paths, so what is another's looks
like what is not there.
"""

import sqlite3
from collections.abc import Callable
from typing import Annotated, Literal, TypeVar

import msgspec
from aiohttp import web

from collector.control.principal import Kind
from collector.rollup import queries
from collector.rollup.file import RollupError
from collector.rollup.queries import MAX_PATHS, PathState, Point, QueryError
from collector.rollup.reader import RollupReader
from collector.rollup.series import Dimension
from collector.web.handling import principal, read_query, reply
from collector.web.problems import Refused
from probes.contract.names import NAME_PATTERN

ROLLUP: "web.AppKey[RollupReader]" = web.AppKey("rollup", RollupReader)
T = TypeVar("T")

Seconds = Annotated[int, msgspec.Meta(ge=0, le=1 << 40, description="Seconds since the epoch, UTC")]
Key = Annotated[str, msgspec.Meta(pattern=r"^[ -~]{0,256}$")]
Customer = Annotated[str, msgspec.Meta(pattern=NAME_PATTERN)]
Tier = Annotated[Literal[60, 3600, 86400], msgspec.Meta(description="Seconds")]
SPAN_S = 3600


class SeriesQuery(msgspec.Struct, frozen=True, kw_only=True):
    """Which series, in stretches of ``tier`` seconds; without times, the last hour.

    ``key`` is the name; of a label ``relay:provider=aws``, of a path ``agent|relay|customer/box``.
    ``customer`` adds up that customer's canaries only.
    """

    dimension: Dimension = Dimension.ALL
    key: Key = ""
    tier: Tier = 60
    begin: Seconds | None = msgspec.field(name="from", default=None)
    end: Seconds | None = msgspec.field(name="to", default=None)
    customer: Customer | None = None


class SeriesAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """The points, by time; stretches in which nothing was sent are left out.

    ``until_s`` is how far the rollup has come. One answer has at most 2,000 stretches: it ends at
    ``end_s``, and where that is before what was asked for, the next begins there.
    """

    dimension: Dimension
    key: str
    tier: int
    begin_s: int
    end_s: int
    until_s: int
    points: list[Point]


class PathsQuery(msgspec.Struct, frozen=True, kw_only=True):
    """A page of paths in the order of their names: at most ``limit`` of those after ``after``."""

    after: Key = ""
    limit: Annotated[int, msgspec.Meta(ge=1, le=MAX_PATHS)] = 500
    customer: Customer | None = None


class PathsAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """A page of paths; ``next_after`` leads to the next, where there is one."""

    until_s: int
    paths: list[PathState]
    next_after: str | None = None


async def show(request: web.Request) -> web.Response:
    """A series."""
    query = read_query(request, SeriesQuery)
    customer = scope(request, query.customer)

    def question(connection: sqlite3.Connection) -> SeriesAnswer:
        until_s = queries.clock_s(connection)
        end = until_s + 1 if query.end is None else query.end
        begin = max(0, end - SPAN_S) if query.begin is None else query.begin
        end = min(end, begin + queries.MAX_POINTS * query.tier)
        points = []
        if begin < end:
            points = queries.series(
                connection, query.dimension, query.key, query.tier, (begin, end), customer=customer
            )
        return SeriesAnswer(
            dimension=query.dimension,
            key=query.key,
            tier=query.tier,
            begin_s=begin,
            end_s=end,
            until_s=until_s,
            points=points,
        )

    return reply(await ask(request, question))


async def show_paths(request: web.Request) -> web.Response:
    """A page of paths."""
    query = read_query(request, PathsQuery)
    customer = scope(request, query.customer)

    def question(connection: sqlite3.Connection) -> PathsAnswer:
        # One more than asked for tells whether there are more.
        limit = min(query.limit + 1, MAX_PATHS)
        found = queries.paths(connection, customer=customer, after=query.after, limit=limit)
        page = found[: query.limit]
        more = len(found) > len(page) or len(page) == MAX_PATHS
        return PathsAnswer(
            until_s=queries.clock_s(connection),
            paths=page,
            next_after=str(page[-1].path) if more and page else None,
        )

    return reply(await ask(request, question))


def scope(request: web.Request, wanted: str | None) -> str | None:
    """The customer to whom the answer is restricted: a customer's own, else the one wanted.

    Raises:
        Refused: 403, for a customer that asks for another, whether there is such a one or not.
    """
    who = principal(request)
    if who.kind is not Kind.CUSTOMER:
        return wanted
    if wanted not in (None, who.name):
        raise Refused(403, "a customer's token is for that customer's own canaries")
    return who.name


async def ask(request: web.Request, question: Callable[[sqlite3.Connection], T]) -> T:
    """Ask the rollup.

    Raises:
        Refused: 400 for a question out of bounds, 503 while the rollup cannot be read.
    """
    try:
        return await request.app[ROLLUP].ask(question)
    except QueryError as error:
        raise Refused(400, str(error)) from None
    except RollupError as error:
        # What is wrong with the file is for health and log: the text names paths of this host.
        raise Refused(503, "the rollups cannot be read now") from error
