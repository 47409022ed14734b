"""Sends what cannot be used to the dead letters: the original bytes, key and headers, and why."""

import asyncio
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any, Final

from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError, MessageSizeTooLargeError, RecordListTooLargeError

from services.projection.faults import TransientError
from services.projection.folding.parking import Letter
from shared import topics
from shared.times import rfc3339

_MUCH: Final = 500_000
"""Bytes of a value. Every broker takes less."""


class DeadLetters:
    """Connects at the first letter."""

    def __init__(self, options: dict[str, Any]) -> None:
        self._options = options
        self._producer: AIOKafkaProducer | None = None
        self._lock = asyncio.Lock()

    async def send(self, letters: Sequence[Letter]) -> None:
        """Send them in order; all are acknowledged when it returns. `TransientError` when they are not.

        What is too large, unpacked or packed again, goes without its value: a bad event stops no good ones.
        """
        try:
            try:
                await self._send(letters)
            except (MessageSizeTooLargeError, RecordListTooLargeError):
                await self.close()  # the sequence is torn
                await self._send([_without_much(letter) for letter in letters])
        except (KafkaError, OSError) as error:
            await self.close()
            raise TransientError(f"dead letters: {type(error).__name__}") from error

    async def _send(self, letters: Sequence[Letter]) -> None:
        producer = await self._connected()
        waiting = [
            await producer.send(
                topics.dead_letters(letter.record.topic),
                value=letter.value,
                key=letter.record.key,
                headers=headers(letter),
            )
            for letter in letters
        ]
        await asyncio.gather(*waiting)

    async def _connected(self) -> AIOKafkaProducer:
        async with self._lock:
            if self._producer is None:
                producer = AIOKafkaProducer(
                    **self._options,
                    acks="all",
                    enable_idempotence=True,
                    request_timeout_ms=10_000,
                    # a record that just fitted must still fit with the letter's headers
                    compression_type="gzip",
                    max_request_size=4 * 1024 * 1024,
                )
                try:
                    await producer.start()
                except (KafkaError, OSError):
                    await producer.stop()
                    raise
                self._producer = producer
            return self._producer

    async def close(self) -> None:
        """Disconnect."""
        producer, self._producer = self._producer, None
        if producer is not None:
            await producer.stop()


def _without_much(letter: Letter) -> Letter:
    if letter.value is None or len(letter.value) < _MUCH:
        return letter
    reason = f"{letter.reason} (its value is too large, and stands where it was read only)"
    return Letter(letter.record, reason, with_value=False)


def headers(letter: Letter) -> list[tuple[str, bytes | None]]:
    """The record's own headers, then those of the letter."""
    record = letter.record
    return [
        *record.headers,
        (topics.DEAD_LETTER_TOPIC, record.topic.encode()),
        (topics.DEAD_LETTER_PARTITION, str(record.partition).encode()),
        (topics.DEAD_LETTER_OFFSET, str(record.offset).encode()),
        (topics.DEAD_LETTER_TIMESTAMP, str(record.timestamp).encode()),
        (topics.DEAD_LETTER_ERROR, letter.reason.encode("utf-8", "backslashreplace")[:2000]),
        (topics.DEAD_LETTER_TIME, rfc3339(datetime.now(UTC)).encode()),
    ]
