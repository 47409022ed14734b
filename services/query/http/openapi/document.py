"""Builds the document from the table of operations."""

from collections.abc import Iterable, Sequence
from typing import Any, Final

from services.query.http.openapi.examples import EXAMPLES
from services.query.http.openapi.operations import OPERATIONS, Operation
from services.query.http.openapi.parameters import HEADERS, PARAMETERS
from services.query.http.openapi.schemas import LIVE_CURSOR, SCHEMAS
from shared.problems import (
    BAD_REQUEST,
    INTERNAL,
    METHOD_NOT_ALLOWED,
    UNAUTHENTICATED,
    UNAVAILABLE,
    VALIDATION,
    Kind,
)

_EVERY: Final = ("requestId", "traceparent")
_READ: Final = ("X-Request-Id", "X-Read-Model-Lag-Ms", "Cache-Control", "ETag")
_LIVE_NOTES: Final = (
    "A stream starts with its cursor. Each message is sent once, per order in version order; when it "
    "arrives, `GET /orders/{orderId}` shows that version. Customers get only their own orders. The stream "
    "ends when the token expires; a slow reader is cut off. Resume with the `id` of the last message."
)
_SOCKET_NOTES: Final = (
    " Pass the token in `Authorization` or as the pair of subprotocols `bearer, <token>`. The first frame is "
    '`{"id","type":"ready"}`, or `reset` if the cursor cannot be used. Close codes: 4401 token expired, '
    "1013 too slow or store unavailable, 1012 restart."
)


def document() -> dict[str, Any]:
    """The whole document as plain JSON values."""
    paths = {operation.path: _path(operation) for operation in OPERATIONS}
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Orders: queries",
            "version": "1.0.0",
            "description": "Reads documents that follow the events within milliseconds.",
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "servers": [{"url": "/"}],
        "security": [{"bearer": []}],
        "paths": {**paths, **_open_paths()},
        "components": {
            "securitySchemes": {"bearer": {"type": "http", "scheme": "bearer", "bearerFormat": "JWT"}},
            "schemas": SCHEMAS,
            "parameters": PARAMETERS,
            "headers": HEADERS,
        },
    }


def _path(operation: Operation) -> dict[str, Any]:
    if operation.path == "/ws":
        return {"get": _operation(operation, "")}
    return {"get": _operation(operation, ""), "head": _operation(operation, "Headers")}


def _operation(operation: Operation, suffix: str) -> dict[str, Any]:
    live = operation.tag == "live"
    names = (*operation.parameters, *(() if live else ("ifNoneMatch",)), *_EVERY)
    described: dict[str, Any] = {
        "operationId": operation.name + suffix,
        "summary": operation.summary,
        "tags": [operation.tag],
        "parameters": [{"$ref": f"#/components/parameters/{name}"} for name in names],
        "responses": {**_found(operation, with_body=not suffix), **_problems(_kinds(operation))},
    }
    if live:
        described["description"] = _LIVE_NOTES + (_SOCKET_NOTES if operation.path == "/ws" else "")
    return described


def _kinds(operation: Operation) -> Iterable[Kind]:
    yield from (BAD_REQUEST, UNAUTHENTICATED, METHOD_NOT_ALLOWED, VALIDATION, INTERNAL, UNAVAILABLE)
    yield from operation.problems


def _found(operation: Operation, *, with_body: bool) -> dict[str, Any]:
    schema = {"$ref": f"#/components/schemas/{operation.schema}"}
    example = EXAMPLES[operation.schema]
    if operation.path == "/ws":
        frames = {"application/json": {"schema": schema, "example": example}}
        described = {"description": "The socket is open; each frame is one such message.", "content": frames}
        return {"101": {**described, "headers": _headers(("X-Request-Id",))}}
    if operation.tag == "live":
        text = {"schema": {"type": "string"}, "example": f"id: {LIVE_CURSOR}\n\n: heartbeat\n\n"}
        content = {"content": {operation.media_type: text}} if with_body else {}
        note = "The stream. The `data:` of each event is a `Message`; a comment is sent every 10 seconds."
        return {"200": {"description": note, "headers": _headers(_READ[:2]), **content}}
    names = (*_READ, "Preference-Applied") if "prefer" in operation.parameters else _READ
    content = {"content": {operation.media_type: {"schema": schema, "example": example}}} if with_body else {}
    return {
        "200": {"description": operation.summary + ".", "headers": _headers(names), **content},
        "304": {"description": "The caller already has it.", "headers": _headers(names)},
    }


def _headers(names: Iterable[str]) -> dict[str, Any]:
    return {name: {"$ref": f"#/components/headers/{name}"} for name in names}


def _problems(kinds: Iterable[Kind]) -> dict[str, Any]:
    by_status: dict[int, list[Kind]] = {}
    for kind in kinds:
        by_status.setdefault(kind.status, []).append(kind)
    return {str(status): _problem(found) for status, found in sorted(by_status.items())}


def _problem(kinds: Sequence[Kind]) -> dict[str, Any]:
    codes = {"properties": {"code": {"enum": [kind.code for kind in kinds]}}}
    names = {
        401: ("X-Request-Id", "WWW-Authenticate"),
        404: ("X-Request-Id", "X-Read-Model-Lag-Ms"),
        405: ("X-Request-Id", "Allow"),
        503: ("X-Request-Id", "X-Read-Model-Lag-Ms", "Retry-After"),
    }
    return {
        "description": "; ".join(f"`{kind.code}`: {kind.title}" for kind in kinds) + ".",
        "headers": _headers(names.get(kinds[0].status, ("X-Request-Id",))),
        "content": {
            "application/problem+json": {
                "schema": {"allOf": [{"$ref": "#/components/schemas/Problem"}, codes]},
                "examples": {kind.code: {"value": _example(kind)} for kind in kinds},
            }
        },
    }


def _example(kind: Kind) -> dict[str, Any]:
    example: dict[str, Any] = {
        "type": kind.type,
        "title": kind.title,
        "status": kind.status,
        "detail": f"{kind.title}.",
        "instance": "/orders",
        "code": kind.code,
    }
    if kind is VALIDATION:
        example["errors"] = [{"pointer": "/limit", "detail": "it must be a whole number from 1 to 100"}]
    return example


def _open(summary: str, name: str, media_type: str = "application/json", *kinds: Kind) -> dict[str, Any]:
    ok = {
        "description": summary + ".",
        "headers": _headers(("X-Request-Id",)),
        "content": {media_type: {"schema": {}}},
    }
    return {
        "get": {
            "operationId": name,
            "summary": summary,
            "tags": ["operations"],
            "security": [],
            "responses": {"200": ok, **_problems((METHOD_NOT_ALLOWED, *kinds))},
        }
    }


def _open_paths() -> dict[str, Any]:
    return {
        "/openapi.json": _open("This document", "openapi"),
        "/docs": _open("This document as a page", "docs", "text/html"),
        "/": _open("Where to find everything", "index"),
        "/health/live": _open("Whether the process is alive", "live"),
        "/health/ready": _open("Whether queries can be answered", "ready", "application/json", UNAVAILABLE),
        "/metrics": _open("Metrics for Prometheus", "metrics", "text/plain"),
    }
