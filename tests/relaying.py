"""Helpers for tests of the relay: storing events, running the relay as a process, reading the topics."""

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson
import psycopg
from aiokafka import AIOKafkaConsumer, TopicPartition
from confluent_kafka import KafkaException

from deploy.local.program import Program, stop
from services.command.relay.cluster import Cluster, ClusterUnavailableError, TopicMissingError, answered
from services.command.relay.topics import make_topics
from services.command.settings import KafkaSettings
from shared.topics import CATEGORIES, DEFAULT_PARTITIONS, HEARTBEATS, all_topics
from tests.servers import eventually

ROOT = Path(__file__).parents[1]
APPEND = b"""
WITH written AS (
    INSERT INTO events
        (stream_id, version, event_id, category, subject, type, schema_version, data, metadata, occurred_at)
    SELECT stream, version, gen_random_uuid(), split_part(stream, '/', 1), split_part(stream, '/', 2),
        'OrderCancelled', 1,
        jsonb_build_object('orderId', split_part(stream, '/', 2), 'reason', %(reason)s::text),
        '{"actor": "ada", "traceparent": null, "receivedAt": "2026-11-23T10:00:00.000Z", "requestId": "r"}',
        date_trunc('milliseconds', now())
    FROM unnest(%(streams)s::text[], %(versions)s::int[]) WITH ORDINALITY AS g (stream, version, place)
    ORDER BY place
    RETURNING position, stream_id
)
INSERT INTO outbox (position, stream_id, shard_hash)
SELECT position, stream_id, hashtext(stream_id) & 2147483647 FROM written
"""


@dataclass(frozen=True, slots=True)
class Seen:
    """A record as a subscriber sees it."""

    topic: str
    partition: int
    offset: int
    subject: str
    version: int
    id: str
    position: int
    incarnation: str
    reason: str


async def append(
    connection: psycopg.AsyncConnection[Any], events: Sequence[tuple[str, int]], reason: str = "no"
) -> None:
    """Store events (stream id and version) as the event store does."""
    streams, versions = zip(*events, strict=True)
    await connection.execute(APPEND, {"streams": list(streams), "versions": list(versions), "reason": reason})


async def store(url: str, events: Sequence[tuple[str, int]], reason: str = "no") -> None:
    """Store events and notify the relay."""
    async with await psycopg.AsyncConnection.connect(url, autocommit=True) as connection:
        await append(connection, events, reason)
        await connection.execute("NOTIFY outbox")


async def waiting(url: str) -> int:
    """The number of events in the outbox."""
    async with await psycopg.AsyncConnection.connect(url) as connection:
        row = await (await connection.execute("SELECT count(*) FROM outbox")).fetchone()
    assert row is not None
    return int(row[0])


async def published(url: str, seconds: float = 20) -> None:
    """Wait until nothing is left in the outbox."""

    async def empty() -> bool:
        return await waiting(url) == 0

    await eventually(empty, "the outbox is empty", seconds)


class Relay:
    """A relay process."""

    def __init__(self, environment: dict[str, str], log: Path) -> None:
        self.log = log
        self._environment = environment
        self._process: asyncio.subprocess.Process | None = None

    @property
    def process(self) -> asyncio.subprocess.Process:
        """The running process."""
        assert self._process is not None
        return self._process

    async def start(self) -> None:
        """Start it."""

        async def nothing() -> None:
            return None

        program = Program(
            name="relay",
            command=[sys.executable, "-m", "services.command", "relay"],
            folder=ROOT,
            ready=nothing,
            environment=self._environment,
        )
        with self.log.open("ab") as log:
            self._process = await program.start(log.fileno())

    async def says(self, text: str, seconds: float = 15) -> None:
        """Wait until it logs `text`."""

        async def logged() -> bool:
            assert self.process.returncode is None, self.log.read_text()
            return text in self.log.read_text()

        await eventually(logged, f"the relay logs {text!r}: {self.log.read_text()}", seconds)

    async def kill(self) -> None:
        """Kill it without a chance to clean up."""
        self.process.send_signal(signal.SIGKILL)
        await self.process.wait()

    async def stop(self) -> None:
        """Stop it gracefully."""
        await stop(self.process, signal.SIGTERM)


