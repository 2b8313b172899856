"""The whole story of one canary over HTTP: verdict, times and every event of it."""

import msgspec
from aiohttp import web

from collector.log.engine import LogError
from collector.rollup import queries
from collector.rollup.queries import CanaryRow
from collector.rollup.reader import LoggedEvent
from collector.web.handling import reply
from collector.web.problems import Refused, not_found
from collector.web.series import ROLLUP, ask, scope


class CanaryStory(msgspec.Struct, frozen=True, kw_only=True):
    """What is known of a canary, and its events as the log still has them, in its order.

    Phases, replies, hops and verdicts of authentication are in the events.
    """

    canary: CanaryRow
    events: list[LoggedEvent]


async def show(request: web.Request) -> web.Response:
    """One canary; another customer's looks like one that is not there."""
    name = request.match_info["id"]
    customer = scope(request, None)
    found = await ask(request, lambda db: queries.canary(db, name, customer=customer))
    if found is None:
        raise not_found()
    try:
        events = await request.app[ROLLUP].events(found)
    except LogError as error:
        raise Refused(503, "the log cannot be read now") from error
    return reply(CanaryStory(canary=found, events=events))
