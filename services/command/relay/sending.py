"""Handing records to Kafka: per partition at most one batch that is not acknowledged."""

import asyncio
import contextlib
import time
from collections import defaultdict, deque
from collections.abc import AsyncIterator, Iterable
from typing import Any, Final

from aiokafka import AIOKafkaProducer
from aiokafka.errors import (
    KafkaError,
    MessageSizeTooLargeError,
    PolicyViolationError,
    ProducerClosed,
    RecordListTooLargeError,
)

from services.command.relay.kafka import aiokafka_options
from services.command.relay.records import Record, RefusedError
from services.command.settings import KafkaSettings

REFUSALS: Final = (
    MessageSizeTooLargeError,
    PolicyViolationError,
    RecordListTooLargeError,
)
"""What no repetition mends. A timestamp is taken anew each time: a wrong one is our clock's fault."""
_BATCH_BYTES: Final = 900_000
_REQUEST_MS: Final = 10_000
_START_SECONDS: Final = 15.0
_DISCARD_SECONDS: Final = 0.5
_ROUND_SECONDS: Final = 10.0
Place = tuple[str, int]


class BatchRefusedError(Exception):
    """Kafka refuses a batch; some record of it may be to blame."""


@contextlib.asynccontextmanager
async def producer(settings: KafkaSettings) -> AsyncIterator[AIOKafkaProducer]:
    """An idempotent producer. It is thrown away on leaving: what it could not send yet is not waited for."""
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
        # it asks for its id until somebody answers, for ever if it comes to that
        async with asyncio.timeout(_START_SECONDS):
            await made.start()
        yield made
    finally:
        await _discard(made)


async def _discard(made: AIOKafkaProducer) -> None:
    try:
        await asyncio.wait_for(made.stop(), _DISCARD_SECONDS)
    except (TimeoutError, KafkaError):
        # stop() waits for batches to be delivered, which is what we gave up. It knows no other end, and its
        # requests would wait for ever for the metadata of a client that was closed before them
        made._message_accumulator.fail_all(ProducerClosed())
        tasks = _tasks_of(made._sender)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await made.client.close()


def _tasks_of(owner: object) -> list["asyncio.Task[Any]"]:
    """The tasks that run methods of `owner`, which keeps no list of them."""
    frames = ((task, getattr(task.get_coro(), "cr_frame", None)) for task in asyncio.all_tasks())
    return [task for task, frame in frames if frame is not None and frame.f_locals.get("self") is owner]


class Sender:
    """Sends records in rounds: one batch per partition, the next round once all are acknowledged."""

    def __init__(self, made: AIOKafkaProducer, limits: dict[Place, int]) -> None:
        self._producer = made
        self._limits = limits
        """Most records of a batch, for partitions that refused a larger one. Outlives the producer."""

    async def send(self, records: Iterable[Record]) -> None:
        """Send the records, of each partition in their order, and wait until all are acknowledged.

        Raises `RefusedError`, `BatchRefusedError`, `KafkaError`, `TimeoutError`; then this producer is of no
        more use.
        """
        waiting: dict[Place, deque[Record]] = defaultdict(deque)
        for record in records:
            waiting[record.topic, record.partition].append(record)
        while waiting:
            # all are given to the producer before it wakes, and so share one request per broker
            sent = [(place, *await self._batch(place, queue)) for place, queue in waiting.items()]
            # an idempotent producer tries for ever: what takes too long is a failure all the same
            async with asyncio.timeout(_ROUND_SECONDS):
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
            # the first always fits: whether it is too large is Kafka's to say
            if (
                builder.append(timestamp=now, key=record.key, value=record.value, headers=record.headers)
                is None
            ):
                break
            taken.append(queue.popleft())
        builder.close()
        answer = await self._producer.send_batch(builder, place[0], partition=place[1])
        # when another batch fails first, nobody asks for this one's answer
        answer.add_done_callback(lambda done: done.cancelled() or done.exception())
        return taken, answer

    def _failure(self, place: Place, batch: list[Record], error: BaseException) -> BaseException:
        if not isinstance(error, REFUSALS):
            return error
        if len(batch) == 1:
            self._limits.pop(place, None)
            return RefusedError(
                batch[0].stream_id, batch[0].position, f"Kafka answers {type(error).__name__}"
            )
        self._limits[place] = len(batch) // 2
        return BatchRefusedError(f"{len(batch)} records of {place[0]}/{place[1]}: {type(error).__name__}")
