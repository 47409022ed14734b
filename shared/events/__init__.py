"""Every event this system has ever recorded, by type and schema version.

Events are facts in the past tense, kept for ever. A shape once published only changes compatibly: anything
else is a new schema version here and an upcaster in the command service's store.
"""

from typing import Final, TypeAlias

from shared.events.customer import CustomerDetailsChanged, CustomerErased, CustomerRegistered
from shared.events.order import OrderCancelled, OrderCreated, OrderItem, OrderShipped
from shared.events.product import ProductDelisted, ProductListed, ProductRenamed, ProductRepriced

OrderEvent: TypeAlias = OrderCreated | OrderCancelled | OrderShipped
CustomerEvent: TypeAlias = CustomerRegistered | CustomerDetailsChanged | CustomerErased
ProductEvent: TypeAlias = ProductListed | ProductRenamed | ProductRepriced | ProductDelisted
Event: TypeAlias = OrderEvent | CustomerEvent | ProductEvent

CURRENT: Final[dict[str, type[Event]]] = {
    event.__name__: event
    for event in (
        OrderCreated,
        OrderCancelled,
        OrderShipped,
        CustomerRegistered,
        CustomerDetailsChanged,
        CustomerErased,
        ProductListed,
        ProductRenamed,
        ProductRepriced,
        ProductDelisted,
    )
}
"""Event type name to the class of its newest schema version."""

__all__ = [
    "CURRENT",
    "CustomerDetailsChanged",
    "CustomerErased",
    "CustomerEvent",
    "CustomerRegistered",
    "Event",
    "OrderCancelled",
    "OrderCreated",
    "OrderEvent",
    "OrderItem",
    "OrderShipped",
    "ProductDelisted",
    "ProductEvent",
    "ProductListed",
    "ProductRenamed",
    "ProductRepriced",
]
