"""Sends unusable records to the dead-letter topics: original bytes, key and headers, and the reason."""

import asyncio
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Any, Final, NamedTuple

from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError, MessageSizeTooLargeError, RecordListTooLargeError

from services.projection.faults import TransientError
from services.projection.folding.parking import Letter
from services.projection.records import Record
from shared import topics
from shared.producers import discard
from shared.times import rfc3339

_LARGE: Final = 300_000
"""Bytes of a value, of all headers or of a key. Any broker accepts a record in which each is smaller."""
_KEY_SHOWN: Final = 1000
_SEND_SECONDS = 30.0
"""An idempotent producer retries forever, without a word: what takes longer than this has failed."""
_Headers = Sequence[tuple[str, bytes | None]]


class Content(NamedTuple):
    """The parts of a record that its letter carries, and the reason."""

    key: bytes | None
    value: bytes | None
    headers: _Headers
    reason: str


class DeadLetters:
    """Sends letters. Connects on first use."""

    def __init__(self, options: dict[str, Any]) -> None:
        self._options = options
        self._producer: AIOKafkaProducer | None = None
        self._lock = asyncio.Lock()

    async def send(self, letters: Sequence[Letter]) -> None:
        """Send letters in order, and wait until all are acknowledged.

        Raises `TransientError` on failure; some may arrive all the same. A letter that is too large,
        uncompressed or recompressed, is sent without its large parts: one bad event must not stop the good.
        """
        try:
            async with asyncio.timeout(_SEND_SECONDS):
                try:
                    await self._send(letters, whole)
                except (MessageSizeTooLargeError, RecordListTooLargeError):
                    await self.close()  # the producer's sequence numbers have a gap now
                    await self._send(letters, trimmed)
        except (KafkaError, OSError, TimeoutError) as error:
            await self.close()
            raise TransientError(f"dead letters: {type(error).__name__}") from error

    async def _send(self, letters: Sequence[Letter], content: Callable[[Letter], Content]) -> None:
        producer = await self._connected()
        waiting = []
        for letter in letters:
            key, value, original, reason = content(letter)
            if key is None and value is None:
                key = b""  # the producer rejects a record with neither
            topic = topics.dead_letters(letter.record.topic)
            headers = [*original, *origin(letter.record, reason)]
            waiting.append(await producer.send(topic, value=value, key=key, headers=headers))
        await asyncio.gather(*waiting)

    async def _connected(self) -> AIOKafkaProducer:
        async with self._lock:
            if self._producer is None:
                producer = AIOKafkaProducer(
                    **self._options,
                    acks="all",
                    enable_idempotence=True,
                    request_timeout_ms=10_000,
                    # a record that only just fit must still fit with the letter's headers
                    compression_type="gzip",
                    max_request_size=4 * 1024 * 1024,
                )
                try:
                    await producer.start()
                except BaseException:
                    await discard(producer)
                    raise
                self._producer = producer
            return self._producer

    async def close(self) -> None:
        """Disconnect, without waiting for letters that are not acknowledged yet."""
        producer, self._producer = self._producer, None
        if producer is not None:
            await discard(producer)


def whole(letter: Letter) -> Content:
    """The whole record."""
    record = letter.record
    return Content(record.key, record.value, record.headers, letter.reason)


def trimmed(letter: Letter) -> Content:
    """The record without its large parts."""
    key, value, headers, reason = whole(letter)
    omitted = []
    if value is not None and len(value) >= _LARGE:
        value = None
        omitted.append("its value")
    if sum(len(name) + len(content or b"") for name, content in headers) >= _LARGE:
        headers = ()
        omitted.append("its headers")
    if key is not None and len(key) >= _LARGE:
        key = key[:_KEY_SHOWN]
        omitted.append("most of its key")
    if omitted:
        reason += f" (omitted as too large: {', '.join(omitted)})"
    return Content(key, value, headers, reason)


def origin(record: Record, reason: str) -> _Headers:
    """The headers with the original position of a letter's record, and the reason."""
    return [
        (topics.DEAD_LETTER_TOPIC, record.topic.encode()),
        (topics.DEAD_LETTER_PARTITION, str(record.partition).encode()),
        (topics.DEAD_LETTER_OFFSET, str(record.offset).encode()),
        (topics.DEAD_LETTER_TIMESTAMP, str(record.timestamp).encode()),
        (topics.DEAD_LETTER_ERROR, reason.encode("utf-8", "backslashreplace")[:2000]),
        (topics.DEAD_LETTER_TIME, rfc3339(datetime.now(UTC)).encode()),
    ]
