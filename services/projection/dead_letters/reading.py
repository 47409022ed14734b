"""Reads dead letters back as the original records."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from aiokafka import AIOKafkaConsumer
from aiokafka.errors import KafkaError
from aiokafka.structs import TopicPartition

from services.projection.faults import TransientError
from services.projection.kafka.scanning import PATIENCE_SECONDS, scan
from services.projection.records import Record, header, read, stream_of
from shared import topics


@dataclass(slots=True)
class DeadLetter:
    """A record that could not be used, its original position, and the reason."""

    topic: str
    partition: int
    offset: int
    timestamp: int
    key: bytes | None
    value: bytes | None
    headers: Sequence[tuple[str, bytes | None]]
    error: str
    at: str

    @property
    def version(self) -> int | None:
        """The event's version; None if it cannot be read."""
        try:
            return read(self).version
        except Exception:  # whatever the cause, it is shown as unreadable
            return None


def dead_letter(record: Record) -> DeadLetter:
    """From a record of a dead-letter topic.

    Letters without their record's timestamp (early ones had none) get their own timestamp.
    """
    published = _number(header(record, topics.DEAD_LETTER_TIMESTAMP))
    own = [(name, value) for name, value in record.headers if not name.startswith("dead-letter-")]
    return DeadLetter(
        topic=header(record, topics.DEAD_LETTER_TOPIC) or "",
        partition=_number(header(record, topics.DEAD_LETTER_PARTITION)),
        offset=_number(header(record, topics.DEAD_LETTER_OFFSET)),
        timestamp=record.timestamp if published < 0 else published,
        key=record.key,
        value=record.value,
        headers=own,
        error=header(record, topics.DEAD_LETTER_ERROR) or "",
        at=header(record, topics.DEAD_LETTER_TIME) or "",
    )


def _number(text: str | None) -> int:
    """-1 if invalid: other teams' consumers may write letters here, too."""
    return int(text) if text is not None and text.isascii() and text.isdecimal() else -1


async def dead_letters(options: dict[str, Any], topic: str, subject: str) -> list[DeadLetter]:
    """A stream's dead letters, in the order in which they were sent. Raises `TransientError`."""
    name = topics.dead_letters(topic)
    consumer = AIOKafkaConsumer(name, **options, enable_auto_commit=False, auto_offset_reset="earliest")
    found: list[DeadLetter] = []
    try:
        async with asyncio.timeout(PATIENCE_SECONDS):
            await consumer.start()
        for number in consumer.partitions_for_topic(name) or ():
            async for records in scan(consumer, TopicPartition(name, number)):
                found += [dead_letter(each) for each in records if stream_of(each) == subject]
    except (KafkaError, OSError) as error:
        raise TransientError(f"dead letters: {type(error).__name__}") from error
    finally:
        await consumer.stop()  # even if it failed to start: it may have open connections
    return found
