"""Reads a partition through, as far as it goes now; never for ever."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from typing import Final

from aiokafka import AIOKafkaConsumer
from aiokafka.structs import TopicPartition

from services.projection.faults import TransientError
from services.projection.records import Record

_WAIT_MS: Final = 1000
PATIENCE_SECONDS: Final = 5.0
"""So long a step may take: a partition that is given up, or a service that stops, waits for it."""


async def scan(
    consumer: AIOKafkaConsumer, tp: TopicPartition, end: int | None = None
) -> AsyncIterator[Sequence[Record]]:
    """The records from where the consumer stands to the partition's end of now, or to `end` if that is less.

    `TransientError` when the topic was made anew meanwhile and that end may never come; `TimeoutError` and
    `KafkaError` when Kafka is away.
    """
    reached = 0
    last = await _end(consumer, tp)
    last = last if end is None else min(end, last)
    while True:
        async with asyncio.timeout(PATIENCE_SECONDS):
            position = await consumer.position(tp)
        if position < reached:
            raise TransientError(f"{tp.topic}/{tp.partition} was made anew while it was read")
        if position >= last:
            return
        reached = position
        async with asyncio.timeout(PATIENCE_SECONDS):
            records = (await consumer.getmany(tp, timeout_ms=_WAIT_MS)).get(tp)
        if records:
            yield records
        elif await _end(consumer, tp) < last:
            raise TransientError(f"{tp.topic}/{tp.partition} was made anew while it was read")


async def _end(consumer: AIOKafkaConsumer, tp: TopicPartition) -> int:
    async with asyncio.timeout(PATIENCE_SECONDS):
        ends = await consumer.end_offsets([tp])
    found: int = ends[tp]
    return found
