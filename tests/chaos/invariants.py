"""What holds in the end, whatever befell the processes."""

import asyncio
from collections import Counter
from collections.abc import Iterable, Sequence
from decimal import Decimal
from typing import Any, Final

import psycopg
from aiokafka import AIOKafkaConsumer, TopicPartition

from shared.topics import CATEGORIES, DEFAULT_PARTITIONS, dead_letters
from tests.chaos.clients import is_renamed
from tests.chaos.ledger import Change, Ledger, Order, latest
from tests.chaos.reading import walked
from tests.end_to_end.conftest import System
from tests.end_to_end.shop import Person

_AT_ONCE: Final = 16
_STATUSES: Final = {"OrderCreated": "pending", "OrderShipped": "shipped", "OrderCancelled": "cancelled"}
Documents = dict[str, dict[str, Any]]


async def orders_are_as_answered(staff: Person, buyers: Iterable[Person], ledger: Ledger) -> Documents:
    """Every order that was accepted is there once, and no other; the documents, by id."""
    for reader, customer in [(staff, None), *((buyer, buyer.name) for buyer in buyers)]:
        read = Counter(order["id"] for order in await walked(reader, "/orders"))
        asked = Counter(order.id for order in ledger.of(customer))
        assert read == asked, f"{reader.name}: lost {asked - read}, unasked for or twice {read - asked}"
    documents = {order["id"]: order for order in await walked(staff, "/orders")}
    for order in ledger.orders.values():
        _agrees(documents[order.id], order, ledger)
    await _histories(staff, ledger.of(None))
    return documents


def _agrees(document: dict[str, Any], order: Order, ledger: Ledger) -> None:
    last = latest(order.changes)
    expected = {
        "customerId": order.customer,
        "customerName": latest(ledger.customers[order.customer]).value,
        "status": _STATUSES[last.type],
        "version": order.version(),
        "trackingNumber": last.value if last.type == "OrderShipped" else None,
        "cancellationReason": last.value if last.type == "OrderCancelled" else None,
    }
    read = {name: document.get(name) for name in expected}
    assert read == expected, f"order {order.id} is {read}, answered was {expected}"
    quantities = {item["productId"]: item["quantity"] for item in document["items"]}
    assert quantities == order.quantities, f"order {order.id} has {quantities}, asked for {order.quantities}"
    total = sum(Decimal(item["price"]) * item["quantity"] for item in document["items"])
    assert Decimal(document["total"]) == total, f"order {order.id} costs {document['total']}, not {total}"
    for item in document["items"]:
        _was_the_price(item, order, ledger.products[item["productId"]])


def _was_the_price(item: dict[str, Any], order: Order, changes: Sequence[Change]) -> None:
    """It was the product's at a moment between asking and being answered."""
    created = order.changes[0]
    known = max(it.version for it in changes if it.answered_at < created.sent_at)
    possible = [it.value for it in changes if it.version >= known and it.sent_at < created.answered_at]
    assert item["price"] in possible, f"order {order.id}: {item}, the price then was one of {possible}"


async def _histories(staff: Person, orders: Sequence[Order]) -> None:
    limit = asyncio.Semaphore(_AT_ONCE)

    async def check(order: Order) -> None:
        async with limit:
            entries = (await staff.see(f"/orders/{order.id}/history"))["data"]
        read = [(entry["version"], entry["type"]) for entry in entries]
        expected = sorted((change.version, change.type) for change in order.changes)
        assert read == expected, f"the history of order {order.id} is {read}, answered was {expected}"

    await asyncio.gather(*(check(order) for order in orders))


async def figures_agree(staff: Person, ledger: Ledger, documents: Documents) -> None:
    """Summaries, products and daily sales say what the orders say, and have what was set last."""
    for customer, changes in ledger.customers.items():
        _counts_up(customer, changes, 1)
        own = [it for it in documents.values() if it["customerId"] == customer]
        statuses = Counter(order["status"] for order in own)
        summary = await staff.see(f"/customers/{customer}/summary")
        last = latest(changes)
        expected = {
            "name": last.value,
            "version": last.version,
            "orderCount": len(own),
            **{f"{status}Count": statuses[status] for status in _STATUSES.values()},
            "lifetimeValue": _worth(own),
            "lastOrderAt": max((order["createdAt"] for order in own), default=None),
        }
        read = {name: summary[name] for name in expected}
        assert read == expected, f"the summary of {customer} is {read}, the orders say {expected}"
    sold = Counter[str]()
    for order in documents.values():
        if order["status"] != "cancelled":
            sold.update({item["productId"]: item["quantity"] for item in order["items"]})
    products = {it["productId"]: it for it in await walked(staff, "/products")}
    assert products.keys() == ledger.products.keys(), f"products are {list(products)}"
    for product, changes in ledger.products.items():
        _counts_up(product, changes, 2 if is_renamed(product) else 1)
        last = latest(changes)
        expected = {"price": last.value, "version": last.version, "unitsSold": sold[product]}
        read = {name: products[product][name] for name in expected}
        assert read == expected, f"product {product} is {read}, orders and answers say {expected}"
    await _daily_sales_agree(staff, documents)


def _counts_up(stream: str, changes: Sequence[Change], step: int) -> None:
    """Each of the changes happened once: they were answered 1, 1 + step, and so on."""
    versions = sorted(change.version for change in changes)
    assert versions == [1 + step * place for place in range(len(changes))], f"{stream}: {versions}"


async def _daily_sales_agree(staff: Person, documents: Documents) -> None:
    days = sorted({order["createdAt"][:10] for order in documents.values()})
    expected = []
    for day in days:
        orders = [it for it in documents.values() if it["createdAt"].startswith(day)]
        cancelled = sum(order["status"] == "cancelled" for order in orders)
        figures = {"orderCount": len(orders), "cancelledCount": cancelled, "revenue": _worth(orders)}
        expected.append({"date": day, **figures})
    read = (await staff.see(f"/reports/daily-sales?from={days[0]}&to={days[-1]}"))["data"]
    assert read == expected, f"daily sales are {read}, the orders say {expected}"


def _worth(orders: Iterable[dict[str, Any]]) -> str:
    return str(sum((Decimal(it["total"]) for it in orders if it["status"] != "cancelled"), Decimal("0.00")))


async def stored(system: System) -> dict[str, tuple[str, int]]:
    """The event store: stream and version by the event's id. Nothing is left to be published."""
    async with await psycopg.AsyncConnection.connect(system.endpoints["postgres"]) as connection:
        left = await (await connection.execute("SELECT * FROM outbox")).fetchall()
        assert not left, f"the outbox still holds {left}"
        rows = await connection.execute("SELECT event_id::text, stream_id, version FROM events")
        return {event: (stream, version) for event, stream, version in await rows.fetchall()}


def topics_agree(events: dict[str, tuple[str, int]], published: dict[str, tuple[str, int]]) -> None:
    """Everything committed is published, and nothing else."""
    lost, invented = events.items() - published.items(), published.items() - events.items()
    assert not lost, f"committed, but never published: {lost}"
    assert not invented, f"published, but not committed: {invented}"


async def no_dead_letters(system: System) -> None:
    """The projection could use everything."""
    places = [TopicPartition(dead_letters(it), n) for it in CATEGORIES for n in range(DEFAULT_PARTITIONS)]
    consumer = AIOKafkaConsumer(bootstrap_servers=system.endpoints["kafka"])
    await consumer.start()
    try:
        ends = await consumer.end_offsets(places)
    finally:
        await consumer.stop()
    assert not any(ends.values()), f"dead letters: {ends}"
