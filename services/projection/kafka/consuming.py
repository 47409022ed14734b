"""Subscribes to the topics, and dispatches their records to the assigned partitions."""

import asyncio
import logging
from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import Any, Final, Self

from aiokafka import ConsumerRebalanceListener
from aiokafka.errors import IllegalStateError, KafkaError
from aiokafka.structs import TopicPartition
from faststream import AckPolicy
from faststream.kafka import KafkaBroker
from faststream.kafka.subscriber.usecase import BatchSubscriber
from faststream.message import StreamMessage

from services.projection.faults import TransientError
from services.projection.kafka.backlog import Backlog
from services.projection.kafka.partition import Applying, Partition
from services.projection.kafka.polling import Polling
from services.projection.metrics import ProjectionMetrics
from services.projection.records import Record
from services.projection.store.checkpoints import Place
from shared.topics import CATEGORIES

_FETCH_WAIT_MS: Final = 100
_HEARTBEAT_MS: Final = 500
"""A member learns of a rebalance only from the reply; a new member waits until all have."""
_SESSION_MS: Final = 6000
"""How long a killed instance's partitions stay unassigned; brokers allow no lower value by default."""
_COMMIT_SECONDS: Final = 1.0
_COMMIT_PATIENCE_SECONDS: Final = 2.0
_INCARNATIONS_SECONDS: Final = 1.0
_log = logging.getLogger(__name__)


async def untouched(records: Any) -> StreamMessage[Any]:
    """Skip FastStream's own parser, which decodes all headers and loses a batch over a single bad one."""
    return StreamMessage(raw_message=records, body=b"")


async def as_read(message: StreamMessage[Any]) -> Any:
    """The records as the consumer returned them."""
    return message.raw_message


class Consuming(ConsumerRebalanceListener):  # type: ignore[misc] # aiokafka has no types
    """Reads every topic in a consumer group, until its context exits."""

    def __init__(
        self, broker: KafkaBroker, group: str, applying: Applying, metrics: ProjectionMetrics
    ) -> None:
        self._broker = broker
        self._applying = applying
        self._metrics = metrics
        self._backlog = Backlog()
        self._partitions: dict[Place, Partition] = {}
        self._tasks: dict[Place, asyncio.Task[None]] = {}
        self._committed: dict[Place, int] = {}
        self._background: list[asyncio.Task[None]] = []
        self._stopping = False
        self._subscriber: BatchSubscriber = broker.subscriber(
            *CATEGORIES,
            group_id=group,
            batch=True,
            fetch_max_wait_ms=_FETCH_WAIT_MS,
            heartbeat_interval_ms=_HEARTBEAT_MS,
            session_timeout_ms=_SESSION_MS,
            auto_offset_reset="earliest",
            ack_policy=AckPolicy.MANUAL,
            listener=self,
            parser=untouched,
            decoder=as_read,
        )
        self._subscriber(self._take)
        self._subscriber.get_msg = Polling(self._records_lost, metrics)  # type: ignore[method-assign] # no option

    @property
    def assigned_places(self) -> frozenset[Place]:
        """The partitions assigned to this instance."""
        return frozenset(self._partitions)

    async def __aenter__(self) -> Self:
        try:
            await self._broker.start()
        except BaseException:
            await self._broker.stop()
            raise
        self._background = [
            asyncio.create_task(self._commit(), name="group offsets"),
            asyncio.create_task(self._watch_incarnations(), name="incarnations"),
        ]
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stopping = True
        for task in self._background:
            task.cancel()
            await asyncio.wait([task])
        last = dict(self._partitions)
        self._close_all()
        if self._tasks:
            await asyncio.wait(self._tasks.values())
        await self._commit_passed(last)
        await self._broker.stop()

    def on_partitions_revoked(self, revoked: set[TopicPartition]) -> None:
        """Called before a rebalance. Must not block: no group heartbeats are sent meanwhile."""
        self._close_all()

    def on_partitions_assigned(self, assigned: set[TopicPartition]) -> None:
        """Called after a rebalance. Must not block either: each partition seeks in its own task."""
        self._close_all()
        if assigned:
            self._consumer.pause(*assigned)
        if self._stopping:
            return  # nothing would await their tasks any more
        for tp in assigned:
            place = (tp.topic, tp.partition)
            partition = Partition(place, self._consumer, self._applying, self._backlog, self._metrics)
            self._partitions[place] = partition
            work = partition.run(self._tasks.get(place))
            self._tasks[place] = asyncio.create_task(work, name=f"{tp.topic}/{tp.partition}")

    @property
    def _consumer(self) -> Any:
        return self._subscriber.consumer

    def _records_lost(self) -> None:
        for partition in self._partitions.values():
            partition.records_lost()

    def _close_all(self) -> None:
        for partition in self._partitions.values():
            partition.close()
        self._partitions.clear()

    async def _take(self, records: Any) -> None:
        """FastStream's handler for `Record`s, a type that it cannot check.

        It only dispatches records, so that it never raises and polling never stops.
        """
        place: Place | None = None
        start = 0
        for number, record in enumerate(records):
            found = (record.topic, record.partition)
            if found != place:
                self._offer(place, records[start:number])
                place, start = found, number
        self._offer(place, records[start:])
        await self._backlog.room()

    def _offer(self, place: Place | None, records: Sequence[Record]) -> None:
        partition = self._partitions.get(place) if place is not None else None
        if partition is not None and records:
            partition.offer(records)

    async def _commit(self) -> None:
        while True:
            await asyncio.sleep(_COMMIT_SECONDS)
            await self._commit_passed(self._partitions)

    async def _watch_incarnations(self) -> None:
        while True:
            await asyncio.sleep(_INCARNATIONS_SECONDS)
            try:
                incarnations = await self._applying.incarnations()
            except TransientError as error:
                _log.debug("cannot read the incarnations: %s", error)
                continue
            for place, partition in self._partitions.items():
                if place[0] in incarnations:
                    partition.incarnation_reported(incarnations[place[0]])

    async def _commit_passed(self, partitions: Mapping[Place, Partition]) -> None:
        """Commit offsets to the group, for standard tools only; nothing here depends on them."""
        passed = {place: partition.passed + 1 for place, partition in partitions.items()}
        changed = {
            TopicPartition(*place): offset
            for place, offset in passed.items()
            if offset and self._committed.get(place) != offset
        }
        if not changed or self._consumer is None:
            return
        try:
            async with asyncio.timeout(_COMMIT_PATIENCE_SECONDS):  # it has no timeout of its own
                await self._consumer.commit(changed)
        except (KafkaError, IllegalStateError, TimeoutError) as error:
            _log.debug("offsets not committed: %s", type(error).__name__)
        else:
            self._committed |= {(tp.topic, tp.partition): offset for tp, offset in changed.items()}
