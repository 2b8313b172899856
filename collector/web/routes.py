"""The table of all routes: router, authorisation and the API's description come from it.

How to add one
--------------
1. Write the handler in a module of its part, ``collector/web/<part>.py``, which imports nothing
   from this one::

       CUSTOMERS: "web.AppKey[CustomerService]" = web.AppKey("customers", CustomerService)

       class Listing(msgspec.Struct):            # the query string; unknown ones are refused
           limit: Annotated[int, msgspec.Meta(ge=1, le=1000, description="...")] = 100

       async def read(request: web.Request) -> web.Response:
           service = request.app[CUSTOMERS]      # put there by whoever builds the application
           listing = read_query(request, Listing)
           found = await service.find(request.match_info["name"])
           if found is None:
               raise not_found()                 # every error is raised, as problems.Refused
           return reply(found, headers={"ETag": found.etag})

2. Add a row here. The guard has checked token and role before the handler runs;
   ``handling.principal(request)`` says who asks. Paths whose parameter names an agent or customer
   use ``own(Kind.AGENT)`` or ``own(Kind.CUSTOMER)``: others get 403 without a look. Where only the
   handler can know whose an object is (``/canaries/{id}``), it raises ``not_found()`` for another's
   just as for one that does not exist.
3. Bodies: ``read_json(request, Type)`` and ``read_body(request)`` hold to the route's
   ``body_limit`` and to a time; a handler that streams reads ``request.content`` and bounds it
   itself. Nothing is ever decompressed before a handler sees it.
4. ``build_app(..., services={CUSTOMERS: service})``. A route exists where all its ``needs`` are
   among the services, so a test starts just its own part::

       from tests.collector.web.servers import bearer, started

       async with started({CUSTOMERS: service}) as client:
           response = await client.get("/api/v1/customers", headers=bearer("operator-ann"))

5. Metrics: ``web_services.metrics.registry.register(collector)``. Health:
   ``web_services.health.add("log", lambda: Finding(ok=True, detail={...}))``.

``tests/collector/web`` holds every row to what it says: roles against all sorts of tokens, bodies
and answers against the description (schemathesis).
"""

from typing import Any

from collector.control.agents import AgentList, AgentView
from collector.control.principal import Kind
from collector.control.tokens import TokenInfo
from collector.rollup.check_queries import RelayQueue
from collector.web import (
    agents,
    assignments,
    audit,
    canaries,
    checks,
    customers,
    events,
    health,
    metrics,
    openapi,
    series,
    tokens,
)
from collector.web.route import EVERYBODY, Param, Roles, Route, own
from probes.contract.wire import (
    BATCH_TYPE,
    MAX_COMPRESSED_BYTES,
    AssignmentDocument,
    Beat,
    BeatReply,
    Ingested,
)

_CHANGES = {
    409: "It is in a file that the API does not change",
    412: "It has changed since it was read, or exists",
    422: "What was sent cannot come into force",
    428: "The version that is changed was not named",
}
_ROLLUPS_AWAY = {503: "The rollups cannot be read now"}
_NO_AGENTS: Roles = {Kind.OPERATOR: None, Kind.CUSTOMER: None}
_CUSTOMER_BYTES = 256 << 10

