"""The table of all operations."""

from dataclasses import dataclass
from typing import Final

from services.query.http.problems import (
    CUSTOMER_NOT_FOUND,
    INVALID_CURSOR,
    ORDER_NOT_FOUND,
    PRODUCT_NOT_FOUND,
    READ_MODEL_BEHIND,
    UPGRADE_REQUIRED,
    VERSION_NOT_FOUND,
)
from shared.problems import FORBIDDEN, Kind


@dataclass(frozen=True, slots=True, kw_only=True)
class Operation:
    """A query. `parameters` and `schema` are names of components; HEAD is answered like GET."""

    path: str
    name: str
    summary: str
    tag: str
    parameters: tuple[str, ...] = ()
    schema: str
    problems: tuple[Kind, ...] = ()
    media_type: str = "application/json"


_LEAST: Final = ("minVersion", "prefer")
_FILTERS: Final = ("filterOrder", "filterCustomer", "filterStatus", "liveCursor")

OPERATIONS: Final = (
    Operation(
        path="/orders/{orderId}",
        name="getOrder",
        summary="An order, current or past",
        tag="orders",
        parameters=("orderId", *_LEAST, "asOfVersion", "asOf"),
        schema="Order",
        problems=(ORDER_NOT_FOUND, VERSION_NOT_FOUND, READ_MODEL_BEHIND),
    ),
    Operation(
        path="/orders",
        name="listOrders",
        summary="Orders, newest first: all for staff, their own for customers",
        tag="orders",
        parameters=("filterCustomer", "filterStatus", "limit", "cursor"),
        schema="OrderPage",
        problems=(INVALID_CURSOR,),
    ),
    Operation(
        path="/orders/{orderId}/history",
        name="getOrderHistory",
        summary="All events of an order",
        tag="orders",
        parameters=("orderId",),
        schema="History",
        problems=(ORDER_NOT_FOUND,),
    ),
    Operation(
        path="/orders/{orderId}/timeline",
        name="getOrderTimeline",
        summary="The path of each event of an order through the system; staff only",
        tag="orders",
        parameters=("orderId",),
        schema="Timeline",
        problems=(ORDER_NOT_FOUND, FORBIDDEN),
    ),
    Operation(
        path="/customers/{customerId}/summary",
        name="getCustomerSummary",
        summary="A customer and the totals of its orders; for that customer and staff",
        tag="customers",
        parameters=("customerId", *_LEAST),
        schema="CustomerSummary",
        problems=(CUSTOMER_NOT_FOUND, READ_MODEL_BEHIND),
    ),
    Operation(
        path="/products",
        name="listProducts",
        summary="Products by id, including delisted ones",
        tag="products",
        parameters=("limit", "cursor"),
        schema="ProductPage",
        problems=(INVALID_CURSOR,),
    ),
    Operation(
        path="/products/{productId}",
        name="getProduct",
        summary="A product",
        tag="products",
        parameters=("productId", *_LEAST),
        schema="Product",
        problems=(PRODUCT_NOT_FOUND, READ_MODEL_BEHIND),
    ),
    Operation(
        path="/reports/daily-sales",
        name="getDailySales",
        summary="Sales by the UTC day of an order's creation; staff only",
        tag="reports",
        parameters=("from", "to"),
        schema="DailySales",
        problems=(FORBIDDEN,),
    ),
    Operation(
        path="/orders/stream",
        name="streamOrders",
        summary="Events of orders as they become readable, as server-sent events",
        tag="live",
        parameters=(*_FILTERS, "lastEventId"),
        schema="Message",
        media_type="text/event-stream",
    ),
    Operation(
        path="/ws",
        name="webSocket",
        summary="The messages of `/orders/stream` over a WebSocket",
        tag="live",
        parameters=_FILTERS,
        schema="Message",
        problems=(UPGRADE_REQUIRED,),
    ),
)
