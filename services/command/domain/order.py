"""An order: placed by a registered customer, then shipped or cancelled."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal, NamedTuple, TypeAlias, assert_never

from services.command.domain.aggregate import Aggregate
from services.command.domain.facts import Facts, ProductFact
from services.command.domain.rejections import NotThereError, Rejection
from shared.events import OrderCancelled, OrderCreated, OrderEvent, OrderItem, OrderShipped
from shared.money import Money

Status = Literal["pending", "shipped", "cancelled"]


@dataclass(frozen=True, slots=True)
class NoOrder:
    """It was never placed."""


@dataclass(frozen=True, slots=True)
class Pending:
    """Placed, and waiting to be shipped or cancelled."""

    customer_id: str


@dataclass(frozen=True, slots=True)
class Shipped:
    """On its way; nothing can change any more."""

    customer_id: str


@dataclass(frozen=True, slots=True)
class Cancelled:
    """Cancelled; nothing can change any more."""

    customer_id: str


Order: TypeAlias = NoOrder | Pending | Shipped | Cancelled


class Line(NamedTuple):
    """A quantity of one product."""

    product_id: str
    quantity: int


class PlaceOrder(NamedTuple):
    """Place an order; each product appears in one line only."""

    order_id: str
    customer_id: str
    lines: tuple[Line, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class CancelOrder:
    """Cancel an order. `customer_id` is the requesting customer, None for staff."""

    order_id: str
    customer_id: str | None
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ShipOrder:
    """Ship an order."""

    order_id: str
    tracking_number: str


class CustomerUnknownError(Rejection):
    """Only registered customers may order."""


class ProductUnavailableError(Rejection):
    """Some products do not exist or are delisted."""

    def __init__(self, product_ids: tuple[str, ...]) -> None:
        super().__init__(product_ids)
        self.product_ids = product_ids


class OrderNotFoundError(NotThereError):
    """There is no such order, or none visible to the caller."""


class OrderNotPendingError(Rejection):
    """It was already shipped or cancelled."""

    def __init__(self, current_status: Status) -> None:
        super().__init__(current_status)
        self.current_status: Status = current_status


def evolve(state: Order, event: OrderEvent) -> Order:
    """The order after `event`."""
    match event:
        case OrderCreated():
            return Pending(event.customer_id)
        case OrderShipped():
            return state if isinstance(state, NoOrder) else Shipped(state.customer_id)
        case OrderCancelled():
            return state if isinstance(state, NoOrder) else Cancelled(state.customer_id)
        case _:
            assert_never(event)


def place(state: Order, command: PlaceOrder, facts: Facts) -> Sequence[OrderEvent]:
    """Place it at current prices; no events if it already exists.

    Raises `CustomerUnknownError` and `ProductUnavailableError`.
    """
    if not isinstance(state, NoOrder):
        return []
    if not facts.customer_registered:
        raise CustomerUnknownError
    products = facts.products
    unavailable = [line.product_id for line in command.lines if not _sold(products.get(line.product_id))]
    if unavailable:
        raise ProductUnavailableError(tuple(unavailable))
    items = [
        OrderItem(product_id=name, product_name=product.name, quantity=quantity, price=product.price)
        for name, quantity in command.lines
        for product in [products[name]]
    ]
    return [
        OrderCreated(
            order_id=command.order_id,
            customer_id=command.customer_id,
            items=tuple(items),
            total=Money(sum([item.quantity * item.price for item in items])),
        )
    ]


def _sold(product: ProductFact | None) -> bool:
    return product is not None and product.available


def cancel(state: Order, command: CancelOrder) -> Sequence[OrderEvent]:
    """Cancel it. Raises `OrderNotFoundError` (another customer's, too) and `OrderNotPendingError`."""
    order = _known(state)
    if command.customer_id not in {None, order.customer_id}:
        raise OrderNotFoundError
    _must_be_pending(order)
    return [OrderCancelled(order_id=command.order_id, reason=command.reason)]


def ship(state: Order, command: ShipOrder) -> Sequence[OrderEvent]:
    """Ship it. Raises `OrderNotFoundError` and `OrderNotPendingError`."""
    _must_be_pending(_known(state))
    return [OrderShipped(order_id=command.order_id, tracking_number=command.tracking_number)]


def _known(state: Order) -> Pending | Shipped | Cancelled:
    if isinstance(state, NoOrder):
        raise OrderNotFoundError
    return state


def _must_be_pending(state: Pending | Shipped | Cancelled) -> None:
    match state:
        case Pending():
            return
        case Shipped():
            raise OrderNotPendingError("shipped")
        case Cancelled():
            raise OrderNotPendingError("cancelled")
        case _:
            assert_never(state)


def _dump(state: Order) -> Mapping[str, Any]:
    match state:
        case NoOrder():
            return {"state": "none"}
        case Pending(customer_id):
            return {"state": "pending", "customerId": customer_id}
        case Shipped(customer_id):
            return {"state": "shipped", "customerId": customer_id}
        case Cancelled(customer_id):
            return {"state": "cancelled", "customerId": customer_id}
        case _:
            assert_never(state)


def _load(stored: Mapping[str, Any]) -> Order:
    match stored["state"]:
        case "none":
            return NoOrder()
        case "pending":
            return Pending(stored["customerId"])
        case "shipped":
            return Shipped(stored["customerId"])
        case "cancelled":
            return Cancelled(stored["customerId"])
        case other:
            raise ValueError(f"unknown order state: {other}")


ORDER: Final[Aggregate[Order]] = Aggregate(
    category="orders", initial=NoOrder(), evolve=evolve, shape=1, dump=_dump, load=_load
)
