"""What happens to an order."""

from dataclasses import dataclass
from typing import Annotated, ClassVar

from annotated_types import Ge
from pydantic import with_config

from shared.events.wire import WIRE
from shared.money import Money


@with_config(WIRE)
@dataclass(frozen=True, slots=True, kw_only=True)
class OrderItem:
    """One product of an order, with its name and price (of one unit) as they were at that moment."""

    product_id: str
    product_name: str
    quantity: Annotated[int, Ge(1)]
    price: Money


@with_config(WIRE)
@dataclass(frozen=True, slots=True, kw_only=True)
class OrderCreated:
    """A customer placed an order: it is pending."""

    schema_version: ClassVar[int] = 1
    order_id: str
    customer_id: str
    items: tuple[OrderItem, ...]
    total: Money


@with_config(WIRE)
@dataclass(frozen=True, slots=True, kw_only=True)
class OrderCancelled:
    """A pending order was cancelled, for a reason that counts as not personal."""

    schema_version: ClassVar[int] = 1
    order_id: str
    reason: str


@with_config(WIRE)
@dataclass(frozen=True, slots=True, kw_only=True)
class OrderShipped:
    """A pending order left the house."""

    schema_version: ClassVar[int] = 1
    order_id: str
    tracking_number: str
