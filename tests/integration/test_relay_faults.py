"""Faults of the relay: its servers unavailable, its process killed or frozen, its topics emptied."""

import asyncio
import gc
import os
import signal
import sys
import urllib.request
from collections.abc import AsyncIterator
from functools import partial
from pathlib import Path
from typing import Any
from urllib.error import HTTPError

import psycopg
import pytest
import pytest_asyncio
from aiokafka import AIOKafkaProducer
from prometheus_client.parser import text_string_to_metric_families

from deploy.local.state import free_ports
from services.command.relay.partitions import partition_of
from services.command.relay.sending import producer
from services.command.settings import KafkaSettings
from shared.topics import DEFAULT_PARTITIONS
from tests.relaying import (
    ROOT,
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


async def ask(port: int, path: str) -> tuple[int, str]:
    """The relay's answer to an operator."""

    def asked() -> tuple[int, str]:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=5) as answer:
                return answer.status, answer.read().decode()
        except HTTPError as refusal:
            with refusal:
                return refusal.code, refusal.read().decode()

    return await asyncio.to_thread(asked)


async def acknowledged(brokers: str, count: int) -> None:
    """Wait until the topics hold that many events."""

    async def held() -> bool:
        return len(await read(brokers)) >= count

    await eventually(held, f"{count} events are in the topics")


async def test_a_relay_killed_before_deleting_acknowledged_rows_publishes_them_again(
    postgres_url: str, brokers: str, tmp_path: Path
) -> None:
    events = counted(50, 4)
    await store(postgres_url, events)
    async with await psycopg.AsyncConnection.connect(postgres_url) as holding:
        # locks the rows: they can be read, but not deleted
        await holding.execute("SELECT FROM outbox FOR UPDATE")
        async with relay(postgres_url, brokers, tmp_path / "first.log") as first:
            await acknowledged(brokers, len(events))
            await first.kill()
        await eventually(partial(_relay_gone, postgres_url), "PostgreSQL has noticed that the relay is gone")
    assert await waiting(postgres_url) == len(events)
    async with relay(postgres_url, brokers, tmp_path / "second.log"):
        await published(postgres_url)
    seen = await read(brokers)
    assert len(seen) == 2 * len(events), "each event must be there twice, with the same id"
    assert first_sights(seen) == {f"orders/s{n}": [1, 2, 3, 4] for n in range(50)}


async def _relay_gone(url: str) -> bool:
    async with await psycopg.AsyncConnection.connect(url) as connection:
        cursor = await connection.execute(
            "SELECT count(*) FROM pg_stat_activity"
            " WHERE application_name = 'relay' AND datname = current_database()"
        )
        return await cursor.fetchone() == (0,)


async def test_a_gracefully_stopped_relay_leaves_nothing_to_repeat(
    postgres_url: str, brokers: str, tmp_path: Path
) -> None:
    events = counted(1000, 10)
    async with relay(postgres_url, brokers, tmp_path / "first.log") as first:
        await first.says("publishing shard")
        await store(postgres_url, events)

        async def some_published() -> bool:
            return await waiting(postgres_url) < len(events)

        await eventually(some_published, "some events are published", every=0.001)
        await first.stop()
        assert first.process.returncode == 0
    async with relay(postgres_url, brokers, tmp_path / "second.log"):
        await published(postgres_url)
    assert len(await read(brokers)) == len(events)


async def test_a_lost_listening_connection_costs_only_latency(
    postgres_url: str, brokers: str, tmp_path: Path
) -> None:
    async with (
        relay(postgres_url, brokers, tmp_path / "relay.log") as running,
        await psycopg.AsyncConnection.connect(postgres_url, autocommit=True) as connection,
    ):
        await running.says("publishing shard")
        await connection.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE application_name = 'relay' AND datname = current_database() AND query LIKE 'LISTEN%'"
        )
        await store(postgres_url, counted(10, 1))
        await published(postgres_url, 2)
        await running.says("not listening to PostgreSQL")
    assert len(await read(brokers)) == 10


