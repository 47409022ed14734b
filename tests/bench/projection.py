"""The projection of all read models: against raw upserts of orders only, rebuilding, and at a large size."""

import asyncio
import re
import time
from collections.abc import Iterable
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any, Final

import httpx
import psycopg
from motor.motor_asyncio import AsyncIOMotorClient
from pymongo import IndexModel, ReplaceOne, WriteConcern

from deploy.local.state import free_ports
from shared.documents import INDEXES, ORDERS
from tests.bench.lines import Line
from tests.bench.processes import finished, running
from tests.bench.relay import drained, fill
from tests.bench.system import System, servers
from tests.servers import eventually

EVENTS: Final = 80_000
REBUILT: Final = 100_000
FEW: Final = 10_000
MANY: Final = 1_000_000
WINDOW: Final = 50_000
BATCH: Final = 1000


async def catching_up(folder: Path) -> list[Line]:
    """Events per second into every read model, with one process and with two."""
    async with servers(folder) as system:
        await drained(system.environment, EVENTS)
        raw = await raw_upserts(system.environment["MONGODB_URL"], EVENTS)
        one = await projected(system, "one", 1)
        two = await projected(system, "two", 2)
        rival = await asyncio.to_thread(eventsourcing_projects, system.environment["POSTGRES_URL"])
    return [
        Line(
            name="projection, one process / raw motor bulk upserts of orders", value=one, baseline=raw, bar=1
        ),
        Line(
            name="projection, one process / `eventsourcing` projection runner",
            value=one,
            baseline=rival,
            bar=8,
        ),
        Line(name="projection, two processes / one", value=two, baseline=one, bar=1.15),
    ]


async def rebuilding(folder: Path) -> list[Line]:
    """A rebuild as an operator runs it: fill, compare with the live documents, switch."""
    async with servers(folder) as system:
        await published(system, REBUILT)
        environment = {**system.environment, "PORT": str(free_ports(1)[0])}
        async with running("services.projection", environment=environment):
            checkpoints = _checkpoints(system, "orders")
            first = await _rate(checkpoints, 0, REBUILT)
            rebuild = asyncio.create_task(finished("services.projection", "rebuild", environment=environment))
            again = await _rate(checkpoints, REBUILT, 2 * REBUILT)
            await rebuild
    return [
        Line(
            name="rebuild of 100,000 events alongside the live service / catching up",
            value=again,
            baseline=first,
            bar=1,
        )
    ]


async def growing(folder: Path) -> list[Line]:
    """The cost of an event with few orders and with many."""
    async with servers(folder) as system:
        await published(system, MANY + WINDOW)
        environment = {**system.environment, "PORT": str(free_ports(1)[0])}
        async with running("services.projection", environment=environment):
            checkpoints = _checkpoints(system, "orders")
            few = await _rate(checkpoints, FEW, FEW + WINDOW)
            many = await _rate(checkpoints, MANY, MANY + WINDOW)
    return [
        Line(
            name="projection, time per event at 1,000,000 orders / at 10,000",
            value=1e6 / many,
            baseline=1e6 / few,
            bar=1.25,
            unit="µs",
            at_most=True,
        )
    ]


async def published(system: System, count: int) -> None:
    """Publish the given number of new orders to the topic."""
    url = system.environment["POSTGRES_URL"]
    await fill(url, count, announced=True)
    environment = {**system.environment, "PORT": str(free_ports(1)[0])}
    async with (
        await psycopg.AsyncConnection.connect(url, autocommit=True) as connection,
        running("services.command", "relay", environment=environment),
    ):

        async def all_sent() -> bool:
            cursor = await connection.execute("SELECT NOT EXISTS (SELECT FROM outbox)")
            row = await cursor.fetchone()
            return row is not None and bool(row[0])

        await eventually(all_sent, f"{count} events are published", count / 1000, every=0.5)


def _checkpoints(system: System, database: str) -> Any:
    return AsyncIOMotorClient(system.environment["MONGODB_URL"])[database].checkpoints


async def _rate(checkpoints: Any, first: int, last: int) -> float:
    """Events per second between the two, measured as they are passed; 0 means from the first batch."""
    begun = await _reached(checkpoints, first + 1)
    started = time.perf_counter()
    ended = await _reached(checkpoints, last)
    return (ended - begun) / (time.perf_counter() - started)


