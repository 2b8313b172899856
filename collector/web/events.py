"""``POST /api/v1/events``: an agent hands over a batch (``docs/wire.md``)."""

import math

from aiohttp import web

from collector.ingest.admission import BusyError
from collector.ingest.inflate import BodyError, BodyTooLargeError
from collector.ingest.service import Ingest, WrongAgentError
from collector.log.engine import LogError, LogFullError
from collector.web.agents import AGENTS
from collector.web.handling import ROUTE, principal, read_body, reply
from collector.web.health import Finding
from collector.web.problems import Refused, overloaded
from probes.contract.wire import BATCH_TYPE

INGEST: "web.AppKey[Ingest]" = web.AppKey("ingest", Ingest)

_ENCODINGS = ("gzip", "identity")
_LOG_RETRY_S = 5
_FULL_RETRY_S = 30


def finding(ingest: Ingest) -> Finding:
    """Ingest for the collector's health: an agent past its quota may be in wrong hands."""
    problems = ingest.admission.told()
    return Finding(ok=not problems, problems=problems, detail={"batches": ingest.admission.inside})


async def take(request: web.Request) -> web.Response:
    """Take in a batch; nothing of its body is read before there is room for it."""
    ingest = request.app[INGEST]
    # The head is here, the body may take long: agents compare their clock with this one.
    received_ns = ingest.now_ns()
    agent = principal(request).name
    if request.content_type != BATCH_TYPE:
        raise Refused(415, f"found {request.content_type}, allowed is {BATCH_TYPE}")
    bound = request[ROUTE].body_limit
    length = request.content_length
    try:
        with ingest.admission.place(agent, bound if length is None else min(length, bound)):
            body = await read_body(request, encodings=_ENCODINGS)
            gzipped = request.headers.get("Content-Encoding", "identity").lower() == "gzip"
            taken = await ingest.take(agent, body, gzipped=gzipped, received_ns=received_ns)
    except BusyError as error:
        raise overloaded(
            str(error), math.ceil(error.retry_after_s), 429 if error.mine else 503
        ) from None
    except BodyError as error:
        raise _bad(error) from None
    except LogError as error:
        # Why is the operator's business; it is in the log's own health and in its file's name.
        full = isinstance(error, LogFullError)
        raise overloaded(
            "the log cannot take events now", _FULL_RETRY_S if full else _LOG_RETRY_S
        ) from error
    agents = request.app.get(AGENTS)
    if agents is not None:
        agents.heard(agent)
    return reply(taken)


def _bad(error: BodyError) -> Refused:
    status = 400
    if isinstance(error, WrongAgentError):
        status = 403
    elif isinstance(error, BodyTooLargeError):
        status = 413
    return Refused(status, "the batch cannot be taken in", errors=str(error).splitlines())
