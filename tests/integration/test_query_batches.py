"""Reads that share a round trip get complete answers, however large they are."""

import asyncio
import weakref
from typing import Final

import pytest

from services.query.documents.connecting import Connection
from services.query.documents.customers import Customers
from services.query.documents.generations import LiveGeneration
from services.query.documents.orders import Orders
from services.query.documents.shapes import Order
from services.query.http.orders import represented
from shared.documents import CUSTOMERS, ORDERS
from tests.query_service import Store, order_document, order_id, store_of

pytestmark = pytest.mark.integration
MUCH: Final = "x" * 1_000_000


async def open_cursors(store: Store) -> int:
    """How many cursors are open on the server."""
    status = await store.database.command("serverStatus")
    found: int = status["metrics"]["cursor"]["open"]["total"]
    return found


async def test_orders_too_large_for_one_batch_are_all_returned(
    mongodb_url: str, mongodb_database: str
) -> None:
    async with (
        store_of(mongodb_url, mongodb_database) as store,
        Connection(mongodb_url, mongodb_database) as connection,
        Orders(LiveGeneration(connection)) as orders,
    ):
        documents = [order_document(number, trackingNumber=MUCH) for number in range(20)]
        await store.live(ORDERS).insert_many(documents)
        await store.put_customer("ada", "Ada")
        before = await open_cursors(store)
        found = await asyncio.gather(*(orders.get(order_id(number)) for number in range(20)))
        assert [(order.id, order.customer_name) for order in found if order is not None] == [
            (order_id(number), "Ada") for number in range(20)
        ]
        assert await open_cursors(store) == before, "no cursor is left open"


async def test_few_large_orders_are_kept(
    mongodb_url: str, mongodb_database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("services.query.documents.orders._MOST_KNOWN_BYTES", 5 * len(MUCH))
    async with (
        store_of(mongodb_url, mongodb_database) as store,
        Connection(mongodb_url, mongodb_database) as connection,
        Orders(LiveGeneration(connection)) as orders,
    ):
        documents = [order_document(number, trackingNumber=MUCH) for number in range(8)]
        await store.live(ORDERS).insert_many(documents)

        async def read(number: int) -> weakref.ref[Order]:
            order = await orders.get(order_id(number))
            assert order is not None
            assert MUCH.encode() in represented(order).body
            return weakref.ref(order)

        read_before = [await read(number) for number in range(8)]
        assert [order() is not None for order in read_before] == [False] * 4 + [True] * 4


async def test_names_too_many_for_one_batch_are_all_returned(mongodb_url: str, mongodb_database: str) -> None:
    async with (
        store_of(mongodb_url, mongodb_database) as store,
        Connection(mongodb_url, mongodb_database) as connection,
        Customers(LiveGeneration(connection)) as customers,
    ):
        names = [f"c{number}" for number in range(12_000)]
        await store.live(CUSTOMERS).insert_many([{"_id": name, "name": name, "version": 1} for name in names])
        found = await customers.names.of(names)
        assert {name: customer.name for name, customer in found.items()} == {name: name for name in names}
