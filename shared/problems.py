"""Errors over HTTP: `application/problem+json` (RFC 9457) with a stable `code`.

Raise a `Problem` anywhere below `ProblemResponses` and it becomes the response:

    raise Problem(NOT_FOUND, "There is no such page.")
    raise Problem(VALIDATION, "The body has 1 error.", errors=[{"pointer": "/name", "detail": "..."}])

If several apply, the first of 401, 403, 413, 415, 400, 422, 404, 412, 409 is returned: endpoints check in
that order.
"""

import logging
from collections.abc import Awaitable, Sequence
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import quote

import orjson
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from uvicorn.protocols.utils import ClientDisconnected

MEDIA_TYPE: Final = b"application/problem+json"
Headers = Sequence[tuple[bytes, bytes]]
_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of problem: its HTTP status, its stable kebab-case code, its title."""

    status: int
    code: str
    title: str

    @property
    def type(self) -> str:
        """The URI that names it; a tag (RFC 4151), since it is a name, not an address."""
        return f"tag:orders.example,2026:problems/{self.code}"


UNAUTHENTICATED: Final = Kind(401, "unauthenticated", "A valid bearer token is required")
FORBIDDEN: Final = Kind(403, "forbidden", "Not allowed")
BODY_TOO_LARGE: Final = Kind(413, "body-too-large", "The body is too large")
UNSUPPORTED_MEDIA_TYPE: Final = Kind(415, "unsupported-media-type", "The body must be application/json")
BAD_REQUEST: Final = Kind(400, "bad-request", "The request cannot be read")
MALFORMED_JSON: Final = Kind(400, "malformed-json", "The body is not JSON")
VALIDATION: Final = Kind(422, "validation-failed", "The request is invalid")
NOT_FOUND: Final = Kind(404, "not-found", "Not found")
METHOD_NOT_ALLOWED: Final = Kind(405, "method-not-allowed", "Method not allowed")
HEAD_TOO_LARGE: Final = Kind(431, "head-too-large", "The request line and headers are too large")
INTERNAL: Final = Kind(500, "internal-error", "Internal error")
UNAVAILABLE: Final = Kind(503, "unavailable", "A required dependency is unavailable")
OVERLOADED: Final = Kind(503, "overloaded", "Too busy to handle the request")


class Problem(Exception):  # noqa: N818 - it is what RFC 9457 calls it
    """A problem to be reported to the caller. `extra` members appear next to the standard ones.

    `detail` is shown verbatim, so it must not contain internals (SQL, stack traces, host names).
    """

    def __init__(self, kind: Kind, detail: str, *, headers: Headers = (), **extra: Any) -> None:
        super().__init__(kind.code, detail)
        self.kind = kind
        self.detail = detail
        self.headers = headers
        self.extra = extra

    def body(self, instance: str) -> bytes:
        """The JSON document; `instance` is the request's path."""
        kind = self.kind
        return problem_body(kind, self.detail, instance, **self.extra)

    async def respond(self, scope: Scope, send: Send) -> None:
        """Send it as the response to the request in `scope`."""
        await send_bytes(
            send,
            self.kind.status,
            self.body(instance_of(scope)),
            content_type=MEDIA_TYPE,
            headers=self.headers,
            head=scope.get("method") == "HEAD",
        )


def unavailable(detail: str, retry_after: float = 1) -> Problem:
    """503 `unavailable`; `retry_after` in seconds, sent as a whole number, at least 1."""
    return Problem(UNAVAILABLE, detail, headers=[retry_after_header(retry_after)])


def overloaded(detail: str, retry_after: float = 1) -> Problem:
    """503 `overloaded`; `retry_after` in seconds, sent as a whole number, at least 1."""
    return Problem(OVERLOADED, detail, headers=[retry_after_header(retry_after)])


def retry_after_header(seconds: float) -> tuple[bytes, bytes]:
    """The `Retry-After` header: whole seconds, at least 1."""
    return b"retry-after", str(max(1, round(seconds))).encode()


def problem_body(kind: Kind, detail: str, instance: str, **extra: Any) -> bytes:
    """The JSON document of a problem, for responses that are stored before they are sent."""
    document = {
        "type": kind.type,
        "title": kind.title,
        "status": kind.status,
        "detail": detail,
        "instance": instance,
        "code": kind.code,
        **extra,
    }
    return orjson.dumps(document)


def pointer(location: Sequence[int | str]) -> str:
    """A JSON pointer (RFC 6901) to a place in a document."""
    return "".join("/" + str(part).replace("~", "~0").replace("/", "~1") for part in location)


def require_reading(scope: Scope) -> None:
    """Raise a 405 unless the method is GET or HEAD."""
    if scope["method"] not in {"GET", "HEAD"}:
        allow = [(b"allow", b"GET, HEAD")]
        raise Problem(METHOD_NOT_ALLOWED, "Allowed methods: GET, HEAD.", headers=allow)


def instance_of(scope: Scope) -> str:
    """The request's path without its query, encoded as a URI reference."""
    return quote(scope["path"], safe="/:@!$&'()*+,;=~-._")


async def send_bytes(
    send: Send,
    status: int,
    body: bytes,
    *,
    content_type: bytes = b"application/json",
    headers: Headers = (),
    head: bool = False,
) -> None:
    """Send a complete response; with `head`, its headers only."""
    start: Message = {
        "type": "http.response.start",
        "status": status,
        "headers": [
            (b"content-type", content_type),
            (b"content-length", str(len(body)).encode()),
            *headers,
        ],
    }
    await send(start)
    await send({"type": "http.response.body", "body": b"" if head else body})


class ProblemResponses:
    """ASGI middleware: responds with the problems that `app` raises; other exceptions are logged, with a 500.

    Before a WebSocket is accepted, a problem is the response to its handshake.
    """

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self.app(scope, receive, send)
            return
        started = False

        def watched(message: Message) -> Awaitable[None]:  # avoids another coroutine around each `send`
            nonlocal started
            started = True
            return send(message)

        try:
            await self.app(scope, receive, watched)
        except Problem as problem:
            if started:
                raise
            await self._answer(problem, scope, receive, send)
        except ClientDisconnected:
            raise  # the caller has gone; the server handles this
        except Exception:  # a bug: the caller gets a 500 without details, the log has them
            _log.exception("a request failed")
            if started:
                raise
            await self._answer(
                Problem(INTERNAL, "An unexpected error occurred; it has been logged."), scope, receive, send
            )

    @staticmethod
    async def _answer(problem: Problem, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            await problem.respond(scope, send)
        elif "websocket.http.response" in scope.get("extensions", {}):
            await send_handshake_refusal(problem, scope, send)
        else:
            await receive()  # websocket.connect, which must be taken before the close
            await send({"type": "websocket.close", "code": 1008, "reason": problem.kind.code})


async def send_handshake_refusal(problem: Problem, scope: Scope, send: Send) -> None:
    """Answer a WebSocket handshake with the problem instead of 101."""
    body = problem.body(instance_of(scope))
    headers = [
        (b"content-type", MEDIA_TYPE),
        (b"content-length", str(len(body)).encode()),
        *problem.headers,
    ]
    start = {"type": "websocket.http.response.start", "status": problem.kind.status, "headers": headers}
    await send(start)
    await send({"type": "websocket.http.response.body", "body": body})
