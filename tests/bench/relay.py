"""The relay: draining the outbox into Kafka, against a raw producer, in a small store and in a large one."""

import time
from pathlib import Path
from typing import Any, Final

import psycopg
from aiokafka import AIOKafkaProducer

from deploy.local.state import free_ports
from services.command.store.migrate import migrate
from tests.bench.lines import Line
from tests.bench.processes import finished, running
from tests.servers import eventually, start_kafka, start_postgres

EVENTS: Final = 40_000
HISTORY: Final = 1_000_000
FILL: Final = b"""
WITH written AS (
    INSERT INTO events
        (stream_id, version, event_id, category, subject, type, schema_version, data, metadata, occurred_at)
    SELECT 'orders/' || id, 1, gen_random_uuid(), 'orders', id, 'OrderCreated', 1,
        jsonb_build_object('orderId', id, 'customerId', 'ada', 'total', '59.70', 'items', (
            SELECT jsonb_agg(jsonb_build_object('productId', 'p' || n, 'productName', 'Lamp', 'quantity', 1,
                'price', '19.90')) FROM generate_series(1, 3) AS n)),
        '{"actor": "ada", "traceparent": "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
          "receivedAt": "2026-11-23T10:00:00.000Z", "requestId": "r"}', at
    FROM (
        -- a millisecond apart, with ids that begin with the time, as the service makes them (RFC 9562, 5.7)
        SELECT at,
            overlay(gen_random_uuid()::text PLACING left(time, 8) || '-' || right(time, 4) FROM 1 FOR 13)
                AS id
        FROM generate_series(1, %(count)s) AS number,
            LATERAL (SELECT date_trunc('milliseconds', now()) + number * interval '1 ms' AS at) AS moment,
            LATERAL (SELECT lpad(to_hex((extract(epoch FROM at) * 1000)::bigint), 12, '0') AS time) AS digits
        ORDER BY number
    ) AS made
    RETURNING position, stream_id
)
INSERT INTO outbox (position, stream_id, shard_hash)
SELECT position, stream_id, hashtext(stream_id) & 2147483647 FROM written WHERE %(announced)s
"""


async def draining(folder: Path) -> list[Line]:
    """Events per second through the relay."""
    postgres = await start_postgres(folder / "pg" / "server")
    kafka = await start_kafka(folder / "kafka" / "server")
    try:
        await migrate(postgres.url)
        environment = {"POSTGRES_URL": postgres.url, "KAFKA_BOOTSTRAP_SERVERS": kafka.url}
        await finished("services.command", "topics", environment=environment)
        await drained(environment, 5_000)
        small = await drained(environment, EVENTS)
        raw = await raw_producer(kafka.url, EVENTS)
        await fill(postgres.url, HISTORY, announced=False)
        large = await drained(environment, EVENTS)
    finally:
        await kafka.stop()
        await postgres.stop()
    return [
        Line(name="relay, events published / raw aiokafka producer", value=small, baseline=raw, bar=0.6),
        Line(
            name="relay, time per event with 1,000,000 events in the store / with few",
            value=1e6 / large,
            baseline=1e6 / small,
            bar=1.25,
            unit="µs",
            at_most=True,
        ),
    ]


async def fill(url: str, count: int, *, announced: bool) -> None:
    """Store events, and add them to the outbox if announced."""
    async with await psycopg.AsyncConnection.connect(url, autocommit=True) as connection:
        await connection.execute(FILL, {"count": count, "announced": announced})
        await connection.execute("ANALYZE events")


async def drained(environment: dict[str, str], count: int) -> float:
    """Events per second, from the first row deleted to the last."""
    url = environment["POSTGRES_URL"]
    await fill(url, count, announced=True)
    port = free_ports(1)[0]
    async with (
        await psycopg.AsyncConnection.connect(url, autocommit=True) as connection,
        running("services.command", "relay", environment={**environment, "PORT": str(port)}),
    ):
        first = count

        async def started_publishing() -> bool:
            nonlocal first
            first = await _left(connection)
            return first < count

        async def done() -> bool:
            return await _left(connection) == 0

        await eventually(started_publishing, "the relay publishes", 60, every=0.005)
        started = time.perf_counter()
        await eventually(done, "the outbox is empty", 600, every=0.005)
        return first / (time.perf_counter() - started)


async def _left(connection: psycopg.AsyncConnection[Any]) -> int:
    row = await (await connection.execute("SELECT count(*) FROM outbox")).fetchone()
    assert row is not None
    return int(row[0])


async def raw_producer(bootstrap_servers: str, count: int) -> float:
    """The same payloads per second by aiokafka alone: idempotent, acknowledged by all replicas."""
    value = b'{"specversion":"1.0","id":"x"}'.ljust(830)
    headers = [
        ("content-type", b"application/cloudevents+json"),
        ("incarnation", b"0" * 32),
        ("received-at", b"2026-11-23T10:00:00.000Z"),
        ("committed-at", b"2026-11-23T10:00:00.000Z"),
    ]
    producer = AIOKafkaProducer(
        bootstrap_servers=bootstrap_servers, acks="all", enable_idempotence=True, max_batch_size=512 * 1024
    )
    async with producer:
        started = time.perf_counter()
        for number in range(count):
            await producer.send("orders.dlq", value, key=b"%036d" % number, headers=headers)
        await producer.flush()
        return count / (time.perf_counter() - started)
