"""The results of reads, as the rest of the service sees them. Times are aware, amounts in minor units."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from shared.money import Money


@dataclass(frozen=True, slots=True)
class Item:
    """One product of an order, as it was when ordered."""

    product_id: str
    product_name: str
    quantity: int
    price: Money


@dataclass(frozen=True, slots=True, eq=False, weakref_slot=True)
class Order:
    """An order with its customer's current name and email: None before they are known and after erasure."""

    id: str
    customer_id: str
    customer_name: str | None
    customer_email: str | None
    items: Sequence[Item]
    total: Money
    status: str
    created_at: datetime
    updated_at: datetime
    version: int
    shipped_at: datetime | None
    tracking_number: str | None
    cancelled_at: datetime | None
    cancellation_reason: str | None


@dataclass(frozen=True, slots=True)
class PageKey:
    """Where a page of orders starts: right after this one, newest first."""

    created_at: datetime
    id: str


@dataclass(frozen=True, slots=True)
class Page:
    """Some orders, newest first, and whether more follow."""

    orders: Sequence[Order]
    more: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class HistoryEntry:
    """An event of an order, and its path through the system."""

    version: int
    type: str
    occurred_at: datetime
    actor: str
    traceparent: str | None
    data: Mapping[str, Any]
    customer_id: str
    received_at: datetime
    committed_at: datetime
    published_at: datetime
    projected_at: datetime
    topic: str
    partition: int
    offset: int


@dataclass(frozen=True, slots=True)
class Customer:
    """A customer's name and email; both None after erasure."""

    name: str | None
    email: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class CustomerSummary:
    """A customer and the totals of its orders; `version` is 0 while only its orders are known."""

    customer_id: str
    name: str | None
    email: str | None
    order_count: int
    pending_count: int
    shipped_count: int
    cancelled_count: int
    lifetime_value: Money
    last_order_at: datetime | None
    version: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Product:
    """A product and its units sold; `version` is 0 while only its orders are known."""

    product_id: str
    name: str | None
    price: Money | None
    available: bool | None
    units_sold: int
    version: int


@dataclass(frozen=True, slots=True)
class DailySales:
    """The sales of one UTC day."""

    date: str
    order_count: int
    cancelled_count: int
    revenue: Money
