"""The commands of the contract: who may send them, and what they ask of which aggregate."""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Final, NamedTuple

from uuid_utils import uuid7

from services.command.domain import customer, order, product
from services.command.domain.aggregate import Aggregate
from services.command.domain.facts import Facts
from services.command.http.bodies import (
    Body,
    Cancellation,
    CustomerDetails,
    NewOrder,
    ProductOffer,
    Shipment,
)
from services.command.store.commands import NO_NEEDS, Needs
from shared.auth import ID_RULE, STAFF, Principal, valid_id
from shared.events import Event
from shared.problems import VALIDATION, Problem

_ORDER_ID: Final = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_NO_ORDER: Final = "-"
"""Replaces every id that no order can have, so that malformed ids never reach the store."""


class Intent(NamedTuple):
    """A decision to make on the stream of `subject`; with `begins`, that id is new."""

    subject: str
    decide: Callable[[Any, Facts], Sequence[Event]]
    needs: Needs = NO_NEEDS
    begins: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Route:
    """One command over HTTP.

    `allow` raises a 403; `intent` turns path parameter, caller and body into a decision; `location` is where
    the query service shows the outcome.
    """

    name: str
    method: str
    path: str
    parameter: str | None
    aggregate: Aggregate[Any]
    thing: str
    body: type[Body] | None
    allow: Callable[[Principal, str], None]
    intent: Callable[[str, Principal, Any], Intent]
    location: str
    conditional: bool = True


def _anyone(caller: Principal, subject: str) -> None:
    """Any authenticated caller; the decision checks who it is."""


def _staff(caller: Principal, subject: str) -> None:
    caller.require(STAFF)


def _self_or_staff(caller: Principal, subject: str) -> None:
    caller.require_self_or_staff(subject)


def _checked_id(parameter: str, value: str) -> str:
    if not valid_id(value):
        raise Problem(
            VALIDATION, "The path is invalid.", errors=[{"pointer": f"/{parameter}", "detail": ID_RULE}]
        )
    return value


def _order_id(value: str) -> str:
    return value if _ORDER_ID.fullmatch(value) else _NO_ORDER


def _put_customer(customer_id: str, caller: Principal, body: CustomerDetails) -> Intent:
    command = customer.RegisterCustomer(
        customer_id=_checked_id("customerId", customer_id), name=body.name, email=body.email
    )
    return Intent(subject=customer_id, decide=lambda state, _: customer.register(state, command))


def _delete_customer(customer_id: str, caller: Principal, body: None) -> Intent:
    command = customer.EraseCustomer(customer_id=_checked_id("customerId", customer_id))
    return Intent(subject=customer_id, decide=lambda state, _: customer.erase(state, command))


def _put_product(product_id: str, caller: Principal, body: ProductOffer) -> Intent:
    command = product.OfferProduct(
        product_id=_checked_id("productId", product_id), name=body.name, price=body.price
    )
    return Intent(subject=product_id, decide=lambda state, _: product.offer(state, command))


def _delete_product(product_id: str, caller: Principal, body: None) -> Intent:
    command = product.DelistProduct(product_id=_checked_id("productId", product_id))
    return Intent(subject=product_id, decide=lambda state, _: product.delist(state, command))


def _place_order(_: str, caller: Principal, body: NewOrder) -> Intent:
    order_id = str(uuid7())
    lines = tuple([order.Line(item.product_id, item.quantity) for item in body.items])
    command = order.PlaceOrder(order_id=order_id, customer_id=caller.sub, lines=lines)
    needs = Needs(products=tuple([item.product_id for item in body.items]), customer=caller.sub)
    return Intent(
        subject=order_id,
        decide=lambda state, facts: order.place(state, command, facts),
        needs=needs,
        begins=True,
    )


def _cancel_order(order_id: str, caller: Principal, body: Cancellation) -> Intent:
    subject = _order_id(order_id)
    customer_id = None if caller.is_staff else caller.sub
    command = order.CancelOrder(order_id=subject, customer_id=customer_id, reason=body.reason)
    return Intent(subject=subject, decide=lambda state, _: order.cancel(state, command))


def _ship_order(order_id: str, caller: Principal, body: Shipment) -> Intent:
    subject = _order_id(order_id)
    command = order.ShipOrder(order_id=subject, tracking_number=body.tracking_number)
    return Intent(subject=subject, decide=lambda state, _: order.ship(state, command))


_order = partial(Route, aggregate=order.ORDER, thing="order", location="/orders/{subject}")
_customer = partial(
    Route,
    path="/customers/{customerId}",
    parameter="customerId",
    aggregate=customer.CUSTOMER,
    thing="customer",
    allow=_self_or_staff,
    location="/customers/{subject}/summary",
)
_product = partial(
    Route,
    path="/products/{productId}",
    parameter="productId",
    aggregate=product.PRODUCT,
    thing="product",
    allow=_staff,
    location="/products/{subject}",
)

COMMANDS: Final[tuple[Route, ...]] = (
    _order(
        name="placeOrder",
        method="POST",
        path="/orders",
        parameter=None,
        body=NewOrder,
        allow=_anyone,
        intent=_place_order,
        conditional=False,
    ),
    _order(
        name="cancelOrder",
        method="POST",
        path="/orders/{orderId}/cancel",
        parameter="orderId",
        body=Cancellation,
        allow=_anyone,
        intent=_cancel_order,
    ),
    _order(
        name="shipOrder",
        method="POST",
        path="/orders/{orderId}/ship",
        parameter="orderId",
        body=Shipment,
        allow=_staff,
        intent=_ship_order,
    ),
    _customer(name="putCustomer", method="PUT", body=CustomerDetails, intent=_put_customer),
    _customer(name="eraseCustomer", method="DELETE", body=None, intent=_delete_customer),
    _product(name="putProduct", method="PUT", body=ProductOffer, intent=_put_product),
    _product(name="delistProduct", method="DELETE", body=None, intent=_delete_product),
)
