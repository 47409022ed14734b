"""What can be read without a token: the index and the OpenAPI document."""

from collections.abc import Awaitable, Callable
from functools import cache
from typing import Final

import orjson
from starlette.types import Receive, Scope, Send

from services.query.http.openapi import document
from shared.problems import NOT_FOUND, Problem, require_reading, send_bytes

_FOR_A_WHILE: Final = [(b"cache-control", b"public, max-age=300")]
_INDEX: Final = orjson.dumps(
    {
        "service": "query",
        "documentation": "/docs",
        "openapi": "/openapi.json",
        "live": {"serverSentEvents": "/orders/stream", "webSocket": "/ws"},
        "health": "/health/ready",
        "metrics": "/metrics",
    }
)


class Published:
    """A JSON document that rarely changes."""

    def __init__(self, body: Callable[[], bytes]) -> None:
        self._body = body

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        require_reading(scope)
        await send_bytes(send, 200, self._body(), headers=_FOR_A_WHILE, head=scope["method"] == "HEAD")


@cache
def _openapi() -> bytes:
    return orjson.dumps(document())


INDEX: Final[Callable[[Scope, Receive, Send], Awaitable[None]]] = Published(lambda: _INDEX)
OPENAPI: Final[Callable[[Scope, Receive, Send], Awaitable[None]]] = Published(_openapi)


async def nothing(scope: Scope, receive: Receive, send: Send) -> None:
    """Answers requests that no route matches."""
    raise Problem(NOT_FOUND, "There is no such page.")
