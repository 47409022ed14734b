"""An example of each response."""

from typing import Any, Final

from services.query.http.openapi.schemas import CURSOR, LIVE_CURSOR, ORDER_ID, TIME, TRACE

ORDER: Final[dict[str, Any]] = {
    "id": ORDER_ID,
    "customerId": "ada",
    "customerName": "Ada",
    "customerEmail": "ada@example.com",
    "items": [{"productId": "lamp", "productName": "Lamp", "quantity": 2, "price": "19.90"}],
    "total": "39.80",
    "status": "pending",
    "createdAt": TIME,
    "updatedAt": TIME,
    "version": 1,
}
_HISTORY: Final = {
    "version": 1,
    "type": "OrderCreated",
    "occurredAt": TIME,
    "actor": "ada",
    "traceparent": TRACE,
    "data": {"orderId": ORDER_ID, "customerId": "ada", "items": ORDER["items"], "total": "39.80"},
}
_TIMELINE: Final = {
    "version": 1,
    "type": "OrderCreated",
    "receivedAt": "2026-11-23T10:00:00.000Z",
    "committedAt": "2026-11-23T10:00:00.002Z",
    "publishedAt": "2026-11-23T10:00:00.005Z",
    "topic": "orders",
    "partition": 7,
    "offset": 4711,
    "projectedAt": "2026-11-23T10:00:00.009Z",
    "traceparent": TRACE,
    "hopsMs": {"commit": 2, "publish": 3, "project": 4},
}
_SUMMARY: Final = {
    "customerId": "ada",
    "name": "Ada",
    "email": "ada@example.com",
    "orderCount": 1,
    "pendingCount": 1,
    "shippedCount": 0,
    "cancelledCount": 0,
    "lifetimeValue": "39.80",
    "lastOrderAt": TIME,
    "version": 1,
}
_PRODUCT: Final = {
    "productId": "lamp",
    "name": "Lamp",
    "price": "19.90",
    "available": True,
    "unitsSold": 2,
    "version": 1,
}
_DAY: Final = {"date": "2026-11-23", "orderCount": 1, "cancelledCount": 0, "revenue": "39.80"}
MESSAGE: Final = {"id": LIVE_CURSOR, "type": "OrderCreated", "traceparent": TRACE, "order": ORDER}

EXAMPLES: Final[dict[str, dict[str, Any]]] = {
    "Order": ORDER,
    "OrderPage": {"data": [ORDER], "hasMore": True, "nextCursor": CURSOR},
    "History": {"data": [_HISTORY]},
    "Timeline": {"data": [_TIMELINE]},
    "CustomerSummary": _SUMMARY,
    "Product": _PRODUCT,
    "ProductPage": {"data": [_PRODUCT], "hasMore": False, "nextCursor": None},
    "DailySales": {"data": [_DAY]},
    "Message": MESSAGE,
}
