"""Every event of this system, each in the newest version of its schema.

Events are facts, named in the past tense and kept forever. A published schema only changes compatibly;
anything else is a new schema version here and an upcaster in `shared.events.upcasting`.
"""

from collections.abc import Mapping
from typing import Final, TypeAlias

from shared.events.customer import CustomerDetailsChanged, CustomerErased, CustomerRegistered
from shared.events.order import OrderCancelled, OrderCreated, OrderItem, OrderShipped
from shared.events.product import ProductDelisted, ProductListed, ProductRenamed, ProductRepriced

OrderEvent: TypeAlias = OrderCreated | OrderCancelled | OrderShipped
CustomerEvent: TypeAlias = CustomerRegistered | CustomerDetailsChanged | CustomerErased
ProductEvent: TypeAlias = ProductListed | ProductRenamed | ProductRepriced | ProductDelisted
Event: TypeAlias = OrderEvent | CustomerEvent | ProductEvent

EVENTS: Final[Mapping[str, Mapping[str, type[Event]]]] = {
    "orders": {event.__name__: event for event in (OrderCreated, OrderCancelled, OrderShipped)},
    "customers": {
        event.__name__: event for event in (CustomerRegistered, CustomerDetailsChanged, CustomerErased)
    },
    "products": {
        event.__name__: event for event in (ProductListed, ProductRenamed, ProductRepriced, ProductDelisted)
    },
}
"""By topic, the class of each event type's newest schema version."""

CURRENT: Final[Mapping[str, type[Event]]] = {
    name: event for events in EVENTS.values() for name, event in events.items()
}
"""The same of all topics."""

__all__ = [
    "CURRENT",
    "EVENTS",
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
