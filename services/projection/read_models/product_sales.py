"""How many units of products were sold. Those of cancelled orders were not."""

from collections.abc import Iterator
from typing import assert_never

from services.projection.read_models.additions import Addition
from services.projection.read_models.incoming import Document, Incoming
from shared.events import OrderCancelled, OrderCreated, OrderEvent, OrderShipped

AMOUNTS = ("unitsSold",)


def added(incoming: Incoming[OrderEvent], order: Document) -> Iterator[tuple[str, Addition]]:
    """What an event adds to the sales of each product of its order; `order` is the order after it."""
    match incoming.event:
        case OrderCreated():
            sign = 1
        case OrderCancelled():
            sign = -1
        case OrderShipped():
            return
        case other:
            assert_never(other)
    for item in order["items"]:
        product = item["productId"]
        yield product, Addition({"productId": product}, {"unitsSold": sign * item["quantity"]})
