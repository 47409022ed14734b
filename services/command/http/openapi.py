"""The OpenAPI 3.1 document, built from the table of commands and their body types."""

from collections.abc import Container, Iterable, Sequence
from typing import Any, Final

from pydantic.json_schema import models_json_schema

from services.command.http import answers
from services.command.http.bodies import KeyRequest
from services.command.http.commands import COMMANDS, Route
from services.command.http.endpoint import CONTENDED, KEY_REUSED
from services.command.http.reading import INVALID_IDEMPOTENCY_KEY, INVALID_IF_MATCH
from shared.problems import (
    BAD_REQUEST,
    BODY_TOO_LARGE,
    FORBIDDEN,
    INTERNAL,
    MALFORMED_JSON,
    NOT_FOUND,
    OVERLOADED,
    UNAUTHENTICATED,
    UNAVAILABLE,
    UNSUPPORTED_MEDIA_TYPE,
    VALIDATION,
    Kind,
)

_REF: Final = "#/components/schemas/{model}"
_SUMMARIES: Final = {
    "placeOrder": "Place an order of 1 to 100 products at current prices",
    "cancelOrder": "Cancel a pending order",
    "shipOrder": "Ship a pending order",
    "putCustomer": "Register a customer, or change its name or email address",
    "eraseCustomer": "Erase a customer: its personal data becomes unreadable everywhere",
    "putProduct": "List a product, rename it, change its price, or list it again",
    "delistProduct": "Delist a product",
}
_DOMAIN: Final[dict[str, tuple[Kind, ...]]] = {
    "placeOrder": (answers.PRODUCT_UNAVAILABLE, answers.CUSTOMER_UNKNOWN),
    "cancelOrder": (answers.ORDER_NOT_FOUND, answers.ORDER_NOT_PENDING),
    "shipOrder": (answers.ORDER_NOT_FOUND, answers.ORDER_NOT_PENDING),
    "putCustomer": (answers.CUSTOMER_ERASED,),
    "eraseCustomer": (answers.CUSTOMER_NOT_FOUND,),
    "putProduct": (),
    "delistProduct": (answers.PRODUCT_NOT_FOUND,),
}
_RESTRICTED: Final = frozenset({"shipOrder", "putCustomer", "eraseCustomer", "putProduct", "delistProduct"})
_KEPT: Final = frozenset({404, 409, 412, 422})
"""Problems with these statuses may be replayed to the same request with the same key."""
_EVERY: Final = (
    {
        "name": "X-Request-Id",
        "in": "header",
        "description": "Returned if valid, up to 128 characters; otherwise the response has a new one.",
        "schema": {"type": "string"},
    },
    {
        "name": "traceparent",
        "in": "header",
        "description": "W3C trace context; passed on with the events.",
        "schema": {"type": "string"},
    },
)
_REQUEST_ID: Final = {"X-Request-Id": {"$ref": "#/components/headers/RequestId"}}
_REPLAYED: Final = {"Idempotent-Replayed": {"$ref": "#/components/headers/IdempotentReplayed"}}
_ORDER_ID: Final = "01940000-0000-7000-8000-000000000001"
_EXAMPLES: Final = {"order": _ORDER_ID, "customer": "ada", "product": "lamp"}


def document() -> dict[str, Any]:
    """The whole document as plain JSON values."""
    bodies = sorted({route.body for route in COMMANDS if route.body} | {KeyRequest}, key=lambda b: b.__name__)
    _, schemas = models_json_schema([(body, "validation") for body in bodies], ref_template=_REF)
    paths: dict[str, dict[str, Any]] = {}
    for route in COMMANDS:
        paths.setdefault(route.path, {})[route.method.lower()] = _command(route)
    paths["/personal-data-keys"] = {"post": _keys()}
    paths.update(_open_paths())
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Orders: commands",
            "version": "1.0.0",
            "description": "Commands are answered 202 once their events are durably committed.",
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "servers": [{"url": "/"}],
        "security": [{"bearer": []}],
        "paths": paths,
        "components": {
            "securitySchemes": {"bearer": {"type": "http", "scheme": "bearer", "bearerFormat": "JWT"}},
            "schemas": {**schemas["$defs"], "Problem": _problem_schema(), "KeysAnswer": _keys_answer()},
            "headers": {
                "RequestId": {
                    "description": "The caller's, if valid.",
                    "schema": {"type": "string"},
                    "required": True,
                },
                "IdempotentReplayed": {
                    "description": "`true` if this is the response to an earlier request with the same key.",
                    "schema": {"const": "true"},
                },
                "RetryAfter": {"description": "Seconds.", "schema": {"type": "integer", "minimum": 1}},
            },
        },
    }


