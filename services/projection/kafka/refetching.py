"""Rereads a partition from its beginning, to find missing versions."""

import asyncio
from collections.abc import Sequence
from typing import Any

from aiokafka import AIOKafkaConsumer
from aiokafka.errors import KafkaError
from aiokafka.structs import TopicPartition

from services.projection.faults import TransientError
from services.projection.folding.batch import Hole
from services.projection.kafka.scanning import PATIENCE_SECONDS, scan
from services.projection.records import Record, read, stream_of
from services.projection.store.checkpoints import Place


async def refetch(
    options: dict[str, Any], place: Place, holes: Sequence[Hole], end: int
) -> dict[tuple[str, int], Record]:
    """The missing versions that the partition contains before offset `end`.

    Raises `TransientError` if the partition cannot be read to that offset.
    """
    found: dict[tuple[str, int], Record] = {}
    for record in await _scan(options, place, {hole.subject for hole in holes}, end):
        if (version := _version(record)) is not None:
            found.setdefault((stream_of(record), version), record)
    return found


async def refetch_stream(options: dict[str, Any], place: Place, subject: str) -> list[Record]:
    """All records of a stream that its partition contains now. Raises `TransientError`."""
    return await _scan(options, place, {subject}, None)


async def _scan(options: dict[str, Any], place: Place, subjects: set[str], end: int | None) -> list[Record]:
    found: list[Record] = []
    tp = TopicPartition(*place)
    consumer = AIOKafkaConsumer(**options, enable_auto_commit=False, auto_offset_reset="earliest")
    try:
        async with asyncio.timeout(PATIENCE_SECONDS):
            await consumer.start()
        consumer.assign([tp])
        async for records in scan(consumer, tp, end):
            found += [record for record in records if stream_of(record) in subjects]
    except (KafkaError, OSError) as error:
        raise TransientError(f"refetching: {type(error).__name__}") from error
    finally:
        await consumer.stop()  # even if it failed to start: it may have open connections
    return found


def _version(record: Record) -> int | None:
    try:
        return read(record).version
    except Exception:  # an unusable record fills no hole
        return None
