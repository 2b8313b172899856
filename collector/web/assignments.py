"""``GET /api/v1/agents/{name}/assignment``: what an agent has to measure, once it changes."""

from typing import Annotated

import msgspec
from aiohttp import web

from collector.config.service import ConfigService
from collector.web.auth import GATE
from collector.web.handling import ROUTE, read_query
from collector.web.problems import not_found
from collector.web.route import JSON

CONFIG: "web.AppKey[ConfigService]" = web.AppKey("config", ConfigService)

MAX_WAIT_S = 120.0


class Wait(msgspec.Struct):
    """How long to wait for a change when the caller has the present version."""

    wait: Annotated[
        float,
        msgspec.Meta(
            ge=0,
            le=MAX_WAIT_S,
            description="Seconds to wait for another version than If-None-Match",
        ),
    ] = 0.0


async def show(request: web.Request) -> web.Response:
    """The assignment; 304 when it is still the version that the caller has."""
    wait_s = read_query(request, Wait).wait
    agent = request.match_info["name"]
    config = request.app[CONFIG]
    if not config.board.knows(agent):
        raise not_found()
    etag = request.headers.get("If-None-Match", "")
    posted = await config.board.wait(agent, etag, wait_s) if etag else await config.board.get(agent)
    if wait_s:
        # Its token may have been revoked, or have expired, since it began to wait.
        await request.app[GATE].admit(request, request[ROUTE])
    if posted is None:
        unchanged = web.Response(status=304, headers={"ETag": etag})
        if config.board.closed:
            # The next question needs a new connection, which a collector that stops does not take.
            unchanged.force_close()
        return unchanged
    headers = {"ETag": posted.etag, "Vary": "Accept-Encoding"}
    if not takes_gzip(request.headers.get("Accept-Encoding", "")):
        return web.Response(body=posted.body, content_type=JSON, headers=headers)
    headers["Content-Encoding"] = "gzip"
    return web.Response(body=await posted.packed(), content_type=JSON, headers=headers)


def takes_gzip(accepted: str) -> bool:
    """Whether an ``Accept-Encoding`` names gzip, with another weight than 0 (RFC 9110 section
    12.5.3)."""
    for one in accepted.lower().split(","):
        coding, _, weight = (part.strip() for part in one.partition(";"))
        if coding == "gzip":
            return weight.rstrip("0.") != "q="
    return False
