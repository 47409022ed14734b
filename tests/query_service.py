"""A query service on a real MongoDB whose documents the test writes, as the projection would."""

import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import httpx
from joserfc import jwt
from joserfc.jwk import OctKey
from motor.motor_asyncio import AsyncIOMotorClient, AsyncIOMotorDatabase
from pydantic import SecretStr
from pymongo import WriteConcern

from services.query.app import SOCKETS, service
from services.query.settings import QuerySettings
from shared.documents import (
    CUSTOMER_SUMMARIES,
    CUSTOMERS,
    DAILY_SALES,
    FEED,
    GENERATIONS,
    HEARTBEATS,
    LIVE,
    ORDER_HISTORY,
    ORDERS,
    PRODUCT_SALES,
    PRODUCTS,
    collection,
    part_id,
    version_id,
)
from shared.process import serve
from tests.servers import eventually

SECRET: Final = "a secret of the tests, long enough for HS256"
NOON: Final = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)
TRACE: Final = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
Document = dict[str, Any]


def order_id(number: int) -> str:
    """An order's id; higher numbers sort higher."""
    return f"01940000-0000-7000-8000-{number:012d}"


def bearer(subject: str, *roles: str, seconds: float = 3600) -> str:
    """A token."""
    claims = {"sub": subject, "roles": list(roles), "exp": int(time.time() + seconds)}
    return jwt.encode({"alg": "HS256"}, claims, OctKey.import_key(SECRET))


def authorization(subject: str, *roles: str) -> dict[str, str]:
    """The authorization header of a caller."""
    return {"Authorization": f"Bearer {bearer(subject, *roles)}"}


STAFF: Final = authorization("grace", "staff")


def order_document(number: int, customer: str = "ada", **more: Any) -> Document:
    """An order document as stored: two lamps, just placed."""
    return {
        "_id": order_id(number),
        "customerId": customer,
        "items": [{"productId": "lamp", "productName": "Lamp", "quantity": 2, "price": 1990}],
        "total": 3980,
        "status": "pending",
        "createdAt": NOON,
        "updatedAt": NOON,
        "version": 1,
        **more,
    }


def shipped(order: Document, seconds: float = 60) -> Document:
    """The order once it has been shipped."""
    at = order["createdAt"] + timedelta(seconds=seconds)
    more = {"shippedAt": at, "updatedAt": at, "trackingNumber": "T-1", "status": "shipped"}
    return {**order, **more, "version": order["version"] + 1}