@asynccontextmanager
async def relay(postgres: str, kafka: str, log: Path, **more: str) -> AsyncIterator[Relay]:
    """A running relay process, stopped on exit."""
    environment = {
        "POSTGRES_URL": postgres,
        "KAFKA_BOOTSTRAP_SERVERS": kafka,
        "PORT": "0",
        # compiled once per session, even if bytecode must not be written next to the sources
        "PYTHONDONTWRITEBYTECODE": "",
        "PYTHONPYCACHEPREFIX": str(log.parent.parent / "pycache"),
        **more,
    }
    running = Relay({**os.environ, **environment}, log)
    await running.start()
    try:
        yield running
    finally:
        if running.process.returncode is None:
            running.process.send_signal(signal.SIGCONT)
            await running.stop()


def cluster(kafka: str) -> Cluster:
    """An administrator's view of the test's broker."""
    return Cluster(KafkaSettings(kafka_bootstrap_servers=kafka))


async def remake_topics(kafka: str, partitions: int = DEFAULT_PARTITIONS) -> None:
    """Delete and re-create all topics."""
    brokers = cluster(kafka)
    names = [topic.name for topic in all_topics(partitions)]

    async def gone() -> bool:
        try:
            left = list(await brokers.describe(names))
            if left:
                for answer in brokers.admin.delete_topics(left).values():
                    await answered(answer)
        except (ClusterUnavailableError, TopicMissingError):
            return False  # the broker may have been frozen until now
        return not left

    await eventually(gone, "the topics are gone")

    async def made() -> bool:
        try:
            await make_topics(brokers, partitions)
        except (ClusterUnavailableError, KafkaException):
            return False
        return True

    await eventually(made, "the topics are created")


async def read(kafka: str, topics: Sequence[str] = CATEGORIES) -> list[Seen]:
    """All events in the topics, in order within each partition."""
    return [_seen(record) for record in await records(kafka, topics)]


async def heartbeats(kafka: str) -> list[dict[str, Any]]:
    """All heartbeats so far."""
    return [orjson.loads(record.value) for record in await records(kafka, [HEARTBEATS])]


async def records(kafka: str, topics: Sequence[str]) -> list[Any]:
    """All records of the topics, from their beginnings to their current ends."""
    found = await cluster(kafka).describe(topics)
    places = [TopicPartition(name, n) for name, topic in found.items() for n in range(topic.partitions)]
    consumer = AIOKafkaConsumer(
        bootstrap_servers=kafka, enable_auto_commit=False, auto_offset_reset="earliest"
    )
    await consumer.start()
    try:
        consumer.assign(places)
        ends = await consumer.end_offsets(places)
        await consumer.seek_to_beginning(*places)
        gathered: list[Any] = []
        for place in places:
            while await consumer.position(place) < ends[place]:
                got = await consumer.getmany(timeout_ms=500)
                gathered += [record for batch in got.values() for record in batch]
        return gathered
    finally:
        await consumer.stop()


def _seen(record: Any) -> Seen:
    value, headers = orjson.loads(record.value), dict(record.headers)
    assert value["subject"].encode() == record.key
    return Seen(
        record.topic,
        record.partition,
        record.offset,
        value["subject"],
        value["version"],
        value["id"],
        int(value["position"]),
        headers["incarnation"].decode(),
        value["data"]["reason"],
    )


def first_sights(seen: Sequence[Seen]) -> dict[str, list[int]]:
    """Each stream's versions in the order of their first occurrence."""
    order: dict[str, list[int]] = {}
    ids: dict[tuple[str, int], str] = {}
    for each in seen:
        versions = order.setdefault(f"{each.topic}/{each.subject}", [])
        if each.version not in versions:
            versions.append(each.version)
        assert ids.setdefault((f"{each.topic}/{each.subject}", each.version), each.id) == each.id, (
            "a duplicate has the same id"
        )
    return order


def counted(streams: int, versions: int, category: str = "orders") -> list[tuple[str, int]]:
    """Events of many streams, version by version."""
    return [(f"{category}/s{n}", version) for version in range(1, versions + 1) for n in range(streams)]
