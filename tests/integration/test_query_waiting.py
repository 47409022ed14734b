"""Read-your-writes, and the reported freshness."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import UTC, datetime, timedelta

import httpx
import pytest
import pytest_asyncio

from shared.documents import CHECKPOINTS, CUSTOMER_SUMMARIES, checkpoint_id
from tests.query_service import (
    STAFF,
    Store,
    System,
    authorization,
    order_document,
    order_id,
    query_system,
    shipped,
)
from tests.servers import eventually

pytestmark = pytest.mark.integration

ADA = authorization("ada")
UNKNOWN = 2_147_483_647


@pytest_asyncio.fixture
async def system(mongodb_url: str, mongodb_database: str) -> AsyncIterator[System]:
    async with query_system(mongodb_url, mongodb_database) as running:
        yield running


async def waiting(system: System, path: str, headers: dict[str, str]) -> asyncio.Task[httpx.Response]:
    """A request, returned once it is waiting."""
    expected = await system.waiting() + 1
    task = asyncio.create_task(system.client.get(path, headers={**headers, "Prefer": "wait=20"}))

    async def waits() -> bool:
        return await system.waiting() >= expected

    await eventually(waits, "the request waits")
    return task


async def test_an_answer_waits_for_its_version(system: System) -> None:
    order = order_document(1)
    request = await waiting(system, f"/orders/{order_id(1)}?minVersion=2", ADA)
    await system.store.put_order(order)
    await system.store.put_order(shipped(order))
    began = time.monotonic()
    answer = await request

    assert (answer.status_code, answer.json()["version"]) == (200, 2)
    assert answer.headers["preference-applied"] == "wait=20"
    assert time.monotonic() - began < 1
    assert (await system.get(f"/orders/{order_id(1)}?minVersion=2", ADA)).status_code == 200
    assert (await system.get(f"/orders/{order_id(1)}?minVersion=3", ADA)).status_code == 503


async def test_requests_for_summaries_and_products_wait_too(system: System) -> None:
    part = {"orderCount": 1, "pendingCount": 1, "shippedCount": 0, "cancelledCount": 0, "lifetimeValue": 1}
    await system.store.put_parts(CUSTOMER_SUMMARIES, "ada", [part])
    summary = await waiting(system, "/customers/ada/summary?minVersion=1", ADA)
    product = await waiting(system, "/products/lamp?minVersion=2", ADA)
    await system.store.put_customer("ada", "Ada")
    await system.store.put_product("lamp")
    await system.store.put_product("lamp", version=2)

    assert (await summary).json()["name"] == "Ada"
    assert (await product).json()["version"] == 2


async def test_requests_for_foreign_orders_wait_like_those_for_absent_ones(system: System) -> None:
    await system.store.put_order(order_document(1))
    bob = {**authorization("bob"), "Prefer": "wait=1"}
    for number in (1, 2):
        began = time.monotonic()
        answer = await system.client.get(f"/orders/{order_id(number)}?minVersion=1", headers=bob)
        assert (answer.status_code, answer.json()["code"]) == (503, "read-model-behind")
        assert answer.headers["retry-after"] == "1"
        assert 0.9 < time.monotonic() - began < 3


async def test_a_disconnected_caller_stops_waiting(system: System) -> None:
    request = await waiting(system, f"/orders/{order_id(1)}?minVersion=1", ADA)
    request.cancel()

    async def none_waits() -> bool:
        return await system.waiting() == 0

    await eventually(none_waits, "no request waits any more")


async def test_a_thousand_waiting_requests_cost_little_and_are_woken_together(system: System) -> None:
    asked = [f"/orders/{order_id(number % 10)}?minVersion=1" for number in range(1000)]
    requests = [asyncio.create_task(status_of(system.url, path, ADA)) for path in asked]

    async def all_wait() -> bool:
        return await system.waiting() == len(asked)

    await eventually(all_wait, "all wait", 30)
    reads = await commands_of(system.store)
    used, began = time.process_time(), time.monotonic()
    await asyncio.sleep(1)
    assert (time.process_time() - used) / (time.monotonic() - began) < 0.5
    # only the followers of the feed and of the freshness run queries
    assert await commands_of(system.store) - reads < 20
    for number in range(10):
        await system.store.put_order(order_document(number))
    assert set(await asyncio.gather(*requests)) == {200}


async def status_of(url: str, path: str, headers: dict[str, str]) -> int:
    """The status of an answer that may wait. A thousand are too many for a pooling client."""
    host, _, port = url.removeprefix("http://").partition(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    lines = [f"GET {path} HTTP/1.1", f"Host: {host}", "Prefer: wait=30", "Connection: close"]
    lines += [f"{name}: {value}" for name, value in headers.items()]
    writer.write("\r\n".join([*lines, "", ""]).encode())
    status = int((await reader.readline()).split()[1])
    await reader.read()
    writer.close()
    await writer.wait_closed()
    return status


async def commands_of(store: Store) -> int:
    """How many aggregations the server has run."""
    status = await store.database.client.admin.command("serverStatus")
    total: int = status["metrics"]["commands"]["aggregate"]["total"]
    return total


async def test_a_wait_continues_through_a_switch(system: System) -> None:
    request = await waiting(system, "/products/lamp?minVersion=1", ADA)
    await system.store.point_to("2")
    await system.store.put_product("lamp")
    assert (await request).status_code == 200


async def lag(system: System) -> int:
    return int((await system.get("/products")).headers["x-read-model-lag-ms"])


def lag_is(system: System, holds: Callable[[int], bool]) -> Callable[[], Awaitable[bool]]:
    async def is_as_expected() -> bool:
        return holds(await lag(system))

    return is_as_expected


async def put_checkpoint(store: Store, generation: str, offset: int, *, live: bool) -> None:
    name = checkpoint_id(generation, "orders", 0)
    document = {
        "generation": generation,
        "topic": "orders",
        "partition": 0,
        "incarnation": "first",
        "offset": offset,
        "live": live,
    }
    await store.collection(CHECKPOINTS).replace_one({"_id": name}, {"_id": name, **document}, upsert=True)


async def test_freshness_comes_from_heartbeats_that_were_read_past(system: System) -> None:
    assert await lag(system) == UNKNOWN
    await put_checkpoint(system.store, "1", 4, live=True)
    await put_checkpoint(system.store, "2", 100, live=False)
    old = datetime.now(UTC) - timedelta(seconds=60)
    await system.store.beat(old, 5)
    await eventually(lag_is(system, lambda ms: 60_000 <= ms < 70_000), "the old heartbeat counts")
    await system.store.beat(datetime.now(UTC), 6)
    first = await lag(system)
    assert first >= 60_000
    await put_checkpoint(system.store, "1", 5, live=True)
    await eventually(lag_is(system, lambda ms: ms < 5_000), "the new heartbeat counts")
    # no more heartbeats arrive, so the lag grows
    await eventually(lag_is(system, lambda ms: ms > 700), "the lag grows")


async def test_freshness_needs_every_shard(system: System) -> None:
    await put_checkpoint(system.store, "1", 9, live=True)
    await system.store.beat(datetime.now(UTC), 10)
    await eventually(lag_is(system, lambda ms: ms < 5_000), "a single shard suffices")
    await system.store.beat(datetime.now(UTC), 10, shards=2)
    await eventually(lag_is(system, lambda ms: ms == UNKNOWN), "a missing shard makes the lag unknown")
    await system.store.beat(datetime.now(UTC), 10, shards=2, shard=1)
    await eventually(lag_is(system, lambda ms: ms < 5_000), "both shards count")
    assert (await system.get("/orders", STAFF)).headers["x-read-model-lag-ms"]
