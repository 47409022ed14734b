"""What happens to an order."""

from typing import Annotated, ClassVar

from annotated_types import Ge
from pydantic import Strict

from shared.events.wire import recorded
from shared.money import Money


@recorded
class OrderItem:
    """One product of an order, with its name and price (of one unit) as they were at that moment."""

    product_id: str
    """The product, as in the topic `products`; each stands once in an order."""
    product_name: str
    """Its name when the order was placed."""
    quantity: Annotated[int, Ge(1), Strict()]
    """How many of it."""
    price: Money
    """The price of one when the order was placed."""


@recorded
class OrderCreated:
    """A customer placed an order: it is pending."""

    schema_version: ClassVar[int] = 1
    order_id: str
    """The order: a UUIDv7, and the record's key."""
    customer_id: str
    """Who placed it, as in the topic `customers`."""
    items: tuple[OrderItem, ...]
    """What was ordered, in the customer's order."""
    total: Money
    """The sum of quantity times price."""


@recorded
class OrderCancelled:
    """A pending order was cancelled, for a reason that counts as not personal."""

    schema_version: ClassVar[int] = 1
    order_id: str
    """The order: a UUIDv7, and the record's key."""
    reason: str
    """Why, in the words of who cancelled it."""


@recorded
class OrderShipped:
    """A pending order left the house."""

    schema_version: ClassVar[int] = 1
    order_id: str
    """The order: a UUIDv7, and the record's key."""
    tracking_number: str
    """The carrier's number of the parcel."""
