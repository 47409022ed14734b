"""Servers that go away and come back: nothing is lost, and /lag does not hide it."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import orjson
import pytest
import pytest_asyncio
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition

from shared.documents import HEARTBEATS, PARKED
from shared.freshness import NEVER
from shared.times import rfc3339
from shared.topics import CATEGORIES, DEFAULT_PARTITIONS
from tests.integration.test_projection import exact, names
from tests.projecting import Projection, World, created, shipped, world
from tests.relaying import records, remake_topics
from tests.servers import Server, eventually, start_mongodb

pytestmark = pytest.mark.integration


@pytest_asyncio.fixture
async def store(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Server]:
    """A MongoDB of the test's own, to be stopped."""
    server = await start_mongodb(tmp_path_factory.mktemp("mongodb") / "server")
    yield server
    await server.stop()


@pytest_asyncio.fixture
async def around(kafka: Server, store: Server, tmp_path: Path) -> AsyncIterator[World]:
    """Empty topics, an empty database."""
    await remake_topics(kafka.url)
    async with world(kafka.url, store.url, tmp_path) as made:
        yield made


async def test_the_store_is_stopped_and_started_again(around: World, store: Server) -> None:
    projection = await around.projection()
    await projection.ready()
    orders = names(1000)
    await around.topics.publish("orders", [(order, 1, created(order)) for order in orders])
    await around.projected(200)
    await store.kill()

    async def says_so() -> bool:
        reasons = (await projection.get("/health/ready")).get("reasons", {})
        return "mongodb" in reasons

    await eventually(says_so, "it says that the store is away")
    await around.topics.publish("orders", [(order, 2, shipped(order)) for order in orders])
    await store.start()
    await around.projected(2 * len(orders))
    await exact(around, orders, versions=2)


async def test_the_broker_is_stopped_and_started_again(around: World, kafka: Server) -> None:
    projection = await around.projection()
    await projection.ready()
    orders = names(1000)
    await around.topics.publish("orders", [(order, 1, created(order)) for order in orders])
    await around.projected(200)
    await kafka.stop()

    async def says_so() -> bool:
        return "kafka" in (await projection.get("/health/ready")).get("reasons", {})

    await eventually(says_so, "it says that the broker is away", 30)
    await kafka.start()
    await around.topics.publish("orders", [(order, 2, shipped(order)) for order in orders])
    await around.projected(2 * len(orders))
    await exact(around, orders, versions=2)


async def beat(kafka: str, t: str, ends: dict[str, list[int]], incarnation: str = "first") -> None:
    """A heartbeat of the relay's only shard."""
    told = {
        "shards": 1,
        "shard": 0,
        "t": t,
        "endOffsets": ends,
        "incarnations": dict.fromkeys(CATEGORIES, incarnation),
    }
    async with AIOKafkaProducer(bootstrap_servers=kafka) as producer:
        await producer.send_and_wait("heartbeats", orjson.dumps(told))


async def lag(projection: Projection, topic: str, partition: int) -> dict[str, Any]:
    rows = (await projection.get("/lag"))["partitions"]
    (row,) = [row for row in rows if (row["topic"], row["partition"]) == (topic, partition)]
    assert isinstance(row, dict)
    return row


async def test_lag_is_proven_by_heartbeats_and_grows_when_they_stop(around: World) -> None:
    projection = await around.projection()
    await projection.ready()
    assert (await lag(projection, "orders", 0))["ms"] == NEVER
    ends: dict[str, list[int]] = {topic: [0] * DEFAULT_PARTITIONS for topic in CATEGORIES}
    ends["orders"][3] = 10**6
    await beat(around.kafka, rfc3339(datetime.now(UTC)), ends)

    async def known() -> bool:
        return bool((await lag(projection, "orders", 0))["ms"] < 60_000)

    await eventually(known, "the heartbeat is known")
    assert (await lag(projection, "orders", 3))["ms"] == NEVER, "this partition has passed no heartbeat"
    first = (await lag(projection, "orders", 0))["ms"]

    async def grows() -> bool:
        return bool((await lag(projection, "orders", 0))["ms"] > first + 500)

    await eventually(grows, "the lag grows without heartbeats")
    assert await around.database[HEARTBEATS].count_documents({}) == 1


async def fresh(around: World, ends: dict[str, list[int]], partition: int, incarnation: str) -> None:
    """Wait until a partition of the orders proves how far it is, to a relay that lives."""

    async def proven() -> bool:
        await beat(around.kafka, rfc3339(datetime.now(UTC)), ends, incarnation)
        return bool((await lag(around.projections[0], "orders", partition))["ms"] < 5000)

    await eventually(proven, "the lag is known", 20, every=0.5)


async def test_a_partition_that_holds_only_a_record_from_outside_proves_its_lag(around: World) -> None:
    await (await around.projection()).ready()
    async with AIOKafkaProducer(bootstrap_servers=around.kafka) as producer:
        await producer.send_and_wait("orders", b"not JSON", b"bad", partition=3)
    ends: dict[str, list[int]] = {topic: [0] * DEFAULT_PARTITIONS for topic in CATEGORIES}
    ends["orders"][3] = 1
    await fresh(around, ends, 3, "first")
    assert await around.database[PARKED].count_documents({}) == 1
    assert len(await records(around.kafka, ["orders.dlq"])) == 1


async def test_a_topic_made_anew_with_what_it_held_proves_its_lag(around: World) -> None:
    """No record comes that would tell: all stand where the checkpoints are already."""
    await (await around.projection()).ready()
    orders = names(100)
    await around.topics.publish("orders", [(order, 1, created(order)) for order in orders])
    await around.projected(len(orders))
    await remake_topics(around.kafka)
    around.topics.incarnation = "second"
    await around.topics.publish("orders", [(order, 1, created(order)) for order in orders])
    async with AIOKafkaConsumer(bootstrap_servers=around.kafka) as consumer:
        places = [TopicPartition("orders", number) for number in range(DEFAULT_PARTITIONS)]
        ends = await consumer.end_offsets(places)
    told: dict[str, list[int]] = {topic: [0] * DEFAULT_PARTITIONS for topic in CATEGORIES}
    told["orders"] = [ends[place] for place in places]
    for partition in range(DEFAULT_PARTITIONS):
        await fresh(around, told, partition, "second")
    await exact(around, orders, versions=1)


async def test_heartbeats_and_metrics_go_on_through_a_rebalance(around: World) -> None:
    first = await around.projection()
    await first.ready()
    second = await around.projection()
    await second.ready()
    ends: dict[str, list[int]] = {topic: [0] * DEFAULT_PARTITIONS for topic in CATEGORIES}
    now = datetime.now(UTC)
    for second_of_it in range(3):
        await beat(around.kafka, rfc3339(now + timedelta(seconds=second_of_it)), ends)
    await first.stop()
    await beat(around.kafka, rfc3339(now + timedelta(seconds=3)), ends)

    async def all_there() -> bool:
        return await around.database[HEARTBEATS].count_documents({}) == 4

    await eventually(all_there, "all heartbeats are there, each once")
