"""The relay on real servers: all commits are published, and first occurrences are in version order."""

import asyncio
import signal
from collections import defaultdict
from collections.abc import AsyncIterator
from pathlib import Path

import psycopg
import pytest
import pytest_asyncio
from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError
from confluent_kafka.admin import AlterConfigOpType, ConfigEntry, ConfigResource, ResourceType
from pydantic import SecretStr

from services.command.relay.cluster import answered
from services.command.relay.topics import (
    Copies,
    PartitionsChangedError,
    ReplicasChangedError,
    make_topics,
    prepare,
)
from services.command.settings import TopicsSettings
from shared.topics import CATEGORIES, HEARTBEATS
from tests.relaying import (
    append,
    cluster,
    counted,
    first_sights,
    heartbeats,
    published,
    read,
    relay,
    remake_topics,
    store,
    waiting,
)
from tests.servers import Server, eventually

pytestmark = pytest.mark.integration


@pytest_asyncio.fixture
async def brokers(kafka: Server) -> AsyncIterator[str]:
    """The broker with empty topics."""
    await remake_topics(kafka.url)
    yield kafka.url


async def test_committed_events_are_published_once_and_in_order(
    postgres_url: str, brokers: str, tmp_path: Path
) -> None:
    events = [*counted(40, 5), *counted(3, 2, "customers"), *counted(3, 2, "products")]
    later = ("orders/s0", 6)
    versions = defaultdict[str, list[int]](list)
    for stream, version in (*events, later):
        versions[stream].append(version)
    await store(postgres_url, events)
    async with relay(postgres_url, brokers, tmp_path / "relay.log"):
        await published(postgres_url)
        await store(postgres_url, [later])
        await published(postgres_url)
    seen = await read(brokers)
    assert first_sights(seen) == versions
    assert len(seen) == len(events) + 1
    assert len({each.partition for each in seen if each.topic == "orders"}) > 6


async def test_a_transaction_that_commits_late_is_published(
    postgres_url: str, brokers: str, tmp_path: Path
) -> None:
    async with (
        await psycopg.AsyncConnection.connect(postgres_url) as late,
        relay(postgres_url, brokers, tmp_path / "relay.log"),
    ):
        await append(late, [("orders/late", 1)])
        await store(postgres_url, [("orders/early", 1)])
        await published(postgres_url)
        await late.commit()
        await published(postgres_url)
    assert [each.subject for each in sorted(await read(brokers), key=lambda each: each.position)] == [
        "late",
        "early",
    ]


async def test_heartbeats_contain_the_end_offsets_of_the_topics(
    postgres_url: str, brokers: str, tmp_path: Path
) -> None:
    await store(postgres_url, counted(30, 1))
    async with relay(postgres_url, brokers, tmp_path / "relay.log", RELAY_SHARDS="2"):

        async def both_beat() -> bool:
            return {beat["shard"] for beat in await heartbeats(brokers)} == {0, 1}

        await eventually(both_beat, "both shards sent a heartbeat")
        await published(postgres_url)
        before = len(await heartbeats(brokers))

        async def again() -> bool:
            return len(await heartbeats(brokers)) >= before + 4

        await eventually(again, "four more heartbeats", 3)
    last = (await heartbeats(brokers))[-1]
    assert last["shards"] == 2
    assert {topic: len(ends) for topic, ends in last["endOffsets"].items()} == dict.fromkeys(CATEGORIES, 12)
    assert sum(last["endOffsets"]["orders"]) == 30
    assert {each.incarnation for each in await read(brokers)} == {last["incarnations"]["orders"]}


async def test_topics_are_created_and_never_repartitioned(brokers: str) -> None:
    await make_topics(cluster(brokers), 12)
    found = await cluster(brokers).describe([*CATEGORIES, HEARTBEATS, "orders.dlq"])
    assert [found[name].partitions for name in (*CATEGORIES, HEARTBEATS, "orders.dlq")] == [12, 12, 12, 1, 12]
    with pytest.raises(PartitionsChangedError):
        await make_topics(cluster(brokers), 24)


@pytest.mark.parametrize(
    ("name", "drifted", "right"), [("retention.ms", "60000", "-1"), ("min.insync.replicas", "2", "1")]
)
async def test_a_drifted_configuration_is_repaired(brokers: str, name: str, drifted: str, right: str) -> None:
    admin = cluster(brokers).admin
    other = ConfigEntry(name, drifted, incremental_operation=AlterConfigOpType.SET)
    drift = ConfigResource(ResourceType.TOPIC, "orders", incremental_configs=[other])
    for answer in admin.incremental_alter_configs([drift]).values():
        await answered(answer)
    await make_topics(cluster(brokers), 12, Copies(replicas=1, min_insync=1))

    async def repaired() -> bool:
        asked = admin.describe_configs([ConfigResource(ResourceType.TOPIC, "orders")])
        found = [await answered(answer) for answer in asked.values()]
        return bool(found[0][name].value == right)

    await eventually(repaired, f"{name} is {right} again")


async def test_another_number_of_replicas_is_refused_without_any_change(brokers: str) -> None:
    with pytest.raises(ReplicasChangedError, match="1 replicas, not 3"):
        await make_topics(cluster(brokers), 12, Copies(replicas=3, min_insync=2))
    admin = cluster(brokers).admin
    asked = admin.describe_configs([ConfigResource(ResourceType.TOPIC, "orders")])
    found = [await answered(answer) for answer in asked.values()]
    assert found[0]["min.insync.replicas"].value == "1"


async def test_writing_to_an_unknown_topic_does_not_create_it(brokers: str) -> None:
    async with AIOKafkaProducer(bootstrap_servers=brokers, request_timeout_ms=500) as producer:
        with pytest.raises(KafkaError):
            await producer.send_and_wait("nobodys", b"")
    assert await cluster(brokers).describe(["nobodys"]) == {}


