"""The same events give the same documents, however they are batched, interleaved and repeated."""

import random
from collections.abc import Iterable, Sequence
from datetime import timedelta

from hypothesis import given
from hypothesis import strategies as st

from services.projection.folding.batch import Fold
from services.projection.folding.customers import CustomersProjection
from services.projection.folding.orders import OrdersProjection
from services.projection.folding.products import ProductsProjection
from services.projection.folding.reading import reading
from services.projection.folding.topic_projection import TopicProjection
from services.projection.read_models.incoming import Document
from services.projection.records import Record
from shared.documents import (
    CUSTOMER_SUMMARIES,
    CUSTOMERS,
    DAILY_SALES,
    ORDER_HISTORY,
    ORDERS,
    PRODUCT_SALES,
    PRODUCTS,
)
from shared.events import (
    CustomerDetailsChanged,
    CustomerErased,
    CustomerRegistered,
    Event,
    OrderCancelled,
    OrderCreated,
    OrderItem,
    OrderShipped,
    ProductDelisted,
    ProductListed,
    ProductRenamed,
    ProductRepriced,
)
from shared.money import Money
from tests.projection_records import TRACE, Memory, Rec, T, record

MODELS = {"orders": ORDERS, "customers": CUSTOMERS, "products": PRODUCTS}


def readable(customer_id: str, text: str) -> str | None:
    return text.upper()


def key_gone(customer_id: str, text: str) -> str | None:
    return None


def projection(topic: str, memory: Memory, reveal: object = readable) -> TopicProjection:
    stored = dict(memory.of(MODELS[topic]))
    match topic:
        case "orders":
            return OrdersProjection(stored, T, live=True)
        case "customers":
            return CustomersProjection(stored, key_gone if reveal is key_gone else readable)
        case _:
            return ProductsProjection(stored)


def fold(memory: Memory, records: Sequence[Record], reveal: object = readable) -> Fold:
    """Fold one batch into memory."""
    folding = Fold(projection(records[0].topic, memory, reveal), {})
    for each in records:
        folding.take(reading(each))
    memory.write(folding.projection.writes())
    return folding


def folded(topic: str, subject: str, *events: Event, reveal: object = readable) -> Memory:
    memory = Memory()
    fold(memory, [record(topic, subject, n, event) for n, event in enumerate(events, 1)], reveal)
    return memory


def created(order: str = "o1", customer: str = "ada", *, quantity: int = 2) -> OrderCreated:
    items = (
        OrderItem(product_id="p1", product_name="Lamp", quantity=quantity, price=Money(1990)),
        OrderItem(product_id="p2", product_name="Chair", quantity=1, price=Money(1)),
    )
    return OrderCreated(order_id=order, customer_id=customer, items=items, total=Money(1990 * quantity + 1))


SHIPPED = OrderShipped(order_id="o1", tracking_number="T1")
CANCELLED = OrderCancelled(order_id="o1", reason="too late")
PENDING_ORDER = {
    "_id": "o1",
    "customerId": "ada",
    "items": [
        {"productId": "p1", "productName": "Lamp", "quantity": 2, "price": 1990},
        {"productId": "p2", "productName": "Chair", "quantity": 1, "price": 1},
    ],
    "total": 3981,
    "status": "pending",
    "createdAt": T + timedelta(seconds=1),
    "updatedAt": T + timedelta(seconds=1),
    "version": 1,
}


def test_a_created_order_is_pending() -> None:
    assert folded("orders", "o1", created()).of(ORDERS) == {"o1": PENDING_ORDER}


def test_a_shipped_order_has_a_tracking_number() -> None:
    later = T + timedelta(seconds=2)
    shipped = {
        "status": "shipped",
        "shippedAt": later,
        "trackingNumber": "T1",
        "updatedAt": later,
        "version": 2,
    }
    assert folded("orders", "o1", created(), SHIPPED).of(ORDERS)["o1"] == PENDING_ORDER | shipped


def test_a_cancelled_order_has_a_reason() -> None:
    order = folded("orders", "o1", created(), CANCELLED).of(ORDERS)["o1"]
    assert (order["status"], order["cancellationReason"]) == ("cancelled", "too late")
    assert order["cancelledAt"] == T + timedelta(seconds=2)


