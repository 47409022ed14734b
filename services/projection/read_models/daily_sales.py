"""What was ordered, by the UTC day of creation. Cancelled orders count, but bring no revenue."""

from typing import assert_never

from services.projection.read_models.additions import Addition
from services.projection.read_models.incoming import Document, Incoming
from shared.events import OrderCancelled, OrderCreated, OrderEvent, OrderShipped

AMOUNTS = ("orderCount", "cancelledCount", "revenue")


def added(incoming: Incoming[OrderEvent], order: Document) -> tuple[str, Addition] | None:
    """What an event adds to the day its order was created on; `order` is the order after it."""
    match incoming.event:
        case OrderCreated():
            amounts = {"orderCount": 1, "revenue": order["total"]}
        case OrderCancelled():
            amounts = {"cancelledCount": 1, "revenue": -order["total"]}
        case OrderShipped():
            return None
        case other:
            assert_never(other)
    day = order["createdAt"].date().isoformat()
    return day, Addition({"date": day}, amounts)