async def test_repeating_the_topics_job_changes_nothing(postgres_url: str, brokers: str) -> None:
    settings = TopicsSettings(postgres_url=SecretStr(postgres_url), kafka_bootstrap_servers=brokers)
    seen = []
    for _ in range(2):
        await prepare(settings)
        async with await psycopg.AsyncConnection.connect(postgres_url) as connection:
            cursor = await connection.execute("SELECT * FROM topic_incarnations ORDER BY topic")
            seen.append(await cursor.fetchall())
    assert len(seen[0]) == 3
    assert seen[0] == seen[1]


async def test_the_topics_job_waits_for_a_broker_that_has_just_started(
    postgres_url: str, brokers: str, kafka: Server
) -> None:
    """It answers at once, but knows the leaders of its partitions only a moment later."""
    await kafka.stop()
    await kafka.start()
    await prepare(TopicsSettings(postgres_url=SecretStr(postgres_url), kafka_bootstrap_servers=brokers))


async def test_a_killed_relay_loses_nothing_and_keeps_the_order(
    postgres_url: str, brokers: str, tmp_path: Path
) -> None:
    events = counted(200, 20)
    await store(postgres_url, events)
    async with (
        await psycopg.AsyncConnection.connect(postgres_url) as holding,
        relay(postgres_url, brokers, tmp_path / "first.log") as first,
    ):
        # locks the last row: it can be read, but not deleted
        await holding.execute(
            "SELECT FROM outbox WHERE position = (SELECT max(position) FROM outbox) FOR UPDATE"
        )

        async def some_published() -> bool:
            return await waiting(postgres_url) < len(events)

        await eventually(some_published, "some events are published")
        await first.kill()
        assert await waiting(postgres_url) > 0
    async with relay(postgres_url, brokers, tmp_path / "second.log"):
        await published(postgres_url)
    sights = first_sights(await read(brokers))
    assert sights == {f"orders/s{n}": list(range(1, 21)) for n in range(200)}


async def test_a_standby_takes_over_within_five_seconds(
    postgres_url: str, brokers: str, tmp_path: Path
) -> None:
    async with relay(postgres_url, brokers, tmp_path / "first.log") as first:
        await first.says("publishing shard")
        async with relay(postgres_url, brokers, tmp_path / "second.log") as second:
            await second.says("standing by")
            await first.kill()
            await store(postgres_url, counted(5, 1))
            await published(postgres_url, 5)


async def test_a_paused_publisher_is_replaced_and_causes_no_reordering(
    postgres_url: str, brokers: str, tmp_path: Path
) -> None:
    async with relay(postgres_url, brokers, tmp_path / "first.log") as first:
        await first.says("publishing shard")
        async with relay(postgres_url, brokers, tmp_path / "second.log") as second:
            await second.says("standing by")
            await store(postgres_url, counted(200, 10))
            first.process.send_signal(signal.SIGSTOP)
            await store(postgres_url, [(f"orders/s{n}", version) for version in (11, 12) for n in range(200)])
            await published(postgres_url, 5)
            first.process.send_signal(signal.SIGCONT)
            await first.says("restarting shard")
            await store(postgres_url, [(f"orders/s{n}", 13) for n in range(200)])
            await published(postgres_url)
            await first.says("standing by")
    sights = first_sights(await read(brokers))
    assert sights == {f"orders/s{n}": list(range(1, 14)) for n in range(200)}


async def test_an_event_that_kafka_rejects_is_set_aside_with_its_stream(
    postgres_url: str, brokers: str, tmp_path: Path
) -> None:
    await store(postgres_url, [("orders/big", 1), *counted(20, 1)])
    await store(postgres_url, [("orders/big", 2)], reason="x" * 1_100_000)
    await store(postgres_url, [("orders/big", 3), *((f"orders/s{n}", 2) for n in range(20))])
    async with relay(postgres_url, brokers, tmp_path / "relay.log") as running:
        await published(postgres_url)
        await running.says("event 22 of orders/big: rejected by Kafka: MessageSizeTooLargeError")
    sights = first_sights(await read(brokers))
    assert sights.pop("orders/big") == [1]
    assert sights == {f"orders/s{n}": [1, 2] for n in range(20)}


async def test_a_recreated_topic_gets_a_new_incarnation_while_the_relay_runs(
    postgres_url: str, brokers: str, tmp_path: Path
) -> None:
    async with relay(postgres_url, brokers, tmp_path / "relay.log") as running:
        await store(postgres_url, counted(20, 1))
        await published(postgres_url)
        before = {each.incarnation for each in await read(brokers, ["orders"])}
        await remake_topics(brokers)
        await store(postgres_url, [(f"orders/s{n}", 2) for n in range(20)])
        await published(postgres_url)
        await running.says("topic orders is missing history")
    seen = await read(brokers, ["orders"])
    last = {each.subject: each.incarnation for each in seen}
    assert len(before) == 1
    assert len(last) == 20
    assert len(set(last.values())) == 1
    assert set(last.values()) != before


async def test_a_relay_started_before_its_servers_waits_and_reports_it(
    postgres_url: str, brokers: str, tmp_path: Path
) -> None:
    nowhere = "127.0.0.1:1"
    async with relay("postgresql://orders@127.0.0.1:1/x", brokers, tmp_path / "relay.log") as running:
        await running.says("PostgreSQL: OperationalError")
    async with relay(postgres_url, nowhere, tmp_path / "other.log") as running:
        await running.says("no broker answers")
        await asyncio.wait_for(running.stop(), 5)
