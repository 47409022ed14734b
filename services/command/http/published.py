"""What is served without a token: the index, the API documents, the event schemas."""

from functools import cache
from typing import Final

import orjson
from starlette.types import Receive, Scope, Send

from services.command.http.openapi import document
from shared.problems import NOT_FOUND, Problem, send_bytes
from shared.schemas import asyncapi_document, asyncapi_page, schema

_FOR_A_WHILE: Final = [(b"cache-control", b"public, max-age=300")]
_PAGE_POLICY: Final = b"default-src 'none'; style-src 'unsafe-inline'; img-src data:; frame-ancestors 'none'"
_INDEX: Final = orjson.dumps(
    {
        "service": "command",
        "documentation": "/docs",
        "openapi": "/openapi.json",
        "asyncapi": "/asyncapi.json",
        "topics": "/docs/topics",
        "schemas": "/schemas/{type}/{version}",
        "health": "/health/ready",
        "metrics": "/metrics",
    }
)


async def _send(scope: Scope, send: Send, body: bytes, content_type: bytes = b"application/json") -> None:
    head = scope["method"] == "HEAD"
    await send_bytes(send, 200, body, content_type=content_type, headers=_FOR_A_WHILE, head=head)


async def index(scope: Scope, receive: Receive, send: Send) -> None:
    """Links to the documentation, schemas, health and metrics."""
    await _send(scope, send, _INDEX)


@cache
def _openapi() -> bytes:
    return orjson.dumps(document())


async def openapi(scope: Scope, receive: Receive, send: Send) -> None:
    """The OpenAPI 3.1 document of this API."""
    await _send(scope, send, _openapi())


async def asyncapi(scope: Scope, receive: Receive, send: Send) -> None:
    """The AsyncAPI 3 document of the topics."""
    await _send(scope, send, asyncapi_document())


async def topics_page(scope: Scope, receive: Receive, send: Send) -> None:
    """The AsyncAPI document as a page: no scripts, nothing fetched."""
    head = scope["method"] == "HEAD"
    headers = [*_FOR_A_WHILE, (b"content-security-policy", _PAGE_POLICY)]
    body = asyncapi_page()
    await send_bytes(send, 200, body, content_type=b"text/html; charset=utf-8", headers=headers, head=head)


async def event_schema(scope: Scope, receive: Receive, send: Send) -> None:
    """The JSON Schema of an event type's data in one version."""
    parameters = scope["path_params"]
    version = parameters["version"]
    found = None
    if version.isascii() and version.isdigit() and len(version) < 10 and not version.startswith("0"):
        found = schema(parameters["type"], int(version))
    if found is None:
        raise Problem(NOT_FOUND, "There is no such event type or version.")
    await _send(scope, send, found, b"application/schema+json")
