"""Wires the query service: settings in, an application out."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, Final

from prometheus_client import CollectorRegistry, Gauge
from starlette.types import ASGIApp

from services.query.arrivals import Arrivals
from services.query.documents.connecting import Connection
from services.query.documents.customers import Customers
from services.query.documents.feed import Feed
from services.query.documents.freshness import Freshness
from services.query.documents.generations import LiveGeneration
from services.query.documents.history import History
from services.query.documents.orders import Orders
from services.query.documents.products import Products
from services.query.documents.sales import Sales
from services.query.http.customers import CustomerQueries
from services.query.http.orders import OrderQueries
from services.query.http.products import ProductQueries
from services.query.http.reports import ReportQueries
from services.query.http.routes import Queries, router
from services.query.live.hub import Hub
from services.query.live.messages import Namer
from services.query.live.streams import LiveStreams
from services.query.settings import QuerySettings
from shared.auth import Authenticator
from shared.cors import AllowedOrigins
from shared.problems import ProblemResponses
from shared.process import collect_rarely, run, serve, stop_signal
from shared.settings import read_settings
from shared.telemetry import (
    Observed,
    Operations,
    Readiness,
    RequestMetrics,
    configure_logging,
    configure_tracing,
    new_registry,
)

_ALLOWED = [
    "Authorization",
    "If-None-Match",
    "Last-Event-ID",
    "Prefer",
    "X-Request-Id",
    "traceparent",
]
_EXPOSED = [
    "ETag",
    "Preference-Applied",
    "Retry-After",
    "WWW-Authenticate",
    "X-Read-Model-Lag-Ms",
    "X-Request-Id",
]


SOCKETS: Final[dict[str, Any]] = {
    "ws": "auto",
    # a compressor takes more memory than everything else a connection holds
    "ws_per_message_deflate": False,
    "ws_max_size": 65_536,
    "ws_ping_interval": 10.0,
    # a slow reader answers pings late, but should see the close code for being too slow
    "ws_ping_timeout": 60.0,
}


@dataclass(frozen=True, slots=True)
class Service:
    """A running query service."""

    app: ASGIApp
    readiness: Readiness
    following: asyncio.Task[None]
    streams: LiveStreams
    arrivals: Arrivals

    def stop(self) -> None:
        """Answer waiting requests and end the streams, which would never end by themselves."""
        self.readiness.stopping = True
        self.arrivals.stop()
        self.streams.stop()


@asynccontextmanager
async def service(settings: QuerySettings) -> AsyncIterator[Service]:
    """The application and its background readers, running while entered."""
    registry = new_registry()
    url = settings.mongodb_url.get_secret_value()
    async with (
        Authenticator.of(settings) as authenticator,
        Connection(url, settings.mongodb_database) as connection,
    ):
        live, feed, arrivals = LiveGeneration(connection), Feed(connection), Arrivals()
        async with (
            Orders(live) as orders,
            Customers(live) as customers,
            Freshness(connection) as freshness,
            Hub(feed, live, arrivals, customers.names) as hub,
        ):
            streams = LiveStreams(hub, feed, Namer(customers.names))
            queries = Queries(
                orders=OrderQueries(orders, History(live), arrivals, customers.names),
                customers=CustomerQueries(customers, arrivals),
                products=ProductQueries(Products(live), arrivals),
                reports=ReportQueries(Sales(live)),
            )

            async def keys_missing() -> str | None:
                return authenticator.missing()

            _gauge(registry, "query_live_streams", "Open WebSockets and event streams.", hub.__len__)
            _gauge(registry, "query_waiting_requests", "Requests waiting for a version.", arrivals.__len__)
            _gauge(registry, "query_lag_milliseconds", "As in X-Read-Model-Lag-Ms.", freshness.lag_ms)
            readiness = Readiness({"mongodb": live.why_not_ready, "tokens": keys_missing})
            routes = router(queries, streams, authenticator, freshness.lag_ms, freshness.beginning)
            app = Operations(ProblemResponses(routes), readiness, registry)
            assert hub.following is not None
            yield Service(_observed(app, settings, registry), readiness, hub.following, streams, arrivals)


def _gauge(registry: CollectorRegistry, name: str, about: str, value: Callable[[], int]) -> None:
    """A gauge that is evaluated at each scrape."""
    Gauge(name, about, registry=registry).set_function(value)


def _observed(app: ASGIApp, settings: QuerySettings, registry: CollectorRegistry) -> ASGIApp:
    if settings.cors_origins:
        app = AllowedOrigins(
            app,
            allow_origins=settings.cors_origins,
            allow_methods=["GET", "HEAD"],
            allow_headers=_ALLOWED,
            expose_headers=_EXPOSED,
        )
    return Observed(app, RequestMetrics(registry))


def main() -> None:
    """Run the service until a signal stops it."""
    settings = read_settings(QuerySettings)
    configure_logging(settings.log_level, settings.log_format, service="query")
    configure_tracing("query")
    run(_run(settings))


async def _run(settings: QuerySettings) -> None:
    stopping = stop_signal()
    # a full collection walks all cached orders, which takes 60 ms; hardly anything here is cyclic
    collect_rarely()
    async with service(settings) as running, serve(running.app, settings.host, settings.port, **SOCKETS):
        stop = asyncio.create_task(stopping.wait(), name="stop")
        await asyncio.wait([stop, running.following], return_when=asyncio.FIRST_COMPLETED)
        running.stop()
        stop.cancel()
    if running.following.done() and not running.following.cancelled():
        # changes are no longer reported to anyone: fail, so that the process is restarted
        running.following.result()