def _command(route: Route) -> dict[str, Any]:
    operation: dict[str, Any] = {
        "operationId": route.name,
        "summary": _SUMMARIES[route.name],
        "tags": [route.aggregate.category],
        "parameters": [*_parameters(route), *_EVERY],
        "responses": {"202": _accepted(route), **_problems(_kinds(route), kept=_KEPT)},
    }
    if route.body is not None:
        operation["requestBody"] = _body(route.body.__name__)
    return operation


def _body(name: str) -> dict[str, Any]:
    content = {"application/json": {"schema": {"$ref": _REF.format(model=name)}}}
    return {"required": True, "content": content}


def _parameters(route: Route) -> list[dict[str, Any]]:
    parameters: list[dict[str, Any]] = []
    if route.parameter is not None:
        schema = {"type": "string", "minLength": 1}
        if route.thing != "order":
            schema |= {"maxLength": 64, "pattern": "^(?!\\.{1,2}$)[A-Za-z0-9._~-]+$"}
        parameters.append(
            {
                "name": route.parameter,
                "in": "path",
                "required": True,
                "schema": schema,
                "example": _EXAMPLES[route.thing],
            }
        )
    if route.conditional:
        parameters.append(
            {
                "name": "If-Match",
                "in": "header",
                "description": 'The required stream version, as in "3"; "0": must not exist; *: must exist.',
                "schema": {"type": "string", "pattern": '^(\\*|"(0|[1-9][0-9]{0,99})")$'},
            }
        )
    parameters.append(
        {
            "name": "Idempotency-Key",
            "in": "header",
            "description": "The same request with the same key gets the same response for at least 24 hours.",
            "schema": {"type": "string", "pattern": "^[\\x21-\\x7e]{1,255}$"},
        }
    )
    return parameters


def _kinds(route: Route) -> Iterable[Kind]:
    yield UNAUTHENTICATED
    yield BODY_TOO_LARGE
    yield from (INVALID_IF_MATCH, INVALID_IDEMPOTENCY_KEY, KEY_REUSED, CONTENDED, BAD_REQUEST)
    yield VALIDATION
    if route.name in _RESTRICTED:
        yield FORBIDDEN
    if route.body is not None:
        yield from (UNSUPPORTED_MEDIA_TYPE, MALFORMED_JSON)
    if route.conditional:
        yield answers.VERSION_MISMATCH
    yield from _DOMAIN[route.name]
    yield from (UNAVAILABLE, OVERLOADED, INTERNAL)


def _accepted(route: Route) -> dict[str, Any]:
    name = f"{route.thing}Id"
    schema = {
        "type": "object",
        "required": [name, "version"],
        "properties": {name: {"type": "string"}, "version": {"type": "integer", "minimum": 1}},
    }
    example = {name: _EXAMPLES[route.thing], "version": 1}
    return {
        "description": "The events, if any, are durably committed; `version` is the stream's after them.",
        "headers": {
            **_REQUEST_ID,
            **_REPLAYED,
            "Location": {
                "description": "A path on the query service.",
                "schema": {"type": "string"},
                "required": True,
            },
        },
        "content": {"application/json": {"schema": schema, "example": example}},
    }


def _problems(kinds: Iterable[Kind], kept: Container[int] = ()) -> dict[str, Any]:
    by_status: dict[int, list[Kind]] = {}
    for kind in kinds:
        by_status.setdefault(kind.status, []).append(kind)
    return {
        str(status): _problem(found, replayable=status in kept) for status, found in sorted(by_status.items())
    }


