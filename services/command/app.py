"""Wires the command API: settings in, an application out."""

import asyncio
from typing import Final

from prometheus_client import CollectorRegistry
from starlette.types import ASGIApp

from services.command.http.routes import routes
from services.command.settings import ApiSettings
from services.command.store.event_store import EventStore
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

_LEAVING_SECONDS: Final = 1.0
_ALLOWED = ["Authorization", "Content-Type", "Idempotency-Key", "If-Match", "X-Request-Id", "traceparent"]
_EXPOSED = ["Location", "Retry-After", "X-Request-Id", "Idempotent-Replayed", "WWW-Authenticate"]


def application(
    settings: ApiSettings,
    store: EventStore,
    authenticator: Authenticator,
    readiness: Readiness,
    registry: CollectorRegistry,
) -> ASGIApp:
    """The whole ASGI application, built from the innermost layer outwards."""
    app: ASGIApp = ProblemResponses(routes(store, authenticator, registry))
    app = Operations(app, readiness, registry)
    if settings.cors_origins:
        app = AllowedOrigins(
            app,
            allow_origins=settings.cors_origins,
            allow_methods=["GET", "HEAD", "POST", "PUT", "DELETE"],
            allow_headers=_ALLOWED,
            expose_headers=_EXPOSED,
        )
    return Observed(app, RequestMetrics(registry))


def main() -> None:
    """Run the API until a signal stops it."""
    settings = read_settings(ApiSettings)
    configure_logging(settings.log_level, settings.log_format, service="command")
    configure_tracing("command")
    collect_rarely()
    run(_run(settings))


async def _run(settings: ApiSettings) -> None:
    registry = new_registry()
    stopping = stop_signal()
    url = settings.postgres_url.get_secret_value()
    async with (
        Authenticator.of(settings) as authenticator,
        EventStore(url, registry, writers=settings.command_writers) as store,
    ):

        async def keys_missing() -> str | None:
            return authenticator.missing()

        readiness = Readiness({"postgres": store.why_not_ready, "tokens": keys_missing})
        app = application(settings, store, authenticator, readiness, registry)
        async with serve(app, settings.host, settings.port):
            await stopping.wait()
            readiness.stopping = True
            # let load balancers notice: meanwhile commands are refused, but connections are still accepted
            await asyncio.gather(store.drain(), asyncio.sleep(_LEAVING_SECONDS))