ROUTES: tuple[Route, ...] = (
    Route(
        "GET",
        "/api/v1/health",
        health.show,
        "Whether the collector does its work; operators are told what does not",
        open=True,
        roles=EVERYBODY,
        response=health.HealthReport,
    ),
    Route(
        "GET",
        "/metrics",
        metrics.show,
        "Metrics in Prometheus' text format",
        response=str,
        response_type="text/plain",
    ),
    Route(
        "GET",
        "/api/v1/openapi.json",
        openapi.show,
        "This description",
        open=True,
        roles=EVERYBODY,
        response=dict[str, Any],
    ),
    Route(
        "GET",
        "/api/v1/tokens",
        tokens.show_all,
        "All tokens that ever were; no secrets",
        needs=(tokens.TOKENS,),
        response=tokens.TokenList,
    ),
    Route(
        "POST",
        "/api/v1/tokens",
        tokens.make,
        "Make a token; its text is shown this once",
        needs=(tokens.TOKENS,),
        request=tokens.NewToken,
        response=tokens.MadeToken,
        status=201,
    ),
    Route(
        "DELETE",
        "/api/v1/tokens/{id}",
        tokens.revoke,
        "Revoke a token, for good",
        needs=(tokens.TOKENS,),
        response=TokenInfo,
    ),
    Route(
        "GET",
        "/api/v1/agents",
        agents.show_all,
        "The fleet: who is up, down or never came, and how far each is behind",
        needs=(agents.AGENTS,),
        response=AgentList,
    ),
    Route(
        "GET",
        "/api/v1/agents/{name}",
        agents.show_one,
        "One agent",
        roles=own(Kind.AGENT),
        needs=(agents.AGENTS,),
        response=AgentView,
    ),
    Route(
        "POST",
        "/api/v1/agents/{name}/beat",
        agents.beat,
        "An agent says that it lives and how far behind its report is",
        # Operators have no business to say that an agent lives.
        roles={Kind.AGENT: "name"},
        needs=(agents.AGENTS,),
        request=Beat,
        response=BeatReply,
        body_limit=8 << 20,
    ),
    Route(
        "GET",
        "/api/v1/agents/{name}/assignment",
        assignments.show,
        "What an agent has to measure; with If-None-Match and wait, once that changes",
        roles=own(Kind.AGENT),
        needs=(assignments.CONFIG,),
        query=assignments.Wait,
        headers=(Param("If-None-Match", "The version that the caller has"),),
        response=AssignmentDocument,
        statuses={304: "The caller has the present version"},
    ),
    Route(
        "POST",
        "/api/v1/events",
        events.take,
        "An agent hands over a batch of events, gzipped or plain; answered when it is on the disk",
        # Each batch must be its sender's own, which its header says.
        roles={Kind.AGENT: None},
        needs=(events.INGEST,),
        request=str,
        request_type=BATCH_TYPE,
        response=Ingested,
        headers=(Param("Content-Encoding", "gzip, or left out"),),
        body_limit=MAX_COMPRESSED_BYTES,
    ),
    Route(
        "GET",
        "/api/v1/customers",
        customers.show_all,
        "The customers in force: all for operators, its own for a customer",
        roles=_NO_AGENTS,
        needs=(customers.CUSTOMERS,),
        response=customers.CustomerList,
    ),
    Route(
        "GET",
        "/api/v1/customers/{name}",
        customers.show_one,
        "One customer in the words of its file, its version in the ETag",
        roles=own(Kind.CUSTOMER),
        needs=(customers.CUSTOMERS,),
        response=customers.CustomerView,
        statuses={422: "Its file is broken"},
    ),
    Route(
        "PUT",
        "/api/v1/customers/{name}",
        customers.put,
        "Create or replace a customer and put it in force",
        roles=own(Kind.CUSTOMER),
        needs=(customers.CUSTOMERS,),
        request=dict[str, Any],
        response=customers.CustomerView,
        headers=(
            Param("If-Match", "The version that is replaced"),
            Param("If-None-Match", "* for a new customer"),
        ),
        statuses={201: "It is new", **_CHANGES},
        body_limit=_CUSTOMER_BYTES,
    ),
    Route(
        "DELETE",
        "/api/v1/customers/{name}",
        customers.delete,
        "Remove a customer",
        needs=(customers.CUSTOMERS,),
        headers=(Param("If-Match", "The version that is removed; 428 without"),),
        status=204,
        statuses=_CHANGES,
    ),
    Route(
        "POST",
        "/api/v1/customers/{name}/check",
        customers.check,
        "What would be wrong with a customer, were it put; nothing is written",
        roles=own(Kind.CUSTOMER),
        needs=(customers.CUSTOMERS,),
        request=dict[str, Any],
        response=customers.Judged,
        body_limit=_CUSTOMER_BYTES,
    ),
    Route(
        "GET",
        "/api/v1/audit",
        audit.show,
        "Who did what and when, newest first",
        needs=(audit.AUDIT,),
        query=audit.Page,
        response=audit.AuditPage,
    ),
    Route(
        "GET",
        "/api/v1/series",
        series.show,
        "What the canaries say, added up per minute, hour or day",
        roles=_NO_AGENTS,
        needs=(series.ROLLUP,),
        query=series.SeriesQuery,
        response=series.SeriesAnswer,
        statuses=_ROLLUPS_AWAY,
    ),
    Route(
        "GET",
        "/api/v1/paths",
        series.show_paths,
        "Every path: its newest canaries and its last 15 minutes",
        roles=_NO_AGENTS,
        needs=(series.ROLLUP,),
        query=series.PathsQuery,
        response=series.PathsAnswer,
        statuses=_ROLLUPS_AWAY,
    ),
    Route(
        "GET",
        "/api/v1/canaries/{id}",
        canaries.show,
        "The whole story of one canary",
        roles=_NO_AGENTS,
        needs=(series.ROLLUP,),
        response=canaries.CanaryStory,
        statuses={503: "Rollups or log cannot be read now"},
    ),
    Route(
        "GET",
        "/api/v1/checks",
        checks.show,
        "What agents see from the relays' own side, and since when",
        needs=(series.ROLLUP,),
        query=checks.ChecksQuery,
        response=checks.ChecksAnswer,
        statuses=_ROLLUPS_AWAY,
    ),
    Route(
        "GET",
        "/api/v1/relays/{name}/queue",
        checks.show_queue,
        "A relay's queue at the last look, and the canaries that wait in it",
        needs=(series.ROLLUP,),
        response=RelayQueue,
        statuses=_ROLLUPS_AWAY,
    ),
)