def _problem(kinds: Sequence[Kind], *, replayable: bool) -> dict[str, Any]:
    schema = {
        "allOf": [
            {"$ref": _REF.format(model="Problem")},
            {"properties": {"code": {"enum": [kind.code for kind in kinds]}}},
        ]
    }
    headers: dict[str, Any] = {**_REQUEST_ID, **(_REPLAYED if replayable else {})}
    if kinds[0].status == 503:
        headers["Retry-After"] = {"$ref": "#/components/headers/RetryAfter"}
    if kinds[0].status == 401:
        headers["WWW-Authenticate"] = {"schema": {"type": "string"}, "required": True}
    examples = {
        kind.code: {
            "value": {
                "type": kind.type,
                "title": kind.title,
                "status": kind.status,
                "detail": f"{kind.title}.",
                "instance": "/orders",
                "code": kind.code,
            }
        }
        for kind in kinds
    }
    return {
        "description": "; ".join(f"`{kind.code}`: {kind.title}" for kind in kinds) + ".",
        "headers": headers,
        "content": {"application/problem+json": {"schema": schema, "examples": examples}},
    }


def _problem_schema() -> dict[str, Any]:
    text = {"type": "string"}
    entry = {
        "type": "object",
        "required": ["pointer", "detail"],
        "properties": {"pointer": text, "detail": text},
    }
    return {
        "type": "object",
        "description": "RFC 9457.",
        "required": ["type", "title", "status", "detail", "instance", "code"],
        "properties": {
            "type": {"type": "string", "format": "uri"},
            "title": text,
            "status": {"type": "integer"},
            "detail": text,
            "instance": {"type": "string", "format": "uri-reference"},
            "code": {"type": "string", "pattern": "^[a-z]+(-[a-z]+)*$"},
            "errors": {"type": "array", "items": entry},
            "currentStatus": {"enum": ["pending", "shipped", "cancelled"]},
            "currentVersion": {"type": "integer"},
            "productIds": {"type": "array", "items": text},
        },
    }


def _keys_answer() -> dict[str, Any]:
    key = {
        "type": "object",
        "required": ["kty", "alg", "k"],
        "properties": {"kty": {"const": "oct"}, "alg": {"const": "A256GCM"}, "k": {"type": "string"}},
    }
    keys = {"type": "object", "additionalProperties": {"oneOf": [key, {"type": "null"}]}}
    return {"type": "object", "required": ["keys"], "properties": {"keys": keys}}


def _keys() -> dict[str, Any]:
    kinds = (
        UNAUTHENTICATED,
        FORBIDDEN,
        BODY_TOO_LARGE,
        UNSUPPORTED_MEDIA_TYPE,
        BAD_REQUEST,
        MALFORMED_JSON,
        VALIDATION,
        UNAVAILABLE,
        INTERNAL,
    )
    content = {"application/json": {"schema": {"$ref": _REF.format(model="KeysAnswer")}}}
    return {
        "operationId": "personalDataKeys",
        "summary": "Keys to customers' personal data, for the role personal-data; null where there is none",
        "tags": ["personal data"],
        "requestBody": _body("KeyRequest"),
        "responses": {
            "200": {
                "description": "A key or null for each customer.",
                "headers": _REQUEST_ID,
                "content": content,
            },
            **_problems(kinds),
        },
    }


def _open(summary: str, name: str, media_type: str = "application/json", **more: Any) -> dict[str, Any]:
    ok = {"description": summary, "headers": _REQUEST_ID, "content": {media_type: {"schema": {}}}}
    return {
        "get": {
            "operationId": name,
            "summary": summary,
            "tags": ["operations"],
            "security": [],
            "responses": {"200": ok, **more.pop("problems", {})},
            **more,
        }
    }


def _open_paths() -> dict[str, Any]:
    parameters = [
        {
            "name": "type",
            "in": "path",
            "required": True,
            "schema": {"type": "string"},
            "example": "OrderCreated",
        },
        {"name": "version", "in": "path", "required": True, "schema": {"type": "integer"}, "example": 1},
    ]
    return {
        "/schemas/{type}/{version}": _open(
            "The JSON Schema of an event type's data",
            "eventSchema",
            "application/schema+json",
            parameters=parameters,
            problems=_problems([NOT_FOUND]),
        ),
        "/asyncapi.json": _open("The AsyncAPI 3 document of the topics", "asyncapi"),
        "/openapi.json": _open("This document", "openapi"),
        "/docs": _open("This document as a page", "docs", "text/html"),
        "/docs/topics": _open("The AsyncAPI document as a page", "topics", "text/html"),
        "/": _open("Links to the documentation, schemas, health and metrics", "index"),
        "/health/live": _open("Whether the process is alive", "live"),
        "/health/ready": _open(
            "Whether commands can be executed", "ready", problems=_problems([UNAVAILABLE])
        ),
        "/metrics": _open("Prometheus metrics", "metrics", "text/plain"),
    }
