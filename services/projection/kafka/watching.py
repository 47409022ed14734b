"""Lists the topics' partitions and their end offsets."""

import asyncio
from types import TracebackType
from typing import Any, Self

from aiokafka import AIOKafkaConsumer
from aiokafka.errors import KafkaError
from aiokafka.structs import TopicPartition

from services.projection.faults import TransientError
from services.projection.store.checkpoints import Place
from shared.topics import CATEGORIES


class Topics:
    """A consumer that consumes nothing. Connects on first use, and reconnects after a failure."""

    def __init__(self, options: dict[str, Any]) -> None:
        self._options = options
        self._consumer: AIOKafkaConsumer | None = None
        self._connecting = asyncio.Lock()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._disconnect()

    async def places(self) -> list[Place]:
        """Every partition of the event topics. Raises `TransientError` if a topic is missing."""
        consumer = await self._connected()
        try:
            await consumer.topics()
            found = {topic: consumer.partitions_for_topic(topic) for topic in CATEGORIES}
        except (KafkaError, OSError) as error:
            await self._disconnect()
            raise TransientError(f"Kafka: {type(error).__name__}") from error
        for topic, partitions in found.items():
            if not partitions:
                raise TransientError(f"topic {topic} does not exist")
        return [(topic, partition) for topic in CATEGORIES for partition in sorted(found[topic] or ())]

    async def ends(self) -> dict[Place, int]:
        """Each partition's end offset."""
        places = await self.places()
        consumer = await self._connected()
        try:
            ends = await consumer.end_offsets([TopicPartition(*place) for place in places])
        except (KafkaError, OSError) as error:
            await self._disconnect()
            raise TransientError(f"Kafka: {type(error).__name__}") from error
        return {(tp.topic, tp.partition): end for tp, end in ends.items()}

    async def _connected(self) -> AIOKafkaConsumer:
        async with self._connecting:
            return await self._connect()

    async def _connect(self) -> AIOKafkaConsumer:
        if self._consumer is None:
            consumer = AIOKafkaConsumer(**self._options, enable_auto_commit=False, request_timeout_ms=5000)
            # a consumer only fetches the metadata of topics that it is assigned to
            first = [TopicPartition(topic, 0) for topic in CATEGORIES]
            consumer.assign(first)
            consumer.pause(*first)
            try:
                await consumer.start()
            except (KafkaError, OSError) as error:
                await consumer.stop()
                raise TransientError(f"Kafka: {type(error).__name__}") from error
            self._consumer = consumer
        return self._consumer

    async def _disconnect(self) -> None:
        consumer, self._consumer = self._consumer, None
        if consumer is not None:
            await consumer.stop()
