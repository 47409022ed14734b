"""Pages are exact, and reading one costs no more than what it shows."""

from collections.abc import AsyncIterator, Iterator
from datetime import timedelta
from typing import Any

import pytest
import pytest_asyncio

from services.query.documents.orders import page_pipeline
from services.query.documents.shapes import PageKey
from shared.documents import CUSTOMERS, INDEXES, ORDERS, collection
from tests.query_service import (
    NOON,
    Document,
    Store,
    System,
    authorization,
    order_document,
    order_id,
    query_system,
)

pytestmark = pytest.mark.integration


@pytest_asyncio.fixture
async def system(mongodb_url: str, mongodb_database: str) -> AsyncIterator[System]:
    async with query_system(mongodb_url, mongodb_database) as running:
        yield running


def at(number: int, moment: int, **more: Any) -> Document:
    created = NOON + timedelta(milliseconds=moment)
    return order_document(number, createdAt=created, updatedAt=created, **more)


async def walk(system: System, path: str, headers: dict[str, str] | None = None) -> list[str]:
    """The ids (or product ids) of all pages."""
    seen: list[str] = []
    cursor: str | None = ""
    while cursor is not None:
        answer = await system.get(path + (f"&cursor={cursor}" if cursor else ""), headers)
        page = answer.json()
        assert page["hasMore"] == (page["nextCursor"] is not None)
        seen += [entry.get("id") or entry["productId"] for entry in page["data"]]
        cursor = page["nextCursor"]
    return seen


async def test_orders_with_the_same_time_are_each_shown_once(system: System) -> None:
    orders = [at(number, number // 7) for number in range(40)]
    await system.store.live(ORDERS).insert_many(orders)
    newest_first = [order_id(number) for number in reversed(range(40))]
    for limit in (1, 3, 7, 39, 40, 41):
        assert await walk(system, f"/orders?limit={limit}") == newest_first


async def test_filters_and_ownership_limit_a_list(system: System) -> None:
    statuses = ("pending", "shipped", "cancelled")
    orders = [at(n, n, customer=("ada", "bob")[n % 2], status=statuses[n % 3]) for n in range(24)]
    await system.store.live(ORDERS).insert_many(orders)

    def ids(chosen: Iterator[int]) -> list[str]:
        return [order_id(number) for number in chosen]

    down = range(23, -1, -1)
    shown = await walk(system, "/orders?limit=2&status=shipped")
    assert shown == ids(n for n in down if n % 3 == 1)
    shown = await walk(system, "/orders?limit=2&customerId=ada&status=pending")
    assert shown == ids(n for n in down if n % 6 == 0)
    shown = await walk(system, "/orders?limit=5", authorization("bob"))
    assert shown == ids(n for n in down if n % 2 == 1)
    shown = await walk(system, "/orders?limit=5&customerId=bob&status=cancelled", authorization("bob"))
    assert shown == ids(n for n in down if n % 6 == 5)
    assert (await system.get("/orders")).json()["hasMore"] is True
    assert len((await system.get("/orders")).json()["data"]) == 20


async def test_orders_that_arrive_while_paging_cause_no_gaps_or_repeats(system: System) -> None:
    orders = system.store.live(ORDERS)
    await orders.insert_many([at(number, number) for number in range(100, 120)])
    seen: list[str] = []
    cursor = ""
    for step in range(10):
        page = (await system.get("/orders?limit=3" + (f"&cursor={cursor}" if cursor else ""))).json()
        seen += [order["id"] for order in page["data"]]
        # newer, older, and with the very time that was just shown
        await orders.insert_many(
            [at(200 + step, 500), at(step, -500), at(300 + step, 120 - len(seen), status="shipped")]
        )
        if not page["hasMore"]:
            break
        cursor = page["nextCursor"]
    for number in range(100, 120):
        assert seen.count(order_id(number)) == 1
    assert len(set(seen)) == len(seen)


async def test_products_are_paged_by_id(system: System) -> None:
    names = ["B", "a", "a-1", "a.1", "a~", "b", "z"]
    for name in names:
        await system.store.put_product(name)
    for limit in (1, 2, 7, 8):
        assert await walk(system, f"/products?limit={limit}") == sorted(names)


def stages(explained: Any) -> Iterator[Document]:
    """Every part of an explanation except for the command and the rejected plans."""
    if isinstance(explained, dict):
        yield explained
        for name, value in explained.items():
            if name not in {"rejectedPlans", "command"}:
                yield from stages(value)
    elif isinstance(explained, list):
        for value in explained:
            yield from stages(value)


async def explained(store: Store, pipeline: list[Any]) -> list[Document]:
    """The parts of a pipeline's explanation, run on the orders."""
    command = {
        "explain": {"aggregate": collection(ORDERS, store.generation), "pipeline": pipeline, "cursor": {}},
        "verbosity": "executionStats",
    }
    return list(stages(await store.database.command(command)))


@pytest.mark.parametrize("customer", [None, "ada"])
@pytest.mark.parametrize("status", [None, "pending"])
@pytest.mark.parametrize("behind", [None, 5, 900])
async def test_a_page_reads_one_order_more_than_it_shows(
    system: System, customer: str | None, status: str | None, behind: int | None
) -> None:
    store = system.store
    orders = [
        at(n, n // 10, customer=("ada", "bob")[n % 2], status=("pending", "shipped")[n // 2 % 2])
        for n in range(1000)
    ]
    await store.live(ORDERS).insert_many(orders)
    for keys in INDEXES["orders"]:
        await store.live(ORDERS).create_index(list(keys.items()))
    after = None if behind is None else PageKey(NOON + timedelta(milliseconds=behind // 10), order_id(behind))
    pipeline = page_pipeline(lambda name: collection(name, "1"), customer, status, after, 10)

    # the customers' names are joined after the limit, by id
    assert set(pipeline.pop()) == {"$lookup"}
    parts = await explained(store, pipeline)
    names = {part.get("stage") for part in parts} | {key for part in parts for key in part}
    assert "COLLSCAN" not in names
    assert "SORT" not in names
    assert "$sort" not in names
    examined = [part["totalDocsExamined"] for part in parts if "totalDocsExamined" in part]
    assert examined
    assert sum(examined) <= 11 if after is None else max(examined) <= 11


async def test_names_are_joined_by_id(system: System) -> None:
    await system.store.live(ORDERS).insert_many([at(number, number) for number in range(50)])
    await system.store.live(CUSTOMERS).insert_many(
        [{"_id": f"c{n}", "name": "C", "version": 1} for n in range(500)]
    )
    pipeline = page_pipeline(lambda name: collection(name, "1"), None, None, None, 10)
    parts = await explained(system.store, list(pipeline))
    joins = [part for part in parts if "$lookup" in part or part.get("stage") == "EQ_LOOKUP"]
    assert joins
    assert all(part.get("collectionScans", 0) == 0 for part in joins)
