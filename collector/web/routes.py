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

from collector.web import health, metrics
from collector.web.route import EVERYBODY, Route

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
)