async def test_two_relays_share_the_shards_and_one_takes_over_all_of_them(
    postgres_url: str, brokers: str, tmp_path: Path
) -> None:
    async with relay(postgres_url, brokers, tmp_path / "first.log", RELAY_SHARDS="3") as first:
        await first.says("publishing shard")
        async with relay(postgres_url, brokers, tmp_path / "second.log", RELAY_SHARDS="3") as second:
            await second.says("standing by")
            for version in range(1, 11):  # while one of three shards is handed over
                await store(postgres_url, [(f"orders/s{n}", version) for n in range(100)])
            await first.says("handed shard 2 over to another relay")
            await second.says("publishing shard 2 of 3")
            await published(postgres_url)
            assert len(await read(brokers)) == 1000, "the handover must not repeat events"
            await first.kill()
            await store(postgres_url, [(f"orders/s{n}", 11) for n in range(100)])
            await published(postgres_url, 5)
    assert first_sights(await read(brokers)) == {f"orders/s{n}": list(range(1, 12)) for n in range(100)}
    assert {(beat["shards"], beat["shard"]) for beat in await heartbeats(brokers)} == {(3, 0), (3, 1), (3, 2)}


async def test_relays_with_different_shard_counts_wait_for_each_other(
    postgres_url: str, brokers: str, tmp_path: Path
) -> None:
    async with relay(postgres_url, brokers, tmp_path / "first.log") as first:
        await first.says("publishing shard 0 of 1")
        async with relay(postgres_url, brokers, tmp_path / "second.log", RELAY_SHARDS="2") as second:
            await second.says("standing by")
            await store(postgres_url, counted(10, 1))
            await published(postgres_url)
            await first.stop()
            await second.says("publishing shard 1 of 2")
            await second.says("publishing shard 0 of 2")


async def test_an_outage_of_kafka_is_reported_and_survived(
    postgres_url: str, brokers: str, kafka: Server, tmp_path: Path
) -> None:
    port = free_ports(1)[0]
    async with relay(postgres_url, brokers, tmp_path / "relay.log", PORT=str(port)) as running:
        await running.says("publishing shard")
        assert (await ask(port, "/health/ready"))[0] == 200
        await store(postgres_url, counted(100, 5))
        await kafka.kill()
        try:
            status, body = await ask(port, "/health/ready")
            assert (status, "no broker answers" in body) == (503, True)
            assert (await ask(port, "/health/live"))[0] == 200
            await store(postgres_url, [(f"orders/s{n}", 6) for n in range(100)])
        finally:
            await kafka.start()
        await published(postgres_url, 30)

        async def ready() -> bool:
            return (await ask(port, "/health/ready"))[0] == 200

        await eventually(ready, "the relay is ready again")
    assert first_sights(await read(brokers)) == {f"orders/s{n}": list(range(1, 7)) for n in range(100)}


async def test_a_broker_frozen_with_batches_in_flight_receives_them_in_order(
    postgres_url: str, brokers: str, kafka: Server, tmp_path: Path
) -> None:
    async with relay(postgres_url, brokers, tmp_path / "relay.log") as running:
        await running.says("publishing shard")
        await store(postgres_url, counted(500, 10))
        kafka.freeze()
        try:
            await running.says("restarting shard", 40)
            await store(postgres_url, [(f"orders/s{n}", 11) for n in range(500)])
        finally:
            kafka.thaw()
        await published(postgres_url, 40)
    assert first_sights(await read(brokers)) == {f"orders/s{n}": list(range(1, 12)) for n in range(500)}


