"""Endpoints for operators in every process: `/health/live`, `/health/ready`, `/metrics`."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import Final

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_LATEST
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from shared.problems import (
    NOT_FOUND,
    UNAVAILABLE,
    Problem,
    require_reading,
    retry_after_header,
    send_bytes,
)
from shared.telemetry.requests import name_route

Check = Callable[[], Awaitable[str | None]]
"""Checks a dependency: None if it is available, else the reason, safe to show to anyone."""

_CHECK_SECONDS: Final = 2.0
_ALIVE: Final = b'{"status":"alive"}'
_READY: Final = b'{"status":"ready"}'


class Readiness:
    """Whether the process can do its work: every check by name, and whether it is stopping."""

    def __init__(self, checks: Mapping[str, Check]) -> None:
        self._checks = checks
        self._leaving: set[asyncio.Future[str | None]] = set()
        self.stopping = False

    async def reasons(self) -> dict[str, str]:
        """What is unavailable and why, by the check's name; empty if ready."""
        if self.stopping:
            return {"process": "stopping"}
        answers = await asyncio.gather(*(self._ask(check) for check in self._checks.values()))
        return {
            name: answer for name, answer in zip(self._checks, answers, strict=True) if answer is not None
        }

    async def _ask(self, check: Check) -> str | None:
        asking = asyncio.ensure_future(check())
        if (await asyncio.wait({asking}, timeout=_CHECK_SECONDS))[0]:
            return asking.result()
        # not awaited: a cancelled driver first tries to notify its server, for ten seconds
        self._leaving.add(asking)
        asking.add_done_callback(self._left)
        asking.cancel()
        return "it does not answer"

    def _left(self, asking: asyncio.Future[str | None]) -> None:
        self._leaving.discard(asking)
        if not asking.cancelled():
            asking.exception()  # retrieved, or asyncio would log that it never was


async def nothing_here(scope: Scope, receive: Receive, send: Send) -> None:
    """The application of a process that has only the operators' endpoints."""
    if scope["type"] == "http":
        await Problem(NOT_FOUND, "There is no such page.").respond(scope, send)


def _closing(send: Send) -> Send:
    """Closes the connection after the response: kept alive, it would be reset under the next request."""

    def closing(message: Message) -> Awaitable[None]:
        if message["type"] == "http.response.start":
            message["headers"] = [*message.get("headers", ()), (b"connection", b"close")]
        return send(message)

    return closing


class Operations:
    """ASGI middleware that answers operators and passes everything else on to `app`."""

    def __init__(self, app: ASGIApp, readiness: Readiness, registry: CollectorRegistry) -> None:
        self.app = app
        self._readiness = readiness
        self._registry = registry
        self._endpoints: Final = {
            "/health/live": self._live,
            "/health/ready": self._ready,
            "/metrics": self._metrics,
        }

    def __call__(self, scope: Scope, receive: Receive, send: Send) -> Awaitable[None]:
        if self._readiness.stopping:
            send = _closing(send)
        endpoint = self._endpoints.get(scope["path"]) if scope["type"] == "http" else None
        if endpoint is None:
            return self.app(scope, receive, send)
        return self._answer(endpoint, scope, send)

    @staticmethod
    async def _answer(endpoint: Callable[[Scope, Send], Awaitable[None]], scope: Scope, send: Send) -> None:
        name_route(scope, scope["path"])
        try:
            require_reading(scope)
        except Problem as problem:
            await problem.respond(scope, send)
            return
        await endpoint(scope, send)

    async def _live(self, scope: Scope, send: Send) -> None:
        await self._send(scope, send, _ALIVE)

    async def _ready(self, scope: Scope, send: Send) -> None:
        reasons = await self._readiness.reasons()
        if reasons:
            problem = Problem(
                UNAVAILABLE,
                "Not ready: " + ", ".join(f"{name}: {why}" for name, why in reasons.items()) + ".",
                headers=[retry_after_header(1), (b"cache-control", b"no-store")],
                reasons=reasons,
            )
            await problem.respond(scope, send)
            return
        await self._send(scope, send, _READY)

    async def _metrics(self, scope: Scope, send: Send) -> None:
        body = generate_latest(self._registry)
        await self._send(scope, send, body, CONTENT_TYPE_LATEST.encode())

    @staticmethod
    async def _send(scope: Scope, send: Send, body: bytes, content_type: bytes = b"application/json") -> None:
        await send_bytes(
            send,
            200,
            body,
            content_type=content_type,
            headers=[(b"cache-control", b"no-store")],
            head=scope["method"] == "HEAD",
        )
