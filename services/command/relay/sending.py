"""Sends records to Kafka, with at most one unacknowledged batch per partition."""

import asyncio
import contextlib
import time
from collections import defaultdict, deque
from collections.abc import AsyncIterator, Iterable
from typing import Any, Final

from aiokafka import AIOKafkaProducer
from aiokafka.errors import (
    MessageSizeTooLargeError,
    PolicyViolationError,
    RecordListTooLargeError,
)

from services.command.relay.kafka import aiokafka_options
from services.command.relay.records import Record, RefusedError
from services.command.settings import KafkaSettings
from shared.producers import discard

REFUSALS: Final = (
    MessageSizeTooLargeError,
    PolicyViolationError,
    RecordListTooLargeError,
)
"""Errors that a retry cannot fix. A rejected timestamp is not among them: each attempt takes the time again,
and if that is wrong it is our clock's fault, not the event's."""
_BATCH_BYTES: Final = 900_000
_REQUEST_MS: Final = 10_000
_START_SECONDS: Final = 15.0
SEND_SECONDS: Final = 10.0
"""An idempotent producer retries forever: what takes longer than this counts as failed."""
Place = tuple[str, int]


class BatchRefusedError(Exception):
    """Kafka rejects a batch, possibly because of a single record."""


@contextlib.asynccontextmanager
async def producer(settings: KafkaSettings) -> AsyncIterator[AIOKafkaProducer]:
    """An idempotent producer. On exit it is discarded without waiting for unsent records."""
    made = AIOKafkaProducer(
        **aiokafka_options(settings),
        client_id="relay",
        acks="all",
        enable_idempotence=True,
        max_batch_size=_BATCH_BYTES,
        request_timeout_ms=_REQUEST_MS,
        metadata_max_age_ms=2000,
        retry_backoff_ms=50,
    )
    try:
        # start() retries until a broker returns a producer id, forever if none does
        async with asyncio.timeout(_START_SECONDS):
            await made.start()
        yield made
    finally:
        await discard(made)


class Sender:
    """Sends records in rounds: one batch per partition, the next round once all are acknowledged."""

    def __init__(self, made: AIOKafkaProducer, limits: dict[Place, int]) -> None:
        self._producer = made
        self._limits = limits
        """Maximum records per batch, for partitions that rejected a larger one. Outlives the producer."""

    async def send(self, records: Iterable[Record]) -> None:
        """Send the records, in order within each partition, and wait until all are acknowledged.

        Raises `RefusedError`, `BatchRefusedError`, `KafkaError`, `TimeoutError`; the producer must then be
        discarded.
        """
        waiting: dict[Place, deque[Record]] = defaultdict(deque)
        for record in records:
            waiting[record.topic, record.partition].append(record)
        while waiting:
            # all are queued before the producer's task wakes, so they share one request per broker
            sent = [(place, *await self._batch(place, queue)) for place, queue in waiting.items()]
            async with asyncio.timeout(SEND_SECONDS):
                answers = await asyncio.gather(*(answer for *_, answer in sent), return_exceptions=True)
            for (place, batch, _), answer in zip(sent, answers, strict=True):
                if isinstance(answer, BaseException):
                    raise self._failure(place, batch, answer)
            waiting = {place: queue for place, queue in waiting.items() if queue}

    async def _batch(self, place: Place, queue: deque[Record]) -> tuple[list[Record], "asyncio.Future[Any]"]:
        builder = self._producer.create_batch()
        now = int(time.time() * 1000)
        limit = self._limits.get(place, len(queue))
        taken: list[Record] = []
        while queue and len(taken) < limit:
            record = queue[0]
            # the first record always fits: whether it is too large is for Kafka to decide
            if (
                builder.append(timestamp=now, key=record.key, value=record.value, headers=record.headers)
                is None
            ):
                break
            taken.append(queue.popleft())
        builder.close()
        answer = await self._producer.send_batch(builder, place[0], partition=place[1])
        # if another batch fails first, nothing awaits this one: mark its exception as retrieved
        answer.add_done_callback(lambda done: done.cancelled() or done.exception())
        return taken, answer

    def _failure(self, place: Place, batch: list[Record], error: BaseException) -> BaseException:
        if not isinstance(error, REFUSALS):
            return error
        if len(batch) == 1:
            self._limits.pop(place, None)
            return RefusedError(
                batch[0].stream_id, batch[0].position, f"rejected by Kafka: {type(error).__name__}"
            )
        self._limits[place] = len(batch) // 2
        return BatchRefusedError(f"{len(batch)} records of {place[0]}/{place[1]}: {type(error).__name__}")