async def discard_in_vain(kafka: Server) -> None:
    """Discard a producer with a batch in flight and one behind it, which a frozen broker never answers."""
    async with producer(KafkaSettings(kafka_bootstrap_servers=kafka.url)) as made:
        await made.send_and_wait("orders", b"", partition=0)
        kafka.freeze()
        for _ in range(2):
            batch = made.create_batch()
            batch.append(timestamp=None, key=None, value=b"")
            answer = await made.send_batch(batch, "orders", partition=0)
            answer.add_done_callback(lambda done: done.exception())


@pytest.mark.usefixtures("brokers")
async def test_a_discarded_producer_logs_no_errors_about_its_unsent_batches(kafka: Server) -> None:
    reported: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: reported.append(context))
    try:
        await discard_in_vain(kafka)
    finally:
        kafka.thaw()
    gc.collect()
    assert reported == []


async def test_an_outage_of_postgres_is_reported_and_survived(
    postgres_url: str, postgres: Server, brokers: str, tmp_path: Path
) -> None:
    port = free_ports(1)[0]
    async with relay(postgres_url, brokers, tmp_path / "relay.log", PORT=str(port)) as running:
        await store(postgres_url, counted(10, 1))
        await published(postgres_url)
        await postgres.kill()
        try:
            await running.says("restarting shard 0: PostgreSQL")
            assert (await ask(port, "/health/ready"))[0] == 503
        finally:
            await postgres.start()
        await store(postgres_url, [(f"orders/s{n}", 2) for n in range(10)])
        await published(postgres_url)
    assert first_sights(await read(brokers)) == {f"orders/s{n}": [1, 2] for n in range(10)}


async def test_an_emptied_topic_gets_a_new_incarnation(
    postgres_url: str, brokers: str, tmp_path: Path
) -> None:
    async with relay(postgres_url, brokers, tmp_path / "relay.log") as running:
        await store(postgres_url, counted(20, 1))
        await published(postgres_url)
        before = {each.incarnation for each in await read(brokers)}
        admin = cluster(brokers)
        await admin.empty("orders", (await admin.end_offsets({"orders": 12}))["orders"])
        await running.says("topic orders was emptied")
        await store(postgres_url, [(f"orders/s{n}", 2) for n in range(20)])
        await published(postgres_url)
    seen = await read(brokers)
    assert len(seen) == 20
    assert before.isdisjoint({each.incarnation for each in seen})


async def test_an_event_that_cannot_be_encoded_does_not_block_other_streams(
    postgres_url: str, brokers: str, tmp_path: Path
) -> None:
    port = free_ports(1)[0]
    await store(postgres_url, counted(5, 1))
    async with await psycopg.AsyncConnection.connect(postgres_url, autocommit=True) as connection:
        await connection.execute(
            "WITH w AS (INSERT INTO events (stream_id, version, event_id, category, subject, type,"
            " schema_version, data, metadata, occurred_at) VALUES ('orders/odd', 1, gen_random_uuid(),"
            " 'orders', 'odd', 'OrderCancelled', 0, '{}', '{}', now()) RETURNING position)"
            " INSERT INTO outbox SELECT position, 'orders/odd', 1 FROM w"
        )
    await store(postgres_url, [("orders/odd", 2), *((f"orders/s{n}", 2) for n in range(5))])
    async with relay(postgres_url, brokers, tmp_path / "relay.log", PORT=str(port)) as running:
        await published(postgres_url)
        await running.says("event 6 of orders/odd: cannot be encoded")
        metrics = (await ask(port, "/metrics"))[1]
    assert first_sights(await read(brokers)) == {f"orders/s{n}": [1, 2] for n in range(5)}
    samples = {
        (sample.name, *sample.labels.values()): sample.value
        for family in text_string_to_metric_families(metrics)
        for sample in family.samples
    }
    assert samples["relay_set_aside_total", "orders"] == 1
    assert samples["relay_streams_set_aside",] == 1
    assert samples["relay_active", "0"] == 1


