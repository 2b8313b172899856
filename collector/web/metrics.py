"""The collector's own metrics, and ``GET /metrics`` for Prometheus."""

from aiohttp import web
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest

_BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)


class Metrics:
    """A registry of the collector's own; parts register their collectors with ``registry``."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)
        prefix = "mailcanary_collector_http"
        self.requests = Counter(
            f"{prefix}_requests",
            "Requests answered",
            ["method", "route", "status"],
            registry=self.registry,
        )
        self.seconds = Histogram(
            f"{prefix}_request_duration_seconds",
            "From a request's head to its answer",
            ["route"],
            buckets=_BUCKETS,
            registry=self.registry,
        )
        self.in_progress = Gauge(
            f"{prefix}_requests_in_progress", "Requests being handled", registry=self.registry
        )
        self.auth_failures = Counter(
            f"{prefix}_auth_failures",
            "Requests without a good token where one is needed",
            registry=self.registry,
        )
        self.malformed = Counter(
            f"{prefix}_malformed_requests", "What was no HTTP", registry=self.registry
        )
        self.connections_refused = Counter(
            f"{prefix}_connections_refused",
            "Connections turned away since there were too many, in all or from one address",
            ["why"],
            registry=self.registry,
        )
        for why in ("all", "address"):
            self.connections_refused.labels(why)


METRICS: "web.AppKey[Metrics]" = web.AppKey("metrics", Metrics)


async def show(request: web.Request) -> web.Response:
    """Everything that is registered, in Prometheus' text format."""
    body = generate_latest(request.app[METRICS].registry)
    return web.Response(body=body, headers={"Content-Type": CONTENT_TYPE_LATEST})
