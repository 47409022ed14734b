"""Observability of a process: request ids, traces, metrics, logs, health.

A process that serves HTTP wraps its application once, outermost first:

    registry = new_registry()
    configure_logging(settings.log_level, settings.log_format, service="query")
    configure_tracing("query")            # spans, if the environment names a collector
    app = Observed(                       # X-Request-Id, traceparent, metrics, access log
        Operations(                       # /health/live, /health/ready, /metrics
            ProblemResponses(routes),     # Problem -> application/problem+json
            Readiness({"mongodb": ask_mongodb}),
            registry,
        ),
        RequestMetrics(registry),
    )

Inside it, `request_id(scope)` and `traceparent(scope)` are set for every request.
"""

from shared.telemetry.logs import LogFormat, LogLevel, configure_logging
from shared.telemetry.metrics import RequestMetrics, new_registry
from shared.telemetry.operations import Operations, Readiness
from shared.telemetry.requests import Observed, name_route, request_id, traceparent
from shared.telemetry.trace import new_traceparent, parse_traceparent
from shared.telemetry.tracing import configure_tracing

__all__ = [
    "LogFormat",
    "LogLevel",
    "Observed",
    "Operations",
    "Readiness",
    "RequestMetrics",
    "configure_logging",
    "configure_tracing",
    "name_route",
    "new_registry",
    "new_traceparent",
    "parse_traceparent",
    "request_id",
    "traceparent",
]