async def test_events_before_one_that_cannot_be_encoded_are_published(
    postgres_url: str, brokers: str, tmp_path: Path
) -> None:
    await store(postgres_url, [("orders/odd", 1), ("orders/odd", 2)])
    async with await psycopg.AsyncConnection.connect(postgres_url, autocommit=True) as connection:
        await connection.execute(
            "WITH w AS (INSERT INTO events (stream_id, version, event_id, category, subject, type,"
            " schema_version, data, metadata, occurred_at) VALUES ('orders/odd', 3, gen_random_uuid(),"
            " 'orders', 'odd', 'OrderCancelled', 0, '{}', '{}', now()) RETURNING position)"
            " INSERT INTO outbox SELECT position, 'orders/odd', 1 FROM w"
        )
    await store(postgres_url, [("orders/odd", 4)])
    async with relay(postgres_url, brokers, tmp_path / "relay.log"):
        await published(postgres_url)
    assert first_sights(await read(brokers)) == {"orders/odd": [1, 2]}


async def test_no_heartbeat_is_sent_while_a_topic_lacks_its_history(
    postgres_url: str, brokers: str, tmp_path: Path
) -> None:
    await store(postgres_url, counted(3, 1))
    used = {partition_of(f"s{n}".encode(), DEFAULT_PARTITIONS) for n in range(3)}
    environment = {**os.environ, "POSTGRES_URL": postgres_url, "KAFKA_BOOTSTRAP_SERVERS": brokers}

    async def beating() -> bool:
        return bool(await heartbeats(brokers))

    async with relay(postgres_url, brokers, tmp_path / "relay.log") as running:
        await eventually(beating, "heartbeats are sent")
        await remake_topics(brokers)
        await running.says("topic orders is missing history")
        await store(postgres_url, [(f"orders/s{n}", 2) for n in range(3)])
        await published(postgres_url)
        async with AIOKafkaProducer(bootstrap_servers=brokers) as producer:
            foreign = min(set(range(DEFAULT_PARTITIONS)) - used)
            await producer.send_and_wait("orders", b"from outside", partition=foreign)
        republish = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "services.command", "republish", cwd=ROOT, env=environment,
            stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.DEVNULL,
        )  # fmt: skip
        assert await republish.wait() == 0
        await eventually(beating, "heartbeats are sent again")
    beats = await heartbeats(brokers)
    # three records that were deleted again, then all six; an empty partition has no end offset
    assert {sum(beat["endOffsets"]["orders"]) for beat in beats} == {9}
    assert {each.incarnation for each in await read(brokers)} == {beats[-1]["incarnations"]["orders"]}


async def test_a_frozen_republish_does_not_block_the_relay_for_long(
    postgres_url: str, brokers: str, tmp_path: Path
) -> None:
    await store(postgres_url, counted(300, 40))
    async with relay(postgres_url, brokers, tmp_path / "relay.log"):
        await published(postgres_url)
        environment = {**os.environ, "POSTGRES_URL": postgres_url, "KAFKA_BOOTSTRAP_SERVERS": brokers}
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "services.command", "republish", cwd=ROOT, env=environment,
            stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.DEVNULL,
        )  # fmt: skip
        async with await psycopg.AsyncConnection.connect(postgres_url, autocommit=True) as connection:

            async def holding() -> bool:
                cursor = await connection.execute(
                    "SELECT EXISTS (SELECT FROM pg_locks WHERE locktype = 'advisory' AND granted"
                    " AND objsubid = 1 AND mode = 'ExclusiveLock')"
                )
                return await cursor.fetchone() == (True,)

            await eventually(holding, "the job holds the gate", every=0.001)
            process.send_signal(signal.SIGSTOP)
            await store(postgres_url, [(f"orders/s{n}", 41) for n in range(300)])
            await published(postgres_url, 8)
        process.send_signal(signal.SIGCONT)
        await process.wait()
    assert first_sights(await read(brokers)) == {f"orders/s{n}": list(range(1, 42)) for n in range(300)}