@dataclass
class Store:
    """The documents."""

    database: AsyncIOMotorDatabase[Document]
    generation: str = field(default="1")

    def collection(self, name: str) -> Any:
        """A collection whose writes are immediately visible to change streams."""
        return self.database.get_collection(name, write_concern=WriteConcern("majority"))

    def live(self, read_model: str) -> Any:
        """A read model's collection."""
        return self.collection(collection(read_model, self.generation))

    async def point_to(self, generation: str) -> None:
        """Make a generation the live one."""
        pointer: Document = {"generation": generation, "previous": None, "readModels": {}}
        await self.collection(GENERATIONS).update_one({"_id": LIVE}, {"$set": pointer}, upsert=True)
        self.generation = generation

    async def put_order(self, order: Document, event: str | None = None) -> None:
        """Write an order and everything else its event updates, except for the counts."""
        order_type = event or {"pending": "OrderCreated", "shipped": "OrderShipped"}.get(
            order["status"], "OrderCancelled"
        )
        at = order["updatedAt"]
        entry = {
            "_id": version_id(order["_id"], order["version"]),
            "orderId": order["_id"],
            "customerId": order["customerId"],
            "version": order["version"],
            "type": order_type,
            "traceparent": TRACE,
            "order": order,
        }
        way = {
            "occurredAt": at,
            "actor": order["customerId"],
            "data": {"orderId": order["_id"]},
            "receivedAt": at,
            "committedAt": at + timedelta(milliseconds=2),
            "publishedAt": at + timedelta(milliseconds=5),
            "projectedAt": at + timedelta(milliseconds=9),
            "topic": "orders",
            "partition": 3,
            "offset": 7,
        }
        await self.live(ORDER_HISTORY).insert_one({**entry, **way})
        # after its history: the projection commits both together, so a reader of the order finds both
        await self.live(ORDERS).replace_one({"_id": order["_id"]}, order, upsert=True)
        await self.collection(FEED).insert_one({**entry, "at": datetime.now(UTC)})

    async def put_customer(self, customer: str, name: str | None, version: int = 1) -> None:
        """Write a customer; one without a name is erased."""
        email = None if name is None else f"{name.lower()}@example.com"
        document = {"name": name, "email": email, "version": version, "erased": name is None}
        await self.live(CUSTOMERS).replace_one({"_id": customer}, {"_id": customer, **document}, upsert=True)

    async def put_product(self, product: str, version: int = 1, **more: Any) -> None:
        """Write a product."""
        document = {"name": product.title(), "price": 1990, "available": True, "version": version, **more}
        await self.live(PRODUCTS).replace_one({"_id": product}, {"_id": product, **document}, upsert=True)

    async def put_parts(self, read_model: str, key: str, parts: Sequence[Document]) -> None:
        """Write the parts of a count, one per partition."""
        name = {CUSTOMER_SUMMARIES: "customerId", PRODUCT_SALES: "productId", DAILY_SALES: "date"}[read_model]
        for partition, part in enumerate(parts):
            document = {"_id": part_id(key, partition), name: key, **part}
            await self.live(read_model).insert_one(document)

    async def beat(self, t: datetime, end_offset: int, *, shard: int = 0, shards: int = 1) -> None:
        """Write a heartbeat of the relay that covers one partition."""
        ms = round(t.timestamp() * 1000)
        await self.collection(HEARTBEATS).insert_one(
            {
                "_id": f"{shards}|{shard}|{ms}",
                "shards": shards,
                "shard": shard,
                "t": t,
                "endOffsets": {"orders": [end_offset]},
                "incarnations": {"orders": "first"},
                "at": datetime.now(UTC),
            }
        )


@dataclass
class System:
    """A running service at `url`, and its store."""

    url: str
    mongodb_url: str
    store: Store
    client: httpx.AsyncClient

    async def get(self, path: str, headers: dict[str, str] | None = None, **more: Any) -> httpx.Response:
        """Send a GET as staff, or with other headers."""
        return await self.client.get(path, headers={**STAFF, **(headers or {})}, **more)

    async def metric(self, name: str) -> float:
        """One of the service's metrics."""
        metrics = (await self.client.get("/metrics")).text
        (line,) = (line for line in metrics.splitlines() if line.startswith(name + " "))
        return float(line.rsplit(" ", 1)[1])

    async def waiting(self) -> int:
        """How many requests wait for a document."""
        return int(await self.metric("query_waiting_requests"))


@asynccontextmanager
async def store_of(url: str, database: str) -> AsyncIterator[Store]:
    """A store with a live generation, otherwise empty."""
    client: AsyncIOMotorClient[Document] = AsyncIOMotorClient(url, tz_aware=True)
    try:
        store = Store(client[database])
        await store.point_to("1")
        yield store
    finally:
        client.close()


@asynccontextmanager
async def serving(url: str, database: str, **settings: Any) -> AsyncIterator[str]:
    """Run a query service; yields its address."""
    given = QuerySettings(
        mongodb_url=SecretStr(url), mongodb_database=database, jwt_secret=SecretStr(SECRET), **settings
    )
    async with service(given) as running, serve(running.app, "127.0.0.1", 0, **SOCKETS) as port:
        yield f"http://127.0.0.1:{port}"


@asynccontextmanager
async def query_system(url: str, database: str, **settings: Any) -> AsyncIterator[System]:
    """A query service with its own store."""
    async with (
        store_of(url, database) as store,
        serving(url, database, **settings) as address,
        httpx.AsyncClient(base_url=address, timeout=40) as client,
    ):
        await _followed(client)
        yield System(address, url, store, client)


async def _followed(client: httpx.AsyncClient) -> None:
    """Wait until the service follows the feed."""

    async def follows() -> bool:
        return (await client.head("/orders/stream", headers=STAFF)).status_code == 200

    await eventually(follows, "the feed is followed", every=0.05)
