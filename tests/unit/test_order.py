"""Decisions about orders."""

from collections.abc import Callable, Sequence
from functools import partial

import pytest

from services.command.domain import order
from services.command.domain.facts import Facts, ProductFact
from services.command.domain.order import (
    ORDER,
    CancelOrder,
    CustomerUnknownError,
    Line,
    Order,
    OrderNotFoundError,
    OrderNotPendingError,
    PlaceOrder,
    ProductUnavailableError,
    ShipOrder,
)
from shared.events import OrderCancelled, OrderCreated, OrderEvent, OrderItem, OrderShipped
from shared.money import Money
from tests.unit.scenario import given

LAMP = ProductFact(name="Lamp", price=Money(1990), available=True)
CHAIR = ProductFact(name="Chair", price=Money(5), available=True)
GONE = ProductFact(name="Gone", price=Money(1), available=False)
KNOWN = Facts(products={"lamp": LAMP, "chair": CHAIR, "gone": GONE}, customer_registered=True)
CREATED = OrderCreated(
    order_id="o",
    customer_id="ada",
    items=(
        OrderItem(product_id="lamp", product_name="Lamp", quantity=2, price=Money(1990)),
        OrderItem(product_id="chair", product_name="Chair", quantity=1000, price=Money(5)),
    ),
    total=Money(8980),
)
SHIPPED = OrderShipped(order_id="o", tracking_number="T1")
CANCELLED = OrderCancelled(order_id="o", reason="too slow")

Decision = Callable[[Order], Sequence[OrderEvent]]


def place(facts: Facts = KNOWN, *lines: tuple[str, int]) -> Decision:
    command = PlaceOrder(order_id="o", customer_id="ada", lines=tuple(Line(*line) for line in lines))
    return lambda state: order.place(state, command, facts)


def cancel(by: str | None = "ada") -> Decision:
    return partial(order.cancel, command=CancelOrder(order_id="o", customer_id=by, reason="too slow"))


SHIP: Decision = partial(order.ship, command=ShipOrder(order_id="o", tracking_number="T1"))
BOTH = place(KNOWN, ("lamp", 2), ("chair", 1000))


def test_an_order_takes_the_current_names_and_prices() -> None:
    given(ORDER).when(BOTH).then(CREATED)


def test_an_order_of_an_unknown_customer_is_refused() -> None:
    unknown = Facts(products=KNOWN.products, customer_registered=False)
    given(ORDER).when(place(unknown, ("lamp", 1))).rejected(CustomerUnknownError)


def test_a_refused_order_names_all_unavailable_products() -> None:
    refused = given(ORDER).when(place(KNOWN, ("gone", 1), ("lamp", 1), ("never", 1)))
    assert refused.rejected(ProductUnavailableError).product_ids == ("gone", "never")


def test_an_order_placed_twice_is_one_order() -> None:
    given(ORDER, CREATED).when(BOTH).then()


@pytest.mark.parametrize("by", ["ada", None])
def test_a_pending_order_is_cancelled_by_its_customer_or_staff(by: str | None) -> None:
    given(ORDER, CREATED).when(cancel(by)).then(CANCELLED)


def test_a_pending_order_is_shipped() -> None:
    given(ORDER, CREATED).when(SHIP).then(SHIPPED)


@pytest.mark.parametrize("decision", [cancel(), cancel(None), SHIP])
def test_an_order_that_was_never_placed_is_not_found(decision: Decision) -> None:
    given(ORDER).when(decision).rejected(OrderNotFoundError)


@pytest.mark.parametrize("history", [[CREATED], [CREATED, SHIPPED], [CREATED, CANCELLED]])
def test_another_customers_order_is_not_found(history: list[OrderEvent]) -> None:
    given(ORDER, *history).when(cancel("bob")).rejected(OrderNotFoundError)


@pytest.mark.parametrize("decision", [cancel(), cancel(None), SHIP])
@pytest.mark.parametrize(("last", "status"), [(SHIPPED, "shipped"), (CANCELLED, "cancelled")])
def test_only_a_pending_order_can_change(decision: Decision, last: OrderEvent, status: str) -> None:
    refused = given(ORDER, CREATED, last).when(decision).rejected(OrderNotPendingError)
    assert refused.current_status == status


@pytest.mark.parametrize("event", [SHIPPED, CANCELLED])
def test_evolve_accepts_an_event_without_history(event: OrderEvent) -> None:
    assert given(ORDER, event).state == ORDER.initial


@pytest.mark.parametrize("history", [[], [CREATED], [CREATED, SHIPPED], [CREATED, CANCELLED]])
def test_a_snapshot_holds_the_whole_state(history: list[OrderEvent]) -> None:
    state = given(ORDER, *history).state
    assert ORDER.load(ORDER.dump(state)) == state