def test_the_history_keeps_the_order_at_each_version() -> None:
    memory = folded("orders", "o1", created(), SHIPPED)
    first, second = memory.of(ORDER_HISTORY)["o1:1"], memory.of(ORDER_HISTORY)["o1:2"]
    assert first["order"] == PENDING_ORDER
    assert second["order"] == memory.of(ORDERS)["o1"]
    assert (first["type"], first["actor"], first["traceparent"]) == ("OrderCreated", "ada", TRACE)
    assert second["data"] == {"orderId": "o1", "trackingNumber": "T1"}
    assert first["receivedAt"] < first["committedAt"]


def test_two_events_of_an_order_in_one_batch_are_two_in_the_feed() -> None:
    feed = folded("orders", "o1", created(), SHIPPED).feed
    assert [news["_id"] for news in feed] == ["o1:1", "o1:2"]
    assert [news["order"]["status"] for news in feed] == ["pending", "shipped"]


def test_a_pending_order_counts() -> None:
    memory = folded("orders", "o1", created())
    assert memory.of(CUSTOMER_SUMMARIES)["ada|0"] == {
        "customerId": "ada",
        "orderCount": 1,
        "pendingCount": 1,
        "shippedCount": 0,
        "cancelledCount": 0,
        "lifetimeValue": 3981,
        "lastOrderAt": T + timedelta(seconds=1),
    }
    assert memory.of(PRODUCT_SALES)["p1|0"] == {"productId": "p1", "unitsSold": 2}
    assert memory.of(DAILY_SALES) == {
        "2026-11-23|0": {"date": "2026-11-23", "orderCount": 1, "cancelledCount": 0, "revenue": 3981}
    }


def test_a_cancelled_order_adds_no_revenue_and_no_sold_units() -> None:
    memory = folded("orders", "o1", created(), CANCELLED)
    summary = memory.of(CUSTOMER_SUMMARIES)["ada|0"]
    assert (summary["orderCount"], summary["cancelledCount"], summary["lifetimeValue"]) == (1, 1, 0)
    assert memory.of(PRODUCT_SALES)["p1|0"]["unitsSold"] == 0
    day = memory.of(DAILY_SALES)["2026-11-23|0"]
    assert (day["orderCount"], day["cancelledCount"], day["revenue"]) == (1, 1, 0)


def fields(documents: Iterable[Document]) -> set[str]:
    """The names of all fields in any of the documents."""
    return {name for document in documents for name in document}


def test_customer_names_are_stored_only_in_customers() -> None:
    orders = folded("orders", "o1", created(), SHIPPED)
    cancelled = OrderCancelled(order_id="o2", reason="too late")
    fold(orders, [record("orders", "o2", 1, created("o2")), record("orders", "o2", 2, cancelled)])
    news = {"_id", "orderId", "customerId", "type", "version", "traceparent", "order", "at"}
    times = {"occurredAt", "receivedAt", "committedAt", "publishedAt", "projectedAt"}
    place = {"topic", "partition", "offset"}
    counts = {"orderCount", "pendingCount", "shippedCount", "cancelledCount", "lifetimeValue"}
    order = {*PENDING_ORDER, "shippedAt", "trackingNumber", "cancelledAt", "cancellationReason"}
    assert {model: fields(documents.values()) for model, documents in orders.documents.items()} == {
        ORDERS: order,
        ORDER_HISTORY: (news - {"at"}) | {"actor", "data"} | times | place,
        CUSTOMER_SUMMARIES: {"customerId", "lastOrderAt"} | counts,
        PRODUCT_SALES: {"productId", "unitsSold"},
        DAILY_SALES: {"date", "orderCount", "cancelledCount", "revenue"},
    }
    assert fields(orders.feed) == news
    assert fields(entry["order"] for entry in orders.feed) == order
    assert fields(entry["order"] for entry in orders.of(ORDER_HISTORY).values()) == order

    customers = folded("customers", "ada", registered(), CHANGED)
    assert customers.documents.keys() == {CUSTOMERS}
    assert not customers.feed


def registered(name: str = "ada") -> CustomerRegistered:
    return CustomerRegistered(customer_id="ada", name=name, email=f"{name}@example.com")


CHANGED = CustomerDetailsChanged(customer_id="ada", name="countess", email="c@example.com")
ERASED = CustomerErased(customer_id="ada")


