"""Invariants that hold in the end, whatever happened to the processes."""

import asyncio
from collections import Counter
from collections.abc import Iterable, Sequence
from decimal import Decimal
from typing import Any, Final

import psycopg

from tests.chaos.clients import STATUSES, is_renamed
from tests.chaos.ledger import Change, Ledger, Order, latest
from tests.chaos.listeners import Event
from tests.chaos.reading import walked
from tests.end_to_end.conftest import System
from tests.end_to_end.shop import Person

_AT_ONCE: Final = 16
Document = dict[str, Any]


async def orders_are_as_answered(
    staff: Person, buyers: Iterable[Person], ledger: Ledger
) -> Sequence[Document]:
    """Check that exactly the accepted orders exist, once each and as answered; return their documents."""
    for reader in (staff, *buyers):
        read = Counter(order["id"] for order in await walked(reader, "/orders"))
        asked = Counter(order.id for order in ledger.of(None if reader is staff else reader.name))
        assert read == asked, f"{reader.name}: lost {asked - read}, unexpected or duplicated {read - asked}"
    documents = await walked(staff, "/orders")
    limit = asyncio.Semaphore(_AT_ONCE)

    async def check(document: Document) -> None:
        order = ledger.orders[document["id"]]
        _agrees(document, order, ledger)
        async with limit:
            history = (await staff.see(f"/orders/{order.id}/history"))["data"]
        _same(
            f"the history of order {order.id}",
            [(entry["version"], entry["type"]) for entry in history],
            sorted((change.version, change.type) for change in order.changes),
        )

    await asyncio.gather(*(check(document) for document in documents))
    return documents


def _agrees(document: Document, order: Order, ledger: Ledger) -> None:
    last = latest(order.changes)
    expected: Document = {
        "customerId": order.customer,
        "customerName": latest(ledger.customers[order.customer]).value,
        "status": STATUSES[last.type],
        "version": last.version,
        "trackingNumber": last.value if last.type == "OrderShipped" else None,
        "cancellationReason": last.value if last.type == "OrderCancelled" else None,
    }
    _same(f"order {order.id}", {name: document.get(name) for name in expected}, expected)
    items = document["items"]
    _same(f"items of {order.id}", {it["productId"]: it["quantity"] for it in items}, order.quantities)
    total = sum(Decimal(item["price"]) * item["quantity"] for item in items)
    _same(f"the total of {order.id}", Decimal(document["total"]), total)
    created = order.changes[0]
    for item in items:  # its price was the product's at some moment between request and answer
        prices = ledger.products[item["productId"]]
        known = max(it.version for it in prices if it.answered_at < created.sent_at)
        then = [it.value for it in prices if it.version >= known and it.sent_at < created.answered_at]
        assert item["price"] in then, f"order {order.id}: {item}, the price at the time was one of {then}"


async def figures_agree(staff: Person, ledger: Ledger, orders: Sequence[Document]) -> None:
    """Check that summaries, products and daily sales agree with the orders and the last changes."""
    for customer, changes in ledger.customers.items():
        own = [order for order in orders if order["customerId"] == customer]
        statuses = Counter(order["status"] for order in own)
        expected = {
            "name": latest(changes).value,
            "version": _counted(customer, changes, 1),
            "orderCount": len(own),
            **{f"{status}Count": statuses[status] for status in STATUSES.values()},
            "lifetimeValue": _worth(own),
            "lastOrderAt": max((order["createdAt"] for order in own), default=None),
        }
        summary = await staff.see(f"/customers/{customer}/summary")
        _same(f"the summary of {customer}", {name: summary[name] for name in expected}, expected)
    sold = Counter[str]()
    for order in orders:
        if order["status"] != "cancelled":
            sold.update({item["productId"]: item["quantity"] for item in order["items"]})
    products = {
        name: (latest(changes).value, _counted(name, changes, 1 + is_renamed(name)), sold[name])
        for name, changes in ledger.products.items()
    }
    listed = await walked(staff, "/products")
    read = {it["productId"]: (it["price"], it["version"], it["unitsSold"]) for it in listed}
    _same("price, version and units sold of the products", read, products)
    days = sorted({order["createdAt"][:10] for order in orders})
    sales = (await staff.see(f"/reports/daily-sales?from={days[0]}&to={days[-1]}"))["data"]
    _same("daily sales", sales, [_day(day, orders) for day in days])


def _day(day: str, orders: Iterable[Document]) -> Document:
    its = [order for order in orders if order["createdAt"].startswith(day)]
    cancelled = sum(order["status"] == "cancelled" for order in its)
    return {"date": day, "orderCount": len(its), "cancelledCount": cancelled, "revenue": _worth(its)}


def _worth(orders: Iterable[Document]) -> str:
    return str(sum((Decimal(it["total"]) for it in orders if it["status"] != "cancelled"), Decimal("0.00")))


def _counted(stream: str, changes: Sequence[Change], step: int) -> int:
    """The version after all changes; each happened once, so the answers were 1, 1 + step, and so on."""
    versions = sorted(change.version for change in changes)
    _same(f"versions of {stream}", versions, [1 + step * place for place in range(len(changes))])
    return versions[-1]


def _same(what: str, read: object, expected: object) -> None:
    assert read == expected, f"{what}: read {read}, but the answers say {expected}"


async def topics_hold_the_store(system: System, published: set[Event]) -> None:
    """Check that exactly the committed events are published and the outbox is empty."""
    async with await psycopg.AsyncConnection.connect(system.endpoints["postgres"]) as connection:
        left = await (await connection.execute("SELECT * FROM outbox")).fetchall()
        rows = await connection.execute("SELECT event_id::text, stream_id, version FROM events")
        committed = set(await rows.fetchall())
    assert not left, f"the outbox still holds {left}"
    assert not committed - published, f"committed, but never published: {committed - published}"
    assert not published - committed, f"published, but not committed: {published - committed}"
