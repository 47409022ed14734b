"""Reads a partition up to its current end, in bounded time."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from typing import Final

from aiokafka import AIOKafkaConsumer
from aiokafka.structs import TopicPartition

from services.projection.faults import TransientError
from services.projection.records import Record, Undecodable

_WAIT_MS: Final = 1000
PATIENCE_SECONDS: Final = 5.0
"""Limit for a single step: revoking the partition or stopping the service has to wait for it."""


async def scan(
    consumer: AIOKafkaConsumer, tp: TopicPartition, end: int | None = None
) -> AsyncIterator[Sequence[Record]]:
    """Yield the records from the consumer's position up to the partition's current end, or `end` if lower.

    Raises `TransientError` if the topic is re-created meanwhile, so that this end may never be reached;
    `TimeoutError` and `KafkaError` if Kafka is unavailable.
    """
    reached, careful = 0, False
    last = await _end(consumer, tp)
    last = last if end is None else min(end, last)
    while True:
        async with asyncio.timeout(PATIENCE_SECONDS):
            position = await consumer.position(tp)
        if position < reached:
            raise TransientError(f"{tp.topic}/{tp.partition} was re-created while it was read")
        if position >= last:
            return
        reached = position
        async with asyncio.timeout(PATIENCE_SECONDS):
            try:
                records = await _some(consumer, tp, careful=careful)
            except UnicodeDecodeError:  # the position has not moved: the records before it are read again
                careful = True
                continue
        if records:
            yield records
        elif await _end(consumer, tp) < last:
            raise TransientError(f"{tp.topic}/{tp.partition} was re-created while it was read")


async def next_record(consumer: AIOKafkaConsumer, tp: TopicPartition, wait_ms: int = 0) -> Record | None:
    """The partition's next record, or an `Undecodable` in place of one that the client cannot decode.

    The broker returns whole batches, and the client decodes nothing of a batch after such a record: each
    record after it is an `Undecodable`, too. A batch has one producer, and ours write valid header names.
    """
    try:
        records = (await consumer.getmany(tp, timeout_ms=wait_ms, max_records=1)).get(tp)
    except UnicodeDecodeError:
        offset = await consumer.position(tp)
        consumer.seek(tp, offset + 1)
        return Undecodable(tp.topic, tp.partition, offset)
    return records[0] if records else None


async def _some(consumer: AIOKafkaConsumer, tp: TopicPartition, *, careful: bool) -> Sequence[Record]:
    if careful:
        record = await next_record(consumer, tp, _WAIT_MS)
        return [] if record is None else [record]
    found: Sequence[Record] = (await consumer.getmany(tp, timeout_ms=_WAIT_MS)).get(tp, ())
    return found


async def _end(consumer: AIOKafkaConsumer, tp: TopicPartition) -> int:
    async with asyncio.timeout(PATIENCE_SECONDS):
        ends = await consumer.end_offsets([tp])
    found: int = ends[tp]
    return found
