"""The fleet over HTTP: agents beat, operators look."""

import time

from aiohttp import web

from collector.control.agents import AgentList, AgentRegistry
from collector.control.standing import Standing
from collector.web.handling import read_json, reply
from collector.web.health import Finding
from collector.web.problems import not_found
from probes.contract.wire import Beat, BeatReply

AGENTS: "web.AppKey[AgentRegistry]" = web.AppKey("agents", AgentRegistry)


def finding(agents: AgentRegistry) -> Finding:
    """The fleet for the collector's health: a silent agent is told, and no fault of ours."""
    by_standing: dict[Standing, list[str]] = {standing: [] for standing in Standing}
    for view in agents.all():
        by_standing[view.standing].append(view.name)
    down = by_standing[Standing.DOWN]
    detail = {str(standing): len(names) for standing, names in by_standing.items()}
    return Finding(ok=True, problems=[f"agent {name} is down" for name in down], detail=detail)


async def show_all(request: web.Request) -> web.Response:
    """All agents."""
    return reply(AgentList(agents=request.app[AGENTS].all()))


async def show_one(request: web.Request) -> web.Response:
    """One agent."""
    view = request.app[AGENTS].one(request.match_info["name"])
    if view is None:
        raise not_found()
    return reply(view)


async def beat(request: web.Request) -> web.Response:
    """An agent says that it lives; the two times of the answer let it compare its clock."""
    received_ns = time.time_ns()
    agents = request.app[AGENTS]
    agents.beat(request.match_info["name"], await read_json(request, Beat))
    return reply(
        BeatReply(received_at_ns=received_ns, answered_at_ns=time.time_ns(), beat_s=agents.beat_s)
    )