def test_a_customer_has_its_latest_name() -> None:
    customer = {"_id": "ada", "name": "COUNTESS", "email": "C@EXAMPLE.COM", "version": 2, "erased": False}
    assert folded("customers", "ada", registered(), CHANGED).of(CUSTOMERS) == {"ada": customer}


def test_an_erased_customer_has_no_name() -> None:
    customer = {"_id": "ada", "name": None, "email": None, "version": 2, "erased": True}
    assert folded("customers", "ada", registered(), ERASED).of(CUSTOMERS) == {"ada": customer}


def test_a_customer_without_a_key_has_no_name() -> None:
    customer = {"_id": "ada", "name": None, "email": None, "version": 1, "erased": False}
    assert folded("customers", "ada", registered(), reveal=key_gone).of(CUSTOMERS) == {"ada": customer}


def test_a_product_follows_its_events() -> None:
    listed = ProductListed(product_id="p1", name="Lamp", price=Money(1990))
    renamed = ProductRenamed(product_id="p1", name="Light")
    repriced = ProductRepriced(product_id="p1", price=Money(5))
    delisted = ProductDelisted(product_id="p1")
    light = {"_id": "p1", "name": "Light", "price": 5, "available": False, "version": 4}
    assert folded("products", "p1", listed, renamed, repriced, delisted).of(PRODUCTS) == {"p1": light}
    again = folded("products", "p1", listed, delisted, listed).of(PRODUCTS)["p1"]
    assert (again["available"], again["version"]) == (True, 3)


@st.composite
def streams(draw: st.DrawFn) -> list[list[Rec]]:
    """Records of several aggregates, each stream in order."""
    found: list[tuple[str, str, list[Event]]] = []
    for number in range(draw(st.integers(1, 4))):
        order, customer = f"o{number}", draw(st.sampled_from(["ada", "bob"]))
        ends: list[list[Event]] = [
            [],
            [OrderShipped(order_id=order, tracking_number="T")],
            [OrderCancelled(order_id=order, reason="r")],
        ]
        events: list[Event] = [created(order, customer, quantity=draw(st.integers(1, 9)))]
        found.append(("orders", order, [*events, *draw(st.sampled_from(ends))]))
    changes = draw(st.lists(st.sampled_from("xyz"), max_size=3))
    people: list[Event] = [registered()]
    people += [registered_again(name) for name in changes]
    found.append(("customers", "ada", people + ([ERASED] if draw(st.booleans()) else [])))
    prices = draw(st.lists(st.integers(1, 99), max_size=3))
    goods: list[Event] = [ProductListed(product_id="p1", name="Lamp", price=Money(7))]
    goods += [ProductRepriced(product_id="p1", price=Money(price)) for price in prices]
    found.append(("products", "p1", goods))
    return [[record(topic, s, n, e) for n, e in enumerate(events, 1)] for topic, s, events in found]


def registered_again(name: str) -> CustomerDetailsChanged:
    return CustomerDetailsChanged(customer_id="ada", name=name, email=f"{name}@example.com")


def interleaved(parts: Iterable[list[Rec]], chance: random.Random) -> list[Rec]:
    """Any interleaving that keeps each stream's order; records already seen may be repeated."""
    waiting, mixed = [list(part) for part in parts], list[Rec]()
    while left := [part for part in waiting if part]:
        mixed.append(chance.choice(left).pop(0))
        if chance.random() < 0.3:
            mixed.append(chance.choice(mixed))
    return mixed


def batches(records: list[Rec], chance: random.Random) -> Iterable[list[Rec]]:
    """Split into batches of one topic each."""
    for topic in chance.sample(sorted(MODELS), 3):
        rest = [each for each in records if each.topic == topic]
        while rest:
            size = chance.randint(1, 5)
            yield rest[:size]
            rest = rest[size:]


@given(streams(), st.randoms(use_true_random=False))
def test_interleaving_repeats_and_batching_do_not_change_the_documents(
    parts: list[list[Rec]], chance: random.Random
) -> None:
    plainly, mixed = Memory(), Memory()
    for part in parts:
        fold(plainly, part)
    for batch in batches(interleaved(parts, chance), chance):
        folding = fold(mixed, batch)
        assert not folding.letters
        assert not folding.holes
    assert mixed.documents == plainly.documents
    assert {news["_id"] for news in mixed.feed} == {news["_id"] for news in plainly.feed}
    assert len(mixed.feed) == len(plainly.feed)
