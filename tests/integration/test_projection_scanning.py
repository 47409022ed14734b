"""Reading a partition to its end terminates, whatever happens to the topic meanwhile."""

import asyncio
from collections.abc import Awaitable, Callable
from types import ModuleType
from typing import Any

import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer

from services.projection.dead_letters import reading
from services.projection.faults import TransientError
from services.projection.kafka import refetching
from tests.projecting import send_undecodable
from tests.relaying import remake_topics
from tests.servers import Server

pytestmark = pytest.mark.integration


class Slow(AIOKafkaConsumer):  # type: ignore[misc] # aiokafka has no types
    """A consumer during which something happens after its first records."""

    meanwhile: Callable[[], Awaitable[object]] | None = None

    async def getmany(self, *places: Any, **options: Any) -> Any:
        """Read records."""
        found = await super().getmany(*places, **options)
        happens, Slow.meanwhile = (Slow.meanwhile, None) if found else (None, Slow.meanwhile)
        if happens is not None:
            await happens()
        return found


async def fill(kafka: str, records: int) -> None:
    """Send this many records of a stream to its topic and to the dead-letter topic."""
    async with AIOKafkaProducer(bootstrap_servers=kafka) as producer:
        for _ in range(records):
            for topic in ("orders", "orders.dlq"):
                await producer.send_and_wait(topic, 1000 * b"x", b"o1", partition=0)


async def scan(
    module: ModuleType,
    kafka: Server,
    monkeypatch: pytest.MonkeyPatch,
    meanwhile: Callable[[], Awaitable[object]],
) -> list[Any]:
    """Read a stream's records, while something happens after the first of them."""
    monkeypatch.setattr(module, "AIOKafkaConsumer", Slow)
    monkeypatch.setattr(Slow, "meanwhile", meanwhile)
    options = {
        "bootstrap_servers": kafka.url,
        "metadata_max_age_ms": 500,
        "max_partition_fetch_bytes": 2000,
        "max_poll_records": 1,
    }
    async with asyncio.timeout(30):
        if module is refetching:
            return await refetching.refetch_stream(options, ("orders", 0), "o1")
        return await reading.dead_letters(options, "orders", "o1")


@pytest.mark.parametrize("module", [refetching, reading], ids=["topic", "dead letters"])
async def test_reading_ends_when_the_topic_is_re_created_shorter(
    kafka: Server, monkeypatch: pytest.MonkeyPatch, module: ModuleType
) -> None:
    await remake_topics(kafka.url)
    await fill(kafka.url, 20)

    async def remade() -> None:
        await remake_topics(kafka.url)
        await fill(kafka.url, 3)

    with pytest.raises(TransientError):
        await scan(module, kafka, monkeypatch, remade)


@pytest.mark.parametrize("module", [refetching, reading], ids=["topic", "dead letters"])
async def test_reading_ends_when_the_broker_is_unavailable(
    kafka: Server, monkeypatch: pytest.MonkeyPatch, module: ModuleType
) -> None:
    await remake_topics(kafka.url)
    await fill(kafka.url, 20)

    async def unavailable() -> None:
        kafka.freeze()

    try:
        with pytest.raises(TransientError):
            await scan(module, kafka, monkeypatch, unavailable)
    finally:
        kafka.thaw()


async def test_an_undecodable_record_hides_no_other_record(
    kafka: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    await remake_topics(kafka.url)
    await fill(kafka.url, 3)
    await send_undecodable(kafka.url, "orders", 0)
    await fill(kafka.url, 3)

    async def nothing() -> None:
        return

    assert len(await scan(refetching, kafka, monkeypatch, nothing)) == 6


@pytest.mark.parametrize("module", [refetching, reading], ids=["topic", "dead letters"])
async def test_all_records_present_at_the_start_are_found(
    kafka: Server, monkeypatch: pytest.MonkeyPatch, module: ModuleType
) -> None:
    await remake_topics(kafka.url)
    await fill(kafka.url, 20)

    async def more() -> None:
        await fill(kafka.url, 3)

    assert len(await scan(module, kafka, monkeypatch, more)) == 20
