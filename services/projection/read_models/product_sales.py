"""Units sold per product. Those of cancelled orders do not count."""

from typing import Final, assert_never

from services.projection.read_models.additions import Additions
from services.projection.read_models.incoming import Document
from shared.events import OrderCancelled, OrderCreated, OrderEvent, OrderShipped

KEY: Final = "productId"
AMOUNTS: Final = ("unitsSold",)


def add(additions: Additions, event: OrderEvent, order: Document) -> None:
    """Add the event to the sales of each product of its order; `order` is the order after it."""
    match event:
        case OrderCreated():
            sign = 1
        case OrderCancelled():
            sign = -1
        case OrderShipped():
            return
        case other:
            assert_never(other)
    for item in order["items"]:
        additions.add(item["productId"], (sign * item["quantity"],))
