"""How many orders customers have, and what they are worth. Cancelled orders are worth nothing."""

from typing import assert_never

from services.projection.read_models.additions import Addition
from services.projection.read_models.incoming import Document, Incoming
from shared.events import OrderCancelled, OrderCreated, OrderEvent, OrderShipped


def added(incoming: Incoming[OrderEvent], order: Document) -> tuple[str, Addition]:
    """What an event adds to its customer's summary; `order` is the order after it."""
    customer = order["customerId"]
    names = {"customerId": customer}
    match incoming.event:
        case OrderCreated():
            amounts = {"orderCount": 1, "pendingCount": 1, "lifetimeValue": order["total"]}
            return customer, Addition(names, amounts, {"lastOrderAt": order["createdAt"]})
        case OrderShipped():
            return customer, Addition(names, {"pendingCount": -1, "shippedCount": 1})
        case OrderCancelled():
            amounts = {"pendingCount": -1, "cancelledCount": 1, "lifetimeValue": -order["total"]}
            return customer, Addition(names, amounts)
        case other:
            assert_never(other)


AMOUNTS = ("orderCount", "pendingCount", "shippedCount", "cancelledCount", "lifetimeValue")
