"""Rebuilds and renames are invisible to readers of the query service."""

import asyncio
import json
from collections import Counter, defaultdict
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import pytest
import pytest_asyncio
from websockets.asyncio.client import ClientConnection, connect

from shared.events import CustomerDetailsChanged, CustomerRegistered, ProductListed
from shared.money import Money
from tests.integration.test_projection import names
from tests.integration.test_projection_rebuild import live, orders_arriving
from tests.projecting import World, created, shipped, world
from tests.query_service import STAFF, serving
from tests.relaying import remake_topics
from tests.servers import Server, eventually

pytestmark = pytest.mark.integration


@dataclass
class Service:
    """A query service on the documents of a projection."""

    around: World
    url: str
    client: httpx.AsyncClient

    async def get(self, path: str, **headers: str) -> httpx.Response:
        """Send a GET as staff."""
        return await self.client.get(path, headers={**STAFF, **headers})

    async def waiting(self) -> bool:
        """Whether a request waits for a document."""
        return "query_waiting_requests 1.0" in (await self.client.get("/metrics")).text


@pytest_asyncio.fixture
async def service(kafka: Server, mongodb: Server, tmp_path: Path) -> AsyncIterator[Service]:
    """A running projection and query service, with a hundred orders."""
    await remake_topics(kafka.url)
    async with world(kafka.url, mongodb.url, tmp_path) as around:
        await (await around.projection()).ready()
        orders = names(100)
        await around.topics.publish("orders", [(order, 1, created(order)) for order in orders])
        await around.topics.publish("orders", [(order, 2, shipped(order)) for order in orders])
        await around.projected(200)
        async with (
            serving(mongodb.url, around.database.name) as url,
            httpx.AsyncClient(base_url=url, timeout=40) as client,
        ):
            running = Service(around, url, client)

            async def followed() -> bool:
                return (await client.head("/orders/stream", headers=STAFF)).status_code == 200

            await eventually(followed, "the feed is followed")
            yield running


@dataclass
class Seen:
    """What a reader saw."""

    rounds: int = 0
    order_counts: list[int] = field(default_factory=list)
    generations: set[str] = field(default_factory=set)


@asynccontextmanager
async def reading(service: Service) -> AsyncIterator[Seen]:
    """Reads continuously: no answer may fail, be incomplete, or differ where nothing changed."""
    seen = Seen()
    stopping = asyncio.Event()
    etag = (await service.get("/orders/o1")).headers["etag"]

    async def read() -> None:
        while not stopping.is_set():
            seen.generations.add(await live(service.around))
            order = await service.get("/orders/o1")
            assert (order.status_code, order.json()["version"], order.headers["etag"]) == (200, 2, etag)
            again = await service.get("/orders/o1", **{"If-None-Match": etag})
            assert again.status_code == 304
            page = await service.get("/orders?customerId=ada&limit=10")
            assert (page.status_code, len(page.json()["data"])) == (200, 10)
            history = await service.get("/orders/o1/history")
            assert [entry["version"] for entry in history.json()["data"]] == [1, 2]
            summary = await service.get("/customers/ada/summary")
            assert summary.status_code == 200
            seen.order_counts.append(summary.json()["orderCount"])
            seen.rounds += 1

    task = asyncio.create_task(read())
    try:
        yield seen
    finally:
        stopping.set()
        await task


@asynccontextmanager
async def listening(service: Service) -> AsyncIterator[dict[str, list[int]]]:
    """The versions of each order that a WebSocket received, in the order of arrival."""
    received: defaultdict[str, list[int]] = defaultdict(list)

    async def listen(opened: ClientConnection) -> None:
        async for text in opened:
            order = json.loads(text)["order"]
            received[order["id"]].append(order["version"])

    address = service.url.replace("http", "ws") + "/ws"
    async with connect(address, additional_headers=STAFF) as opened:
        assert json.loads(await opened.recv())["type"] == "ready"
        task = asyncio.create_task(listen(opened))
        try:
            yield received
            assert not task.done(), "the stream ended"
        finally:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task


