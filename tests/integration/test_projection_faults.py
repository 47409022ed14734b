"""Nothing is lost when servers fail and recover, and /lag shows it."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import orjson
import pytest
import pytest_asyncio
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition

from services.projection.faults import TransientError
from services.projection.folding.parking import Letter
from services.projection.kafka import dead_letters
from services.projection.kafka.dead_letters import DeadLetters
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
    """A MongoDB for one test, which may stop it."""
    server = await start_mongodb(tmp_path_factory.mktemp("mongodb") / "server")
    yield server
    await server.stop()


@pytest_asyncio.fixture
async def around(kafka: Server, store: Server, tmp_path: Path) -> AsyncIterator[World]:
    """Empty topics, an empty database."""
    await remake_topics(kafka.url)
    async with world(kafka.url, store.url, tmp_path) as made:
        yield made


async def test_nothing_is_lost_when_the_store_restarts(around: World, store: Server) -> None:
    projection = await around.projection()
    await projection.ready()
    orders = names(1000)
    await around.topics.publish("orders", [(order, 1, created(order)) for order in orders])
    await around.projected(200)
    await store.kill()

    async def reported_unavailable() -> bool:
        reasons = (await projection.get("/health/ready")).get("reasons", {})
        return "mongodb" in reasons

    await eventually(reported_unavailable, "the store is reported as unavailable")
    await around.topics.publish("orders", [(order, 2, shipped(order)) for order in orders])
    await store.start()
    await around.projected(2 * len(orders))
    await exact(around, orders, versions=2)


async def test_nothing_is_lost_when_the_broker_restarts(around: World, kafka: Server) -> None:
    projection = await around.projection()
    await projection.ready()
    orders = names(1000)
    await around.topics.publish("orders", [(order, 1, created(order)) for order in orders])
    await around.projected(200)
    await kafka.stop()

    async def reported_unavailable() -> bool:
        return "kafka" in (await projection.get("/health/ready")).get("reasons", {})

    await eventually(reported_unavailable, "the broker is reported as unavailable", 30)
    await kafka.start()
    await around.topics.publish("orders", [(order, 2, shipped(order)) for order in orders])
    await around.projected(2 * len(orders))
    await exact(around, orders, versions=2)


@dataclass
class Unusable:
    """A record for the dead letters."""

    topic: str = "orders"
    partition: int = 0
    offset: int = 0
    timestamp: int = 0
    key: bytes | None = b"order"
    value: bytes | None = b"no event"
    headers: Sequence[tuple[str, bytes | None]] = ()


LETTER = Letter(Unusable(), "it cannot be read")


@pytest_asyncio.fixture
async def letters(kafka: Server) -> AsyncIterator[DeadLetters]:
    """Connected to a broker."""
    await remake_topics(kafka.url)
    made = DeadLetters({"bootstrap_servers": kafka.url})
    await made.send([LETTER])
    yield made
    await made.close()


async def test_a_letter_that_is_not_acknowledged_is_given_up_until_the_broker_is_back(
    letters: DeadLetters, kafka: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dead_letters, "_SEND_SECONDS", 1.0)
    kafka.freeze()
    try:
        for _ in ("while connected", "while connecting"):
            with pytest.raises(TransientError, match="dead letters: TimeoutError"):
                async with asyncio.timeout(10):
                    await letters.send([LETTER])
    finally:
        kafka.thaw()

    async def sent() -> bool:
        try:
            await letters.send([LETTER])
        except TransientError:
            return False
        return True

    await eventually(sent, "the letter is sent", 30)


async def test_closing_does_not_wait_for_letters_that_are_not_acknowledged(
    letters: DeadLetters, kafka: Server
) -> None:
    kafka.freeze()
    try:
        sending = asyncio.create_task(letters.send([LETTER]))
        done, _ = await asyncio.wait([sending], timeout=0.5)
        assert not done
        sending.cancel()
        async with asyncio.timeout(5):
            await letters.close()
    finally:
        kafka.thaw()


async def beat(kafka: str, t: str, ends: dict[str, list[int]], incarnation: str = "first") -> None:
    """A heartbeat of the relay's only shard."""
    content = {
        "shards": 1,
        "shard": 0,
        "t": t,
        "endOffsets": ends,
        "incarnations": dict.fromkeys(CATEGORIES, incarnation),
    }
    async with AIOKafkaProducer(bootstrap_servers=kafka) as producer:
        await producer.send_and_wait("heartbeats", orjson.dumps(content))


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
    assert (await lag(projection, "orders", 3))["ms"] == NEVER, "no heartbeat proves this partition"
    first = (await lag(projection, "orders", 0))["ms"]

    async def grows() -> bool:
        return bool((await lag(projection, "orders", 0))["ms"] > first + 500)

    await eventually(grows, "the lag grows without heartbeats")
    assert await around.database[HEARTBEATS].count_documents({}) == 1


async def fresh(around: World, ends: dict[str, list[int]], partition: int, incarnation: str) -> None:
    """Wait until the lag of a partition of `orders` is proven by new heartbeats."""

    async def proven() -> bool:
        await beat(around.kafka, rfc3339(datetime.now(UTC)), ends, incarnation)
        return bool((await lag(around.projections[0], "orders", partition))["ms"] < 5000)

    await eventually(proven, "the lag is known", 20, every=0.5)


async def test_a_partition_that_holds_only_a_foreign_record_proves_its_lag(around: World) -> None:
    await (await around.projection()).ready()
    async with AIOKafkaProducer(bootstrap_servers=around.kafka) as producer:
        await producer.send_and_wait("orders", b"not JSON", b"bad", partition=3)
    ends: dict[str, list[int]] = {topic: [0] * DEFAULT_PARTITIONS for topic in CATEGORIES}
    ends["orders"][3] = 1
    await fresh(around, ends, 3, "first")
    assert await around.database[PARKED].count_documents({}) == 1
    assert len(await records(around.kafka, ["orders.dlq"])) == 1


async def test_a_topic_re_created_with_the_same_records_proves_its_lag(around: World) -> None:
    """No record reveals the new topic: all are at offsets that the checkpoints have already passed."""
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
    reported: dict[str, list[int]] = {topic: [0] * DEFAULT_PARTITIONS for topic in CATEGORIES}
    reported["orders"] = [ends[place] for place in places]
    for partition in range(DEFAULT_PARTITIONS):
        await fresh(around, reported, partition, "second")
    await exact(around, orders, versions=1)


async def test_heartbeats_are_stored_through_a_rebalance(around: World) -> None:
    first = await around.projection()
    await first.ready()
    second = await around.projection()
    await second.ready()
    ends: dict[str, list[int]] = {topic: [0] * DEFAULT_PARTITIONS for topic in CATEGORIES}
    now = datetime.now(UTC)
    for seconds in range(3):
        await beat(around.kafka, rfc3339(now + timedelta(seconds=seconds)), ends)
    await first.stop()
    await beat(around.kafka, rfc3339(now + timedelta(seconds=3)), ends)

    async def all_there() -> bool:
        return await around.database[HEARTBEATS].count_documents({}) == 4

    await eventually(all_there, "all heartbeats are stored, each once")
