"""What happens to an order."""

from typing import Annotated, ClassVar

from annotated_types import Ge
from pydantic import Strict

from shared.events.wire import recorded
from shared.money import Money


@recorded
class OrderItem:
    """One product of an order, with its name and unit price when the order was placed."""

    product_id: str
    """The product, as in the topic `products`; each appears once in an order."""
    product_name: str
    """Its name when the order was placed."""
    quantity: Annotated[int, Ge(1), Strict()]
    """How many units were ordered."""
    price: Money
    """Its unit price when the order was placed."""


@recorded
class OrderCreated:
    """A customer placed an order: it is pending."""

    schema_version: ClassVar[int] = 1
    order_id: str
    """The order: a UUIDv7, and the record's key."""
    customer_id: str
    """Who placed it, as in the topic `customers`."""
    items: tuple[OrderItem, ...]
    """What was ordered, in the sequence the customer gave."""
    total: Money
    """The sum of quantity times price."""


@recorded
class OrderCancelled:
    """A pending order was cancelled, for a reason that is not treated as personal data."""

    schema_version: ClassVar[int] = 1
    order_id: str
    """The order: a UUIDv7, and the record's key."""
    reason: str
    """The reason, as given by whoever cancelled it."""


@recorded
class OrderShipped:
    """A pending order was shipped."""

    schema_version: ClassVar[int] = 1
    order_id: str
    """The order: a UUIDv7, and the record's key."""
    tracking_number: str
    """The carrier's tracking number for the parcel."""
