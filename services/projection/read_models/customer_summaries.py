"""The number and total value of each customer's orders. Cancelled orders count, but add no value."""

from typing import Final, assert_never

from services.projection.read_models.additions import Additions
from services.projection.read_models.incoming import Document
from shared.events import OrderCancelled, OrderCreated, OrderEvent, OrderShipped

KEY: Final = "customerId"
AMOUNTS: Final = ("orderCount", "pendingCount", "shippedCount", "cancelledCount", "lifetimeValue")
LATEST: Final = "lastOrderAt"


def add(additions: Additions, event: OrderEvent, order: Document) -> None:
    """Add the event to its customer's summary; `order` is the order after it."""
    customer = order["customerId"]
    match event:
        case OrderCreated():
            additions.add(customer, (1, 1, 0, 0, order["total"]))
            additions.happened(customer, order["createdAt"])
        case OrderShipped():
            additions.add(customer, (0, -1, 1, 0, 0))
        case OrderCancelled():
            additions.add(customer, (0, -1, 0, 1, -order["total"]))
        case other:
            assert_never(other)
