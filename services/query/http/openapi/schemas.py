"""JSON Schemas of the responses to queries."""

from typing import Any, Final

Schema = dict[str, Any]

ORDER_ID: Final = "01940000-0000-7000-8000-000000000001"
TRACE: Final = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
TIME: Final = "2026-11-23T10:00:00.000Z"
CURSOR: Final = "WyJvIiwxNzk1NDI4MDAwMDAwLCIwMTk0MDAwMC0wMDAwLTcwMDAtODAwMC0wMDAwMDAwMDAwMDEiXYVB6eM"
LIVE_CURSOR: Final = "gmsERDgAAAACKwIpKW4EHhLDBQ"

_TEXT: Final[Schema] = {"type": "string"}
_NULLABLE: Final[Schema] = {"type": ["string", "null"]}
_COUNT: Final[Schema] = {"type": "integer", "minimum": 0}
_VERSION: Final[Schema] = {"type": "integer", "minimum": 1}
_VERSION_OR_0: Final[Schema] = {
    "type": "integer",
    "minimum": 0,
    "description": "0 until its own first event arrives.",
}
_AMOUNT: Final[Schema] = {"type": "string", "pattern": "^(0|[1-9][0-9]*)\\.[0-9]{2}$", "examples": ["19.90"]}
_TIME: Final[Schema] = {"type": "string", "format": "date-time", "description": "UTC, whole milliseconds."}
_TYPE: Final[Schema] = {"enum": ["OrderCreated", "OrderCancelled", "OrderShipped"]}
_TRACEPARENT: Final[Schema] = {"type": ["string", "null"], "description": "W3C trace context."}


def _object(properties: Schema, optional: tuple[str, ...] = (), **more: Any) -> Schema:
    required = [name for name in properties if name not in optional]
    return {"type": "object", "required": required, "properties": properties, **more}


def _list(schema: str, description: str) -> Schema:
    data = {"type": "array", "items": {"$ref": f"#/components/schemas/{schema}"}}
    return _object({"data": data}, description=description)


def _page(schema: str) -> Schema:
    page = _list(schema, "One page; continue with `cursor=<nextCursor>` while `hasMore`.")
    page["properties"] |= {"hasMore": {"type": "boolean"}, "nextCursor": _NULLABLE}
    page["required"] += ["hasMore", "nextCursor"]
    return page


_ITEM: Final = _object({"productId": _TEXT, "productName": _TEXT, "quantity": _VERSION, "price": _AMOUNT})
_ORDER: Final = _object(
    {
        "id": {"type": "string", "format": "uuid"},
        "customerId": _TEXT,
        "customerName": _NULLABLE,
        "customerEmail": _NULLABLE,
        "items": {
            "type": "array",
            "minItems": 1,
            "maxItems": 100,
            "items": {"$ref": "#/components/schemas/OrderItem"},
        },
        "total": _AMOUNT,
        "status": {"enum": ["pending", "shipped", "cancelled"]},
        "createdAt": _TIME,
        "updatedAt": _TIME,
        "version": _VERSION,
        "shippedAt": _TIME,
        "trackingNumber": _TEXT,
        "cancelledAt": _TIME,
        "cancellationReason": _TEXT,
    },
    optional=("shippedAt", "trackingNumber", "cancelledAt", "cancellationReason"),
    description="Name and email may be null briefly after the first order, and always are after erasure.",
)
_HISTORY_ENTRY: Final = _object(
    {
        "version": _VERSION,
        "type": _TYPE,
        "occurredAt": _TIME,
        "actor": _TEXT,
        "traceparent": _TRACEPARENT,
        "data": {"type": "object", "description": "As described by the event's published JSON Schema."},
    }
)
_TIMELINE_ENTRY: Final = _object(
    {
        "version": _VERSION,
        "type": _TYPE,
        "receivedAt": _TIME,
        "committedAt": _TIME,
        "publishedAt": _TIME,
        "topic": _TEXT,
        "partition": _COUNT,
        "offset": _COUNT,
        "projectedAt": _TIME,
        "traceparent": _TRACEPARENT,
        "hopsMs": _object({"commit": _COUNT, "publish": _COUNT, "project": _COUNT}),
    }
)
_SUMMARY: Final = _object(
    {
        "customerId": _TEXT,
        "name": _NULLABLE,
        "email": _NULLABLE,
        "orderCount": _COUNT,
        "pendingCount": _COUNT,
        "shippedCount": _COUNT,
        "cancelledCount": _COUNT,
        "lifetimeValue": _AMOUNT,
        "lastOrderAt": {"type": ["string", "null"], "format": "date-time"},
        "version": _VERSION_OR_0,
    },
    description="`lifetimeValue` does not include cancelled orders.",
)
_PRODUCT: Final = _object(
    {
        "productId": _TEXT,
        "name": _NULLABLE,
        "price": {"type": ["string", "null"]},
        "available": {"type": ["boolean", "null"]},
        "unitsSold": _COUNT,
        "version": _VERSION_OR_0,
    },
    description="`unitsSold` does not include cancelled orders.",
)
_DAY: Final = _object(
    {
        "date": {"type": "string", "format": "date"},
        "orderCount": _COUNT,
        "cancelledCount": _COUNT,
        "revenue": _AMOUNT,
    },
    description="`orderCount` includes cancelled orders, `revenue` does not.",
)
_MESSAGE: Final = _object(
    {
        "id": {**_TEXT, "description": "The cursor to resume after this message."},
        "type": {"enum": [*_TYPE["enum"], "ready", "reset"]},
        "traceparent": _TRACEPARENT,
        "order": {"$ref": "#/components/schemas/Order"},
    },
    optional=("traceparent", "order"),
    description=(
        "One for each event of an order. `ready` (WebSocket) and `reset` (the given cursor cannot be used: "
        "live messages start here) have only `id` and `type`."
    ),
)
_PROBLEM: Final = _object(
    {
        "type": {"type": "string", "format": "uri"},
        "title": _TEXT,
        "status": {"type": "integer"},
        "detail": _TEXT,
        "instance": {"type": "string", "format": "uri-reference"},
        "code": {"type": "string", "pattern": "^[a-z]+(-[a-z]+)*$"},
        "errors": {"type": "array", "items": _object({"pointer": _TEXT, "detail": _TEXT})},
    },
    optional=("errors",),
    description="RFC 9457.",
)

SCHEMAS: Final[dict[str, Schema]] = {
    "Order": _ORDER,
    "OrderItem": _ITEM,
    "OrderPage": _page("Order"),
    "HistoryEntry": _HISTORY_ENTRY,
    "History": _list("HistoryEntry", "All events of the order, oldest first."),
    "TimelineEntry": _TIMELINE_ENTRY,
    "Timeline": _list("TimelineEntry", "The path of each event through the system, in whole milliseconds."),
    "CustomerSummary": _SUMMARY,
    "Product": _PRODUCT,
    "ProductPage": _page("Product"),
    "DaySales": _DAY,
    "DailySales": _list("DaySales", "The days with orders, oldest first."),
    "Message": _MESSAGE,
    "Problem": _PROBLEM,
}