async def _reached(checkpoints: Any, count: int) -> int:
    passed = 0

    async def there() -> bool:
        nonlocal passed
        passed = await _passed(checkpoints)
        return passed >= count

    # ten checks per second: each costs as much as some events, and the delay is a hundredth of a run
    await eventually(there, f"{count} events are passed", 60 + count / 1000, every=0.1)
    return passed


async def projected(system: System, database: str, instances: int) -> float:
    """Events per second, from when all instances are working to the last event, into a separate database.

    Joining the group is not part of the rate; the first of two instances may do it alone.
    """
    ports = free_ports(instances)
    environment = {**system.environment, "MONGODB_DATABASE": database}
    contexts = [
        running("services.projection", environment={**environment, "PORT": str(port)}) for port in ports
    ]
    for context in contexts:
        await context.__aenter__()
    try:
        await eventually(partial(_at_work, ports), f"{instances} are working", 60, every=0.1)
        return await _rate(_checkpoints(system, database), 0, EVENTS)
    finally:
        for context in contexts:
            await context.__aexit__(None, None, None)


async def _at_work(ports: Iterable[int]) -> bool:
    """Whether each instance has applied events."""
    async with httpx.AsyncClient() as client:
        try:
            pages = [(await client.get(f"http://127.0.0.1:{port}/metrics")).text for port in ports]
        except httpx.HTTPError:
            return False
    return all(
        re.search(r'^projection_events_total{topic="orders"} [1-9]', page, re.MULTILINE) for page in pages
    )


async def _passed(checkpoints: Any) -> int:
    rows = await checkpoints.find({"topic": "orders", "offset": {"$gte": 0}}).to_list(None)
    return sum(row["offset"] + 1 for row in rows)


async def raw_upserts(url: str, count: int) -> float:
    """Order documents per second by motor's bulk upserts: same indexes, majority writes, no transaction."""
    orders: Any = AsyncIOMotorClient(url).bench.get_collection(
        "orders", write_concern=WriteConcern("majority", j=True)
    )
    now = datetime.now(UTC)
    items = [{"productId": f"p{n}", "productName": "Lamp", "quantity": 1, "price": 1990} for n in range(3)]
    await orders.create_indexes([IndexModel(keys) for keys in INDEXES[ORDERS]])
    started = time.perf_counter()
    for first in range(0, count, BATCH):
        documents = [
            {
                "_id": f"{number:036d}",
                "customerId": "ada",
                "items": items,
                "total": 5970,
                "status": "pending",
                "createdAt": now,
                "updatedAt": now,
                "version": 1,
            }
            for number in range(first, first + BATCH)
        ]
        upserts = [ReplaceOne({"_id": document["_id"]}, document, upsert=True) for document in documents]
        await orders.bulk_write(upserts, ordered=False)
    return count / (time.perf_counter() - started)


def eventsourcing_projects(url: str) -> float:
    """Events per second through the library's projection runner, both stores in PostgreSQL."""
    from urllib.parse import urlsplit

    from eventsourcing.application import Application
    from eventsourcing.domain import Aggregate, DomainEvent
    from eventsourcing.persistence import Tracking
    from eventsourcing.postgres import PostgresTrackingRecorder
    from eventsourcing.projection import Projection, ProjectionRunner

    parts = urlsplit(url)
    environment = {
        "PERSISTENCE_MODULE": "eventsourcing.postgres",
        "POSTGRES_DBNAME": parts.path.strip("/"),
        "POSTGRES_HOST": str(parts.hostname),
        "POSTGRES_PORT": str(parts.port),
        "POSTGRES_USER": str(parts.username),
        "POSTGRES_PASSWORD": str(parts.password),
    }

    class Source(Application[Any]):
        """The source of the events."""

    class View(PostgresTrackingRecorder):
        """Stores only the position, which is less than any read model does."""

    class Counting(Projection[View]):
        """Skips each event."""

        name = "counting"
        topics = ()

        def process_event(self, domain_event: DomainEvent, tracking: Tracking) -> None:
            self.view.insert_tracking(tracking)

    source = Source(env=environment)
    events = 3000
    for _ in range(events):
        source.save(Aggregate())
    last = source.recorder.max_notification_id()
    source.close()
    started = time.perf_counter()
    with ProjectionRunner(
        application_class=Source, projection_class=Counting, view_class=View, env=environment
    ) as runner:
        runner.wait(last, timeout=60)
    return events / (time.perf_counter() - started)