@asynccontextmanager
async def waiting_for(service: Service, product: str) -> AsyncIterator[None]:
    """A request that waits for a product meanwhile, and is answered once it is listed on exit."""
    asked = asyncio.create_task(service.get(f"/products/{product}?minVersion=1", Prefer="wait=30"))
    try:
        await eventually(service.waiting, "the request waits")
        yield
        assert not asked.done()
        event = ProductListed(product_id=product, name="Desk", price=Money(100))
        await service.around.topics.publish("products", [(product, 1, event)])
        answer = await asyncio.wait_for(asked, 10)
        assert (answer.status_code, answer.json()["version"]) == (200, 1)
    finally:
        asked.cancel()


async def test_reading_an_orders_history_does_not_read_those_of_others(service: Service) -> None:
    database = service.around.database
    await database.command("profile", 2)
    for what in ("/history", "/timeline", "?asOfVersion=1", "?asOf=2100-01-01T00:00:00Z"):
        assert (await service.get(f"/orders/o50{what}")).status_code == 200
    await database.command("profile", 0)
    reads = [
        row
        async for row in database["system.profile"].find({"ns": {"$regex": "order_history"}, "op": "command"})
    ]
    assert len(reads) >= 4
    assert all("CLUSTERED_IXSCAN" in row["planSummary"] for row in reads), reads
    # its two events, its document, its customer and the pointer, but not all 200 events
    assert max(row["docsExamined"] for row in reads) <= 10, reads


async def test_readers_notice_neither_a_rebuild_nor_a_rollback(service: Service) -> None:
    around = service.around
    async with listening(service) as received:
        async with orders_arriving(around, "new") as arriving, reading(service) as seen:
            for command, after in (("rebuild", "1-2"), ("rollback", "1-1")):
                async with waiting_for(service, f"desk-{command}"):
                    status, output = await around.command(command)
                    assert status == 0, output
                    assert await live(around) == after
        assert seen.generations == {"1-1", "1-2"}
        assert seen.rounds > 10
        assert seen.order_counts == sorted(seen.order_counts)
        assert seen.order_counts[-1] > seen.order_counts[0] >= 100

        async def all_received() -> bool:
            return sum(map(len, received.values())) >= 2 * len(arriving)

        await eventually(all_received, "every event is received", 30)
        assert Counter(map(tuple, received.values())) == {(1, 2): len(arriving)}
        assert set(received) == set(arriving)


async def test_renaming_a_customer_sends_no_messages_about_its_orders(service: Service) -> None:
    around = service.around
    many = names(10_000, "many")

    def named(name: str) -> str:
        return around.keys.encrypted("ada", name)

    async with listening(service) as received:
        registered = CustomerRegistered(customer_id="ada", name=named("Ada"), email=named("a@example.com"))
        await around.topics.publish("customers", [("ada", 1, registered)])
        await around.topics.publish("orders", [(order, 1, created(order)) for order in many])
        # every second one is shipped after the rename, so that both are in the same batches
        changed = CustomerDetailsChanged(
            customer_id="ada", name=named("Countess"), email=named("c@example.com")
        )
        await around.topics.publish("customers", [("ada", 2, changed)])
        await around.topics.publish("orders", [(order, 2, shipped(order)) for order in many[::2]])

        async def all_received() -> bool:
            return sum(map(len, received.values())) >= 15_000

        await eventually(all_received, "every event is received", 60)

        async def renamed() -> bool:
            page = (await service.get("/orders?customerId=ada&limit=100")).json()["data"]
            return {order["customerName"] for order in page} == {"Countess"}

        await eventually(renamed, "the orders have the new name")
        # any message caused by the rename would be sent before this one
        await around.topics.publish("orders", [("last", 1, created("last"))])

        async def last_received() -> bool:
            return "last" in received

        await eventually(last_received, "the last order is received")
    assert Counter(map(tuple, received.values())) == {(1, 2): 5000, (1,): 5001}
