"""ASGI middleware around everything: request ids, traces, metrics and the access log."""

import logging
import random
import re
import time
from collections.abc import Awaitable
from typing import Any, Final

from opentelemetry.trace import Span, SpanKind, StatusCode
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from shared.telemetry.logs import REQUEST
from shared.telemetry.metrics import RequestMetrics
from shared.telemetry.trace import new_traceparent, parse_traceparent
from shared.telemetry.tracing import is_tracing, start_span, traceparent_of

_SANE_ID: Final = re.compile(rb"[A-Za-z0-9._~:/+=@-]{1,128}")
_METHODS: Final = frozenset({"GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "PATCH"})
_REQUEST_ID: Final = "orders.request_id"
_TRACEPARENT: Final = "orders.traceparent"
_ROUTE: Final = "orders.route"
_CLIENT_CLOSED: Final = 499
_OPERATORS: Final = ("/health/", "/metrics", "/lag")
"""Polled, so not traced."""
_log = logging.getLogger("access")


def request_id(scope: Scope) -> str:
    """The request's id: the caller's `X-Request-Id` if that is valid, else one of our own."""
    found: str = scope[_REQUEST_ID]
    return found


def traceparent(scope: Scope) -> str:
    """The request's W3C traceparent: its span's; if it has none the caller's if valid, else a new one."""
    found: str = scope[_TRACEPARENT]
    return found


def name_route(scope: Scope, template: str) -> None:
    """Set the route (`/orders/{orderId}`) that a request counts under; Starlette does so by itself."""
    scope[_ROUTE] = template


def _route(scope: Scope) -> str:
    named = scope.get(_ROUTE) or getattr(scope.get("route"), "path", None)
    return named or "(none)"


class Observed:
    """Gives each request an id and a trace, counts it and, if it failed, logs it (LOG_LEVEL=debug logs all).

    The log line has the method, route template and status; no path, query, header or body, since these may
    contain tokens or personal data.
    """

    def __init__(self, app: ASGIApp, metrics: RequestMetrics) -> None:
        self.app = app
        self._metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        kind = scope["type"]
        if kind == "lifespan":
            await self.app(scope, receive, send)
            return
        started = time.perf_counter()
        span = identify(scope)
        id_header = (b"x-request-id", scope[_REQUEST_ID].encode())
        status = _CLIENT_CLOSED

        def labelled(message: Message) -> Awaitable[None]:  # avoids another coroutine around each `send`
            nonlocal status
            what = message["type"]
            if what == "http.response.start" or what == "websocket.http.response.start":
                status = message["status"]
                message["headers"] = [*message.get("headers", ()), id_header]
            elif what == "websocket.accept":
                status = 101
                message["headers"] = [*message.get("headers", ()), id_header]
            return send(message)

        try:
            await self.app(scope, receive, labelled)
        finally:
            method = scope.get("method", "GET") if kind == "http" else "WEBSOCKET"
            if method not in _METHODS and method != "WEBSOCKET":
                method = "(other)"
            self._done(method, _route(scope), status, time.perf_counter() - started)
            if span is not None:
                _end(span, method, _route(scope), status)

    def _done(self, method: str, route: str, status: int, seconds: float) -> None:
        self._metrics.observe(method, route, status, seconds)
        level = logging.DEBUG if status < 400 else logging.INFO if status < 500 else logging.WARNING
        if route.startswith("/health/"):
            level = logging.DEBUG  # polled, and the response has the reasons
        if _log.isEnabledFor(level):
            fields: dict[str, Any] = {
                "method": method,
                "route": route,
                "status": status,
                "ms": round(seconds * 1000, 3),
            }
            _log.log(level, "%s %s %d", method, route, status, extra={"fields": fields})


def identify(scope: Scope) -> Span | None:
    """Set the request's id and trace from its headers, for its handlers and its log lines.

    Returns the request's span, which the caller must end; None if it is not traced.
    """
    given_id: bytes | None = None
    given_trace: bytes | None = None
    for name, value in scope["headers"]:
        if name == b"x-request-id":
            given_id = value
        elif name == b"traceparent":
            # several count as none
            given_trace = value if given_trace is None else b""
    sane = given_id is not None and _SANE_ID.fullmatch(given_id) is not None
    scope[_REQUEST_ID] = given_id.decode() if sane and given_id else random.randbytes(16).hex()
    parsed = parse_traceparent(given_trace) if given_trace else None
    span = None
    if is_tracing() and not scope["path"].startswith(_OPERATORS):
        span = start_span("request", parsed, SpanKind.SERVER, {"http.request.id": scope[_REQUEST_ID]})
    scope[_TRACEPARENT] = traceparent_of(span) if span is not None else parsed or new_traceparent()
    REQUEST.set((scope[_REQUEST_ID], scope[_TRACEPARENT]))
    return span


def _end(span: Span, method: str, route: str, status: int) -> None:
    span.update_name(f"{method} {route}")
    span.set_attributes(
        {"http.request.method": method, "http.route": route, "http.response.status_code": status}
    )
    if status >= 500:
        span.set_status(StatusCode.ERROR)
    span.end()
