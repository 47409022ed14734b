"""The parameters and headers of queries."""

from typing import Any, Final

from services.query.http.openapi.schemas import LIVE_CURSOR, ORDER_ID, TIME
from shared.auth import ID_PATTERN

Parameter = dict[str, Any]
_ID: Final = {"type": "string", "pattern": ID_PATTERN}


def _path(name: str, schema: dict[str, Any], example: str) -> Parameter:
    return {"name": name, "in": "path", "required": True, "schema": schema, "example": example}


def _query(name: str, schema: dict[str, Any], description: str, **more: Any) -> Parameter:
    return {"name": name, "in": "query", "schema": schema, "description": description, **more}


def _header(name: str, schema: dict[str, Any], description: str) -> Parameter:
    return {"name": name, "in": "header", "schema": schema, "description": description}


_DAY: Final = {"type": "string", "format": "date"}

PARAMETERS: Final[dict[str, Parameter]] = {
    "orderId": _path("orderId", {"type": "string", "minLength": 1}, ORDER_ID),
    "customerId": _path("customerId", _ID, "ada"),
    "productId": _path("productId", _ID, "lamp"),
    "minVersion": _query(
        "minVersion",
        {"type": "integer", "minimum": 0},
        "Respond only with this version or a later one; otherwise 503 `read-model-behind`, see `Prefer`.",
    ),
    "asOfVersion": _query(
        "asOfVersion",
        {"type": "integer", "minimum": 0},
        "The order as of this version, with the customer's current name. Cannot be combined with `asOf`.",
    ),
    "asOf": _query(
        "asOf",
        {"type": "string", "format": "date-time"},
        "The order as of this time, inclusive, with the customer's current name.",
        example=TIME,
    ),
    "filterOrder": _query("orderId", _ID, "Only messages of this order."),
    "filterCustomer": _query(
        "customerId", _ID, "Only orders of this customer; none if the caller may not see them."
    ),
    "filterStatus": _query(
        "status", {"enum": ["pending", "shipped", "cancelled"]}, "Only orders with this status."
    ),
    "limit": _query(
        "limit",
        {"type": "integer", "minimum": 1, "maximum": 100, "default": 20},
        "Maximum number of results.",
    ),
    "cursor": _query("cursor", {"type": "string"}, "`nextCursor` of the previous page."),
    "liveCursor": _query(
        "cursor", {"type": "string"}, "Resume right after the message with this `id`.", example=LIVE_CURSOR
    ),
    "from": _query("from", _DAY, "The first day (UTC).", required=True, example="2026-11-01"),
    "to": _query(
        "to", _DAY, "The last day (UTC); at most 366 days in total.", required=True, example="2026-11-30"
    ),
    "lastEventId": _header(
        "Last-Event-ID",
        {"type": "string"},
        "Like `cursor`, and takes precedence over it; browsers send it when they reconnect.",
    ),
    "prefer": _header(
        "Prefer",
        {"type": "string", "examples": ["wait=10"]},
        "`wait=S` (RFC 7240): with `minVersion`, hold the response for up to S seconds, at most 30.",
    ),
    "ifNoneMatch": _header(
        "If-None-Match", {"type": "string"}, "`ETag`s that the caller has; 304 if one still matches."
    ),
    "requestId": _header(
        "X-Request-Id",
        {"type": "string"},
        "Returned with the response if valid (up to 128 characters); otherwise replaced by another.",
    ),
    "traceparent": _header("traceparent", {"type": "string"}, "W3C trace context."),
}

HEADERS: Final[dict[str, Any]] = {
    "X-Request-Id": {
        "description": "The caller's if valid, otherwise a generated one.",
        "schema": {"type": "string"},
        "required": True,
    },
    "X-Read-Model-Lag-Ms": {
        "description": "How far the documents may be behind the committed events; 2147483647 when unknown.",
        "schema": {"type": "integer", "minimum": 0, "maximum": 2**31 - 1},
    },
    "ETag": {"description": "Changes whenever the representation does.", "schema": {"type": "string"}},
    "Cache-Control": {"schema": {"const": "private, no-cache"}},
    "Preference-Applied": {"description": "The `Prefer` that was honoured.", "schema": {"type": "string"}},
    "Retry-After": {"description": "Seconds.", "schema": {"type": "integer", "minimum": 1}},
    "WWW-Authenticate": {"schema": {"type": "string"}},
    "Allow": {"schema": {"type": "string"}},
}
