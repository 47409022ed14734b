"""The projection catching up: all read models, against raw upserts of the order documents alone."""

import asyncio
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from motor.motor_asyncio import AsyncIOMotorClient
from pymongo import ReplaceOne, WriteConcern

from deploy.local.state import free_ports
from tests.bench.lines import Line
from tests.bench.processes import running
from tests.bench.relay import drained
from tests.bench.system import System, servers

EVENTS: Final = 40_000
BATCH: Final = 1000


async def catching_up(folder: Path) -> list[Line]:
    """Events a second into every read model, by one process and by two."""
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


async def projected(system: System, database: str, instances: int) -> float:
    """Events a second from the first one seen to the last, into a database of its own."""
    ports = free_ports(instances)
    environment = {**system.environment, "MONGODB_DATABASE": database}
    contexts = [
        running("services.projection", environment={**environment, "PORT": str(port)}) for port in ports
    ]
    checkpoints: Any = AsyncIOMotorClient(system.environment["MONGODB_URL"])[database].checkpoints
    for context in contexts:
        await context.__aenter__()
    try:
        first, started = 0, 0.0
        while (passed := await _passed(checkpoints)) < EVENTS:
            if not first and passed:
                first, started = passed, time.perf_counter()
            await asyncio.sleep(0.02)
        return (EVENTS - first) / (time.perf_counter() - started)
    finally:
        for context in contexts:
            await context.__aexit__(None, None, None)


async def _passed(checkpoints: Any) -> int:
    rows = await checkpoints.find({"topic": "orders", "offset": {"$gte": 0}}).to_list(None)
    return sum(row["offset"] + 1 for row in rows)


async def raw_upserts(url: str, count: int) -> float:
    """Order documents a second by motor's bulk upserts, no transaction, durable on a majority."""
    orders: Any = AsyncIOMotorClient(url).bench.get_collection(
        "orders", write_concern=WriteConcern("majority", j=True)
    )
    now = datetime.now(UTC)
    items = [{"productId": f"p{n}", "productName": "Lamp", "quantity": 1, "price": 1990} for n in range(3)]
    await orders.create_index([("customerId", 1), ("createdAt", -1), ("_id", -1)])
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
    """Events a second through the library's projection runner, both stores in PostgreSQL."""
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
        """Where the events come from."""

    class View(PostgresTrackingRecorder):
        """Only the position is kept: less than any read model does."""

    class Counting(Projection[View]):
        """Passes each event."""

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
