"""Orders and revenue by UTC day of creation. Cancelled orders count, but add no revenue."""

from typing import Final, assert_never

from services.projection.read_models.additions import Additions
from services.projection.read_models.incoming import Document
from shared.events import OrderCancelled, OrderCreated, OrderEvent, OrderShipped

KEY: Final = "date"
AMOUNTS: Final = ("orderCount", "cancelledCount", "revenue")


def add(additions: Additions, event: OrderEvent, order: Document) -> None:
    """Add the event to the day its order was created on; `order` is the order after it."""
    day = order["createdAt"].date().isoformat()
    match event:
        case OrderCreated():
            additions.add(day, (1, 0, order["total"]))
        case OrderCancelled():
            additions.add(day, (0, 1, -order["total"]))
        case OrderShipped():
            return
        case other:
            assert_never(other)
