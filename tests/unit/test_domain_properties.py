"""Properties that hold for any sequence of commands on any aggregate."""

import json
from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Any, TypeVar

from hypothesis import given
from hypothesis import strategies as st

from services.command.domain import customer, order, product
from services.command.domain.aggregate import Aggregate
from services.command.domain.facts import Facts, ProductFact
from services.command.domain.rejections import Rejection
from shared.envelope import dump_data, load_data
from shared.events import Event
from shared.money import Money
from tests.unit.scenario import state_of

S = TypeVar("S")
Decide = Callable[[Any], Sequence[Event]]

names = st.sampled_from(["a", "b"])
prices = st.sampled_from([Money(1), Money(2)])

offers = st.builds(
    lambda name, price: (
        lambda state: product.offer(state, product.OfferProduct(product_id="p", name=name, price=price))
    ),
    names,
    prices,
)
delists = st.just(lambda state: product.delist(state, product.DelistProduct(product_id="p")))
registrations = st.builds(
    lambda name, email: (
        lambda state: customer.register(
            state, customer.RegisterCustomer(customer_id="c", name=name, email=email)
        )
    ),
    names,
    names,
)
erasures = st.just(lambda state: customer.erase(state, customer.EraseCustomer(customer_id="c")))
facts = st.builds(
    lambda registered, available: Facts(
        products={"p": ProductFact(name="P", price=Money(3), available=available)},
        customer_registered=registered,
    ),
    st.booleans(),
    st.booleans(),
)
placements = st.builds(
    lambda known, quantity: (
        lambda state: order.place(
            state,
            order.PlaceOrder(order_id="o", customer_id="c", lines=(order.Line("p", quantity),)),
            known,
        )
    ),
    facts,
    st.integers(1, 1000),
)
cancellations = st.builds(
    lambda by: lambda state: order.cancel(state, order.CancelOrder(order_id="o", customer_id=by, reason="r")),
    st.sampled_from(["c", "d", None]),
)
shipments = st.just(lambda state: order.ship(state, order.ShipOrder(order_id="o", tracking_number="t")))

LEGAL: dict[str, dict[str | None, set[str]]] = {
    "orders": {
        None: {"OrderCreated"},
        "OrderCreated": {"OrderShipped", "OrderCancelled"},
        "OrderShipped": set(),
        "OrderCancelled": set(),
    },
    "customers": {
        None: {"CustomerRegistered"},
        "CustomerRegistered": {"CustomerDetailsChanged", "CustomerErased"},
        "CustomerDetailsChanged": {"CustomerDetailsChanged", "CustomerErased"},
        "CustomerErased": set(),
    },
    "products": {
        None: {"ProductListed"},
        "ProductListed": {"ProductRenamed", "ProductRepriced", "ProductDelisted"},
        "ProductRenamed": {"ProductRenamed", "ProductRepriced", "ProductDelisted"},
        "ProductRepriced": {"ProductRenamed", "ProductRepriced", "ProductDelisted"},
        "ProductDelisted": {"ProductListed"},
    },
}
"""Which event may follow which; None is the start of a stream."""


def run(aggregate: Aggregate[S], commands: Sequence[Decide]) -> None:
    """Execute the commands in turn and check the stream's invariants."""
    history: list[Event] = []
    state = aggregate.initial
    for decide in commands:
        try:
            events = decide(state)
        except Rejection:
            continue
        for event in events:
            state = aggregate.evolve(state, event)
        history.extend(events)
        assert adds_nothing_again(decide, state)
    types = [None, *(type(event).__name__ for event in history)]
    for before, after in pairwise(types):
        assert after in LEGAL[aggregate.category][before]
    stored = [load_data(type(event).__name__, json.loads(json.dumps(dump_data(event)))) for event in history]
    assert state_of(aggregate, stored) == state
    assert aggregate.load(json.loads(json.dumps(aggregate.dump(state)))) == state


def adds_nothing_again(decide: Decide, state: object) -> bool:
    """Whether a repeated command adds no event, or is refused."""
    try:
        return not decide(state)
    except Rejection:
        return True


@given(st.lists(st.one_of(offers, delists), max_size=12))
def test_any_commands_produce_a_legal_product_stream(commands: list[Decide]) -> None:
    run(product.PRODUCT, commands)


@given(st.lists(st.one_of(registrations, erasures), max_size=12))
def test_any_commands_produce_a_legal_customer_stream(commands: list[Decide]) -> None:
    run(customer.CUSTOMER, commands)


@given(st.lists(st.one_of(placements, cancellations, shipments), max_size=8))
def test_any_commands_produce_a_legal_order_stream(commands: list[Decide]) -> None:
    run(order.ORDER, commands)
